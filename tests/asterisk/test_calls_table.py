"""The table of calls on the real server: each row dialled, heard, pressed, and then looked for in every place."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rig import checker
from rig.agent import AGENT_VOICE
from rig.ami_watch import AmiWatch
from rig.calltable import ROWS, Row, name_of
from rig.calltable_run import Played, play
from rig.stack import Stack
from rig.tones import AGENT, CALLER, check, listen
from tests.asterisk.report import add_line
from tests.asterisk.stacks import own_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Table:
    """Everything that is known once all rows were played."""

    stack: Stack
    played: dict[Row, Played]
    stored: list[dict[str, Any]]
    events: list[dict[str, str]]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with own_stack("table") as stack:
        yield _played(stack)


def _played(stack: Stack) -> Table:
    stack.up()
    pbx = stack.pbx()
    alive, dead = [r for r in ROWS if not r.dead], [r for r in ROWS if r.dead]
    with AmiWatch(pbx) as watch:
        played = asyncio.run(play(stack, alive, first_voice=1))
        edge = stack.process("edge")
        assert edge is not None
        edge.kill()
        played += asyncio.run(play(stack, dead, first_voice=len(alive) + 1))
        stack.up()
        assert checker.wait_idle(pbx)
        events = list(watch.user_events)
    return Table(stack, {one.row: one for one in played}, stack.read("calls"), events)


def _stored(table: Table, row: Row) -> dict[str, Any] | None:
    """The journal's row of this call: by the id that the CDR names."""
    one = table.played[row]
    record = _cdr(table, row)
    call_id = record["userfield"].partition("call=")[2]
    found = [c for c in table.stored if c["call_id"] == call_id]
    assert bool(found) == bool(call_id), one
    return found[0] if found else None


def _cdr(table: Table, row: Row) -> dict[str, str]:
    one = table.played[row]
    end = one.ended + 1
    records = [
        r
        for r in checker.cdr_rows(table.stack.pbx())
        if r["src"] == one.number and r["userfield"] and one.dialled - 1 <= float(r["start"]) <= end
    ]
    assert records, f"no call record of {one}"
    return min(records, key=lambda r: abs(float(r["start"]) - one.dialled))


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row(row: Row, table: Table) -> None:
    one = table.played[row]
    assert not one.trouble, one.trouble
    record = _cdr(table, row)
    assert checker.outcome(record) == row.outcome
    if row.reaches_agent and not row.hang_up_in_prompt:
        assert one.agent is not None
    stored = _stored(table, row)
    kinds: list[str] = []
    seconds = 0.0
    if row.dead:
        assert stored is None
    else:
        assert stored is not None
        why = table.stack.read("why", stored["call_id"])
        kinds = [e["kind"] for e in why["events"]]
        evidence = [e["evidence"] for e in why["events"] if e["kind"] == row.outcome][-1]
        assert stored["outcome"] == row.outcome
        if row.reason:
            assert evidence["reason"] == row.reason
        assert len(evidence["policy_version"]) == 64
        assert set(row.events) <= set(kinds)
        if row.hears:
            assert [h["prompt_id"] for h in evidence["heard"]] == list(row.hears)
        assert why["sentence"].endswith(".")
        tagged = [e for e in table.events if e.get("Call") == stored["call_id"]]
        assert tagged, "no user event"
        assert tagged[-1]["Outcome"] == row.outcome
        assert row.outcome in [
            word
            for r in checker.cel_rows(table.stack.pbx())
            if r["linkedid"] == record["linkedid"]
            for word in r["userfield"].replace(";", "=").split("=")
        ]
        assert bool(stored["recordings"]) == row.recorded
        if row.recorded and not row.hang_up_in_prompt:
            seconds = _audio(table, one, stored["recordings"][0])
    add_line(
        f"{name_of(row):<58} pressed {' '.join(k for _, k in row.presses) or '-':<8} {row.outcome:<13}"
        f" {evidence_word(row):<10} {','.join(row.hears) or '-':<20} {seconds:5.1f} s  cdr cel event journal"
    )


def evidence_word(row: Row) -> str:
    """The reason as the report shows it."""
    return row.reason or "-"


def _audio(table: Table, one: Played, recording_id: str) -> float:
    """Both voices are in it, each in its channel; returns seconds."""
    target = table.stack.state / f"{recording_id}.wav"
    table.stack.callwarden(
        "export", recording_id, "--identity", str(table.stack.identity_file), "-o", str(target), "--purpose", "quality"
    )
    with wave.open(str(target)) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").reshape(-1, 2)
    Path(target).unlink()
    assert one.agent is not None
    began = one.pressed[-1] if one.row.started else one.agent
    talked = (one.pressed[-1] if one.row.stopped else one.ended) - began
    seconds = len(pcm) / 8000
    assert talked - 3 < seconds < talked + 2.5
    left = check(listen(np.ascontiguousarray(pcm[:, 0]), CALLER), one.voice, CALLER)
    right = check(listen(np.ascontiguousarray(pcm[:, 1]), AGENT), AGENT_VOICE, AGENT)
    assert left.seconds >= 1
    assert right.seconds >= 1
    assert not [f for f in (*left.faults, *right.faults) if "foreign" in f]
    return seconds
