"""A place with a monitor folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.adopt.adopt_kit import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    run_dir = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    yield make_site(tmp_path / "etc", run_dir)
    shutil.rmtree(run_dir)
