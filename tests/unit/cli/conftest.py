"""An edge on disk, and one with calls in its journal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from callwarden.keyfiles import read_signing_key
from tests.unit.cli import cli_makers as make


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """In memory, and short."""
    path = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def edge(tmp_path: Path, run_dir: Path) -> make.Edge:
    return make.make_edge(tmp_path / "etc", run_dir)


@pytest.fixture
async def filled(edge: make.Edge) -> make.Edge:
    """facts: `two` (two segments), `cut` (truncated), `live`, `erased` recordings; `refused`, `silent` calls."""
    async with make.opened(edge) as files:
        edge.facts = {
            "two": await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)]),
            "cut": await make.record(edge, files, [make.sound(9, 3)], end="truncated"),
            "refused": await make.add_call(files, outcome="refused"),
            "silent": await make.add_call(files, outcome="refused", reason="silence"),
            "erased": await make.record(edge, files, [make.sound(2, 4)]),
            "live": await make.record(edge, files, [make.sound(9, 5)], end="live"),
        }
        await make.erase(files, edge.facts["erased"])
        await make.checkpoint(edge, files, read_signing_key(edge.paths["central_token"].parent / "witness.key"))
    return edge
