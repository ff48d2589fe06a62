"""The checker can fail: each kind of damage, planted on a stack with a real recording, is named; put right, all is well."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from callwarden.centralclient import CentralClient
from edge.vault.slotfile import SLOT
from rig.callers import place_call
from rig.invariants import _differences, _facts, check, snapshot
from rig.stack import Stack
from rig.tones import decode, encode, tone
from tests.asterisk.sweep_kit import PRESS_AT_S, close, fresh

pytestmark = pytest.mark.asterisk

Undo = Callable[[], None]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack with one agreed call."""
    home = Path(tempfile.mkdtemp(prefix="callwarden-invariants-"))
    stack = fresh("invariants", home).stack
    asyncio.run(place_call(stack.pbx(), "1001", prompt_s=PRESS_AT_S, seconds=3))
    assert check(stack) == []
    yield stack
    close(stack)
    shutil.rmtree(home)


def _file(path: Path, content: bytes) -> Undo:
    """Make a file, and what takes it away again."""
    made = [folder for folder in (path.parent, path.parent.parent) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    def undo() -> None:
        path.unlink()
        for folder in made:
            folder.rmdir()

    return undo


def _flipped(path: Path, at: int) -> Undo:
    """Change one bit where it lies."""

    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))

    flip()
    return flip


def _orphan_payload(stack: Stack) -> Undo:
    return _file(stack.vault / "ab" / ("ab" * 16) / f"{'cd' * 16}.payload", os.urandom(99))


def _leak(stack: Stack) -> Undo:
    return _file(stack.state / "var" / "leaked.bin", os.urandom(3) + decode(encode(tone(5)))[8000:8400].tobytes())


def _left_key(stack: Stack) -> Undo:
    # The spool itself is tidied by the daemon while it runs; a resume key nobody owns stays until its next start.
    return _file(stack.memory / "resume" / "left.key", b"")


def _payload(stack: Stack) -> Path:
    return next(stack.vault.rglob("*.payload"))


def _changed_payload(stack: Stack) -> Undo:
    return _flipped(_payload(stack), 70_000)


def _lost_payload(stack: Stack) -> Undo:
    path = _payload(stack)
    path.rename(stack.state / "lost")
    return lambda: (stack.state / "lost").rename(path) and None


def _torn_slot(stack: Stack) -> Undo:
    with closing(snapshot(stack.journal)) as conn:
        slot = conn.execute("SELECT slot FROM header").fetchone()[0]
    return _flipped(stack.journal.parent / "shred.keys", slot * SLOT + 20)


def _record(userfield: str) -> Callable[[Stack], Undo]:
    """One more line in Asterisk's call records: the real one, of another linked id, with another user field."""

    def plant(stack: Stack) -> Undo:
        path = stack.pbx_run / "log" / "cdr-custom" / "cdr.csv"
        before = path.read_text()
        first = before.splitlines()[0]
        cells = [cell.strip('"') for cell in first.split(",")]
        cells[-3:] = [userfield, "1.1", "1.1"]
        path.write_text(before + ",".join(f'"{cell}"' for cell in cells) + "\n")
        return lambda: path.write_text(before) and None

    return plant


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (_orphan_payload, "has no row"),
        (_leak, "leaked.bin holds a caller's voice"),
        (_left_key, "holds left.key"),
        (_changed_payload, "is not what its row says"),
        (_lost_payload, "is missing"),
        (_torn_slot, "is torn"),
        (_record(""), "has no outcome in its record"),
        (_record("cw=unavailable"), "has no row, and the daemon was there"),
        (_record("cw=given;call=0"), "has no row, and the daemon was there"),
    ],
    ids=["orphan", "plaintext", "resume", "changed", "lost", "slot", "no-outcome", "no-row", "yes-without-row"],
)
def test_damage_is_named(stack: Stack, plant: Callable[[Stack], Undo], named: str) -> None:
    undo = plant(stack)
    try:
        found = check(stack, within=1)
    finally:
        undo()
    assert any(named in line for line in found), found
    assert check(stack, within=1) == []


def test_what_central_does_not_have_is_named(stack: Stack) -> None:
    client = CentralClient(stack.central_url, stack.token(), stack.etc / "central-ca.pem")
    with closing(snapshot(stack.journal)) as conn:
        facts = _facts(conn)
    assert _differences(client, facts) == []
    [recording_id] = facts.recordings
    facts.recordings[recording_id]["state"] = "erased"
    assert any("central says sealed" in line for line in _differences(client, facts))
    assert any("keeper still has keys" in line for line in _differences(client, facts))
    facts.recordings.clear()
    facts.calls.clear()
    found = _differences(client, facts)
    assert any(line.startswith("calls differ") for line in found)
    assert any(line.startswith("recordings differ") for line in found)
