"""The process that is killed while it puts policies into effect. usage: policy_child.py FOLDER."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from edge.config import EdgeConfig, load
from edge.errors import CallwardenError
from edge.policybook import PolicyBook
from edge.prompts.report import reports
from tests.unit.store.store_makers import SystemClock, open_journal


async def main(folder: Path) -> None:
    journal = await open_journal(folder / "journal.db")

    async def look(config: EdgeConfig) -> Callable[[], None]:
        return lambda: None

    def resolve(prompt_id: str, language: str) -> NoReturn:
        raise CallwardenError("prompt.unknown", "these policies play nothing")

    config = load(folder / "edge.toml")
    await PolicyBook(config, journal, SystemClock(), look, lambda of: reports(of, resolve)).begin()
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
