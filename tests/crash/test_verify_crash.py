"""Kill -9 at every step of `verify --repair`; the next one finishes, and nothing but the damage is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli import cli_makers as make

POINTS = ["verify.intended", "verify.mended", "verify.repaired", "verify.quarantined", "verify.explained"]

pytestmark = pytest.mark.crash


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[make.Edge]:
    """`left` has bytes behind its end, `bad` a changed one, `good` was quarantined and is whole."""
    run_dir = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    edge = make.make_edge(tmp_path / "etc", run_dir)
    async with make.opened(edge) as files:
        for seed, name in enumerate(("left", "bad", "good")):
            edge.facts[name] = await make.record(edge, files, [make.sound(2, seed)])
        await files.journal.set_recording_state(edge.facts["good"].recording_id, "quarantined")
    payload(edge, "left").write_bytes(payload(edge, "left").read_bytes() + b"tail")
    data = bytearray(payload(edge, "bad").read_bytes())
    data[99] ^= 1
    payload(edge, "bad").write_bytes(data)
    yield edge
    shutil.rmtree(run_dir)


def payload(edge: make.Edge, name: str) -> Path:
    recording_id = edge.facts[name].recording_id
    (found,) = (edge.loaded.edge.vault / recording_id[:2] / recording_id).glob("*.payload")
    return found


def rows(edge: make.Edge, query: str) -> list[Any]:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        return [row[0] for row in conn.execute(query)]


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(edge: make.Edge, point: str) -> None:
    kept = {name: payload(edge, name).read_bytes() for name in ("left", "bad", "good")}
    killed = make.process("--config", edge.config, "verify", "--repair", CALLWARDEN_FAILPOINT=point)
    assert killed.code == -9, (point, killed.err)
    done = make.process("--config", edge.config, "verify", "--repair", "--json")
    assert done.code == 7, done.err  # the changed one stays wrong
    states = dict(zip(edge.facts, rows(edge, "SELECT state FROM recording ORDER BY seq"), strict=True))
    assert states == {"left": "sealed", "bad": "quarantined", "good": "sealed"}
    assert payload(edge, "left").read_bytes() == kept["left"][:-4]
    assert payload(edge, "bad").read_bytes() == kept["bad"]
    assert payload(edge, "good").read_bytes() == kept["good"]
    kinds = [json.loads(text)["kind"] for text in rows(edge, "SELECT entry FROM audit ORDER BY idx")]
    assert kinds.count("recording.quarantined") == kinds.count("recording.explained") == 1
    assert kinds.count("verify.repair") >= kinds.count("verify.repaired")
    assert kinds.index("verify.repair") > kinds.index("verify.begun")
    # The deed was done without its outcome only where the kill lay between; the intent tells.
    assert kinds.count("verify.repaired") == (0 if point == "verify.mended" else 1)
    audit = make.process("--config", edge.config, "audit", "verify")
    assert audit.code == 0, audit.err
    assert make.process("--config", edge.config, "verify", "--json").json["findings"] != []
