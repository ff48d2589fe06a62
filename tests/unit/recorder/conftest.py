"""A memory-backed folder for spools, as the product demands one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def shm() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="callwarden-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
