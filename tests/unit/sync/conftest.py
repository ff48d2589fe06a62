from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.central.central_kit import TestCentral, a_central
from tests.unit.sync.sync_kit import SyncEdge


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central") as running:
        yield running


@pytest.fixture
async def edge(central: TestCentral, tmp_path: Path) -> AsyncIterator[SyncEdge]:
    edge = await SyncEdge.open(central, tmp_path)
    yield edge
    await edge.close()
