"""The process that is killed while it puts policies into effect. usage: policy_child.py FOLDER."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from edge.config import EdgeConfig, load
from edge.policybook import PolicyBook
from tests.unit.store.store_makers import SystemClock, open_journal


async def main(folder: Path) -> None:
    journal = await open_journal(folder / "journal.db")

    async def look(config: EdgeConfig) -> Callable[[], None]:
        return lambda: None

    await PolicyBook(load(folder / "edge.toml"), journal, SystemClock(), look).begin()
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
