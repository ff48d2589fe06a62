"""The opt_in question by real SIP on the whole stack: what was dialled, heard and pressed, and what must come of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rig import checker
from rig.callers import CallResult, place_call
from rig.scenarios import Press, Speak, Wait
from rig.stack import Stack
from rig.tones import voice_file
from tests.asterisk.stacks import whole_stack

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(240)]

#: Keys count from 4.95 s of the English question on, from 5.46 s of the Czech one; they end after 8.6 s and 10.1 s.
ANSWER = 6500
EXTRA = """exten => 1021,1,Set(CHANNEL(language)=cs)
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent,30)
exten => 1022,1,Gosub(callwarden,s,1(support))
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent,30)
exten => 1023,1,Answer()
 same => n,Wait(2)
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent,30)
exten => 1024,1,Gosub(callwarden,s,1(no-such-policy))
 same => n,Dial(PJSIP/agent,30)
"""


@dataclass(frozen=True)
class Row:
    """One call: `keys` are (milliseconds after the last step, key); `stay` seconds after the last key."""

    ext: str
    keys: tuple[tuple[int, str], ...]
    stay: float
    outcome: str
    reason: str
    recorded: bool
    language: str = "en"


ROWS = {
    "agrees": Row("1001", ((ANSWER, "1"),), 5, "given", "key", True),
    "agrees after the question": Row("1001", ((9500, "1"),), 4, "given", "key", True),
    "agrees in Czech": Row("1021", ((7000, "1"),), 4, "given", "key", True, "cs"),
    "a wrong key, then yes": Row("1001", ((ANSWER, "7"), (2000, "1")), 4, "given", "key", True),
    "two wrong keys": Row("1001", ((ANSWER, "7"), (2000, "#")), 4, "refused", "key", False),
    "silence to the end": Row("1001", (), 26, "refused", "silence", False),
    "an early yes is no yes": Row("1001", ((1500, "1"),), 26, "refused", "silence", False),
    "a yes from before the question": Row("1023", ((800, "1"),), 28, "refused", "silence", False),
    "hangs up in the question": Row("1001", (), 3, "abandoned", "hangup", False),
    "enters twice, is asked once": Row("1022", ((ANSWER, "1"),), 5, "given", "key", True),
    "never": Row("1005", (), 4, "not_recorded", "policy", False),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with whole_stack("consent", extra=EXTRA) as running:
        yield running


@pytest.fixture(scope="module")
def calls(stack: Stack) -> dict[str, CallResult]:
    """Every row at once: they are calls of different people."""
    pbx = stack.pbx()

    async def place(n: int, row: Row) -> CallResult:
        await asyncio.sleep(0.2 * n)
        voice = voice_file(pbx.run / "calls", 100 + n) if (pbx.run / "calls").exists() else None
        steps: list[Any] = [Speak(voice)] if voice else []
        for pause, key in row.keys:
            steps += [Wait(pause), Press(key)]
        steps.append(Wait(round(row.stay * 1000)))
        return await place_call(pbx, row.ext, steps=steps, number=f"+42060777{n:04d}", voice=100 + n)

    async def place_all() -> list[CallResult]:
        (pbx.run / "calls").mkdir(exist_ok=True)
        return await asyncio.gather(*(place(n, row) for n, row in enumerate(ROWS.values())))

    results = dict(zip(ROWS, asyncio.run(place_all()), strict=True))
    assert checker.wait_idle(pbx)
    return results


def journal_call(stack: Stack, number: str) -> dict[str, Any]:
    """The call's row, by the id that Asterisk's record names: the number goes with calls that were not recorded."""
    named = {r["userfield"].partition("call=")[2] for r in checker.cdr_of(stack.pbx(), number)} - {""}
    found = [c for c in stack.read("calls") if c["call_id"] in named]
    assert len(found) == 1, f"{len(found)} rows for {number}"
    row: dict[str, Any] = found[0]
    assert row["caller"] == (number if row["outcome"] == "given" else None)
    return row


@pytest.mark.parametrize("what", ROWS)
def test_outcome_evidence_and_tag(what: str, stack: Stack, calls: dict[str, CallResult]) -> None:
    row, call = ROWS[what], calls[what]
    cdr = checker.cdr_of(stack.pbx(), call.number)
    stored = journal_call(stack, call.number)
    assert stored["outcome"] == row.outcome
    assert stored["state"] == "ended"
    assert f"cw={row.outcome};call={stored['call_id']}" in [r["userfield"] for r in cdr]
    events = stack.read("why", stored["call_id"])["events"]
    kinds = [e["kind"] for e in events]
    assert kinds[-1] == row.outcome
    assert kinds.count(row.outcome) == 1
    evidence = events[-1]["evidence"]
    assert evidence["reason"] == row.reason
    assert len(evidence["policy_version"]) == 64
    if row.outcome == "abandoned":
        assert 2000 < evidence["prompt"]["played_ms"] < 4000
    if row.outcome in ("given", "refused"):
        assert kinds[0] == "requested"
        prompt = evidence["heard"][0]
        assert (prompt["prompt_id"], prompt["language"]) == ("ask", row.language)
        assert len(prompt["audio_sha256"]) == 64
        assert prompt["played_ms"] >= prompt["answerable_from_ms"]
    assert bool(stored["recordings"]) == row.recorded


def test_only_agreed_calls_have_audio_and_each_its_own_length(stack: Stack, calls: dict[str, CallResult]) -> None:
    recordings = {r["recording_id"]: r for r in stack.read("recordings")}
    for what, row in ROWS.items():
        stored = journal_call(stack, calls[what].number)
        for recording_id in stored["recordings"]:
            recording = recordings.pop(recording_id)
            assert recording["state"] == "sealed"
            assert recording["ending"] == "complete"
            # bridged time: what was left of the call after the last key, less the agent's 0.2 s of ringing
            assert row.stay - 1.5 < recording["seconds"] < row.stay + 0.5, what
    assert recordings == {}
    assert os.listdir(stack.spool) == []


def test_an_unknown_policy_is_unrecorded_alarmed_and_reaches_the_agent(stack: Stack) -> None:
    pbx = stack.pbx()
    before = len(stack.read("calls"))
    call = asyncio.run(place_call(pbx, "1024", behaviour="silent", seconds=2, prompt_s=0.1))
    assert stack.agent().dialled(call.number) is not None
    assert [r["userfield"] for r in checker.cdr_of(pbx, call.number)] == ["cw=unavailable"]
    assert len(stack.read("calls")) == before
    assert stack.read("status")["alarms"]["last"]["code"] == "policy.unknown"


def test_hostile_words_of_a_caller_are_data_everywhere(stack: Stack) -> None:
    """A caller's words reach the journal as data and no sink as anything else."""
    pbx = stack.pbx()
    name = 'x"; ${SHELL(touch /tmp/cw-canary)} $(id) <b>\\'
    call = asyncio.run(
        place_call(pbx, "1005", behaviour="silent", seconds=2, prompt_s=0.1, number="x,y|$(id)", name=name)
    )
    assert call.ended_by == "caller"
    newest = stack.read("calls")[0]
    assert newest["outcome"] == "not_recorded"
    assert newest["caller"] is None or newest["caller"].isprintable()
    assert not os.path.exists("/tmp/cw-canary")
