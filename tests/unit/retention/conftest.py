"""An edge's disk in a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.retention.retention_kit import Place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = await Place.open(tmp_path)
    yield place
    await place.close()
