from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.central.central_kit import TestCentral, TestEdge, a_central


@pytest.fixture
async def central(tmp_path: Path) -> AsyncIterator[TestCentral]:
    async with a_central(tmp_path / "central") as running:
        yield running


@pytest.fixture
def edge(central: TestCentral) -> TestEdge:
    return TestEdge(central)
