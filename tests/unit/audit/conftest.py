"""A real journal for the log to live in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.store.journal import Journal
from tests.unit.store.store_makers import open_journal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = await open_journal(tmp_path / "journal.db")
    yield journal
    await journal.close()
