"""The command on a whole stack: acts on a real call, why, and the evidence of calls of every mode."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from callwarden.keyfiles import read_trust
from formats import vcon
from formats.jws import verify_general
from formats.receipt_words import WORDS
from rig.calltable_run import marks
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import tone
from tests.asterisk.live_kit import PATIENCE_S, live_stack, rows, until
from tests.unit.formats.public_vectors import WHERE, folder

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with live_stack("door") as stack:
        yield stack


@cache
def schema() -> Any:
    found = folder("vcon")
    if found is None:
        print(WHERE.format("vcon"))
        return {}
    return json.loads((found / "vcon_json_schema.json").read_text())


def call_of(stack: Stack, number: str) -> tuple[str, str, str]:
    """Id, state and outcome of the newest call of this number; all empty while there is none, and again once a no has
    ended: its number goes then."""
    found = rows(
        stack,
        "SELECT c.call_id, c.state, ifnull(c.outcome, '') FROM call c JOIN party p USING(party_id) WHERE p.number_heard=?"
        " ORDER BY c.seq DESC",
        number,
    )
    return tuple(map(str, found[0])) if found else ("", "", "")  # type: ignore[return-value]


def run(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    return stack.callwarden(*words, check=False)


async def arun(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, stack, *words)


async def agree(stack: Stack, number: str, seed: int) -> tuple[Phone, str]:
    """A caller of 1001 who said yes and is being recorded; the call's id."""
    phone = await Phone.dial(stack.pbx(), "1001", number=number, voice=tone(seed), within=PATIENCE_S)
    await phone.hear(20)
    await asyncio.sleep(marks()["ask"].counts + 0.6)
    await phone.press("1")
    query = "SELECT call_id FROM recording WHERE state='recording' AND call_id=?"
    await until("a recording that grows", lambda: rows(stack, query, call_of(stack, number)[0]))
    return phone, call_of(stack, number)[0]


async def test_acts_on_a_real_call(stack: Stack, tmp_path: Path) -> None:
    phone, call = await agree(stack, "+420607000001", 1)
    recording = rows(stack, "SELECT recording_id FROM recording WHERE call_id=?", call)[0][0]
    try:
        linked, channel = rows(stack, "SELECT linked_id, channel_uid FROM call WHERE call_id=?", call)[0]
        await asyncio.sleep(2)
        paused = await arun(stack, "pause", linked, "--as", "agent", "--reason", "card")
        assert (paused.returncode, paused.stderr) == (0, "")
        await until(
            "the pause", lambda: rows(stack, "SELECT 1 FROM recording WHERE call_id=? AND state='paused'", call)
        )
        assert "paused at the moment" in (await arun(stack, "why", call)).stdout
        resumed = await arun(stack, "resume", channel, "--json")
        assert resumed.returncode == 0, resumed.stderr
        assert json.loads(resumed.stdout)["did"] == "resumed"
        await until(
            "it goes on", lambda: rows(stack, "SELECT 1 FROM recording WHERE call_id=? AND state='recording'", call)
        )
        # What comes after a pause begins a segment once Asterisk lets go of it; before that an incident has nothing to destroy.
        begun = (
            "SELECT 1 FROM segment JOIN recording USING(recording_id) WHERE call_id=? GROUP BY call_id"
            " HAVING count(*)>1 AND max(segment.state='open')"
        )
        await until("a segment after the pause", lambda: rows(stack, begun, call))
        await asyncio.sleep(2)
        incident = await arun(stack, "incident", call[:10], "--seconds", "0.5")
        assert incident.returncode == 0, incident.stderr
        await asyncio.sleep(2)
        gone = await arun(stack, "withdraw", call, "--as", "caller", "--reason", "case-1")
        assert gone.returncode == 0, gone.stderr
        assert "withdrawn" in gone.stdout
        again = await arun(stack, "pause", call)
        assert (again.returncode, again.stdout) == (6, "")
        never = await arun(stack, "pause", "0" * 32)
        assert never.returncode == 5
    finally:
        await phone.hang_up()
    await until("its end", lambda: rows(stack, "SELECT 1 FROM call WHERE call_id=? AND state='ended'", call))
    await until("its seal", lambda: rows(stack, "SELECT 1 FROM recording WHERE call_id=? AND state='sealed'", call))
    why = await arun(stack, "why", linked)
    assert why.stdout.startswith("Recorded until then: the caller withdrew the yes"), why.stdout
    assert "removed after an incident" in why.stdout
    assert "asked for, by an agent" in why.stdout
    identity, gaps, words = str(stack.identity_file), [], ""
    # A phone that stalls on a busy machine is silent, and what is silent is repaired: then the call has a further recording.
    for (one,) in rows(stack, "SELECT recording_id FROM recording WHERE call_id=? ORDER BY seq", call):
        export = await arun(stack, "export", str(one), "-i", identity, "-o", str(tmp_path / f"{one}.wav"), "--json")
        assert export.returncode == 0, export.stderr
        gaps += json.loads(export.stdout)["gaps"]
        words += export.stderr
    assert [g["kind"] for g in gaps if g["kind"] == "removed"]
    assert next(g["reason"] for g in gaps if g["kind"] == "pause") == "asked"
    assert "was withdrawn at" in words
    other = await arun(
        stack, "export", str(recording), "-i", identity, "-o", str(tmp_path / "b.wav"), "--purpose", "ads"
    )
    assert (other.returncode, (tmp_path / "b.wav").exists()) == (6, False)


async def test_an_agent_starts_a_manual_call_and_its_audio_goes_into_a_vcon(stack: Stack, tmp_path: Path) -> None:
    number = "+420607000003"
    phone = await Phone.dial(stack.pbx(), "1007", number=number, voice=tone(3), within=PATIENCE_S)
    try:
        await until("the call's outcome", lambda: call_of(stack, number)[2] == "not_recorded")
        call = call_of(stack, number)[0]
        await phone.hear(20)  # the agent speaks: the two are bridged
        refused = await arun(stack, "pause", call)
        assert (refused.returncode, refused.stdout) == (6, "")
        started = await arun(stack, "start", call)
        assert started.returncode == 0, started.stderr
        await asyncio.sleep(marks()["ask"].counts + 0.6)
        await phone.press("1")
        query = "SELECT 1 FROM recording WHERE state='recording' AND call_id=?"
        await until("a recording that grows", lambda: rows(stack, query, call))
        await asyncio.sleep(3)
    finally:
        await phone.hang_up()
    await until("its seal", lambda: rows(stack, "SELECT 1 FROM recording WHERE call_id=? AND state='sealed'", call))
    why = (await arun(stack, "why", call)).stdout
    assert why.startswith("Recorded: the caller pressed 1 after the question"), why
    out = tmp_path / "v.json"
    identity = str(stack.identity_file)
    words = (
        "evidence",
        call,
        "--form",
        "vcon",
        "--with-audio",
        "-i",
        identity,
        "--key",
        str(stack.dpo_key),
        "-o",
        str(out),
    )
    done = await arun(stack, *words)
    assert done.returncode == 0, done.stderr
    signed = verify_general(json.loads(out.read_text()), read_trust(stack.trust), vcon.TYP, Counter({"dpo": 1}))
    audio = [d for d in json.loads(signed.payload)["dialog"] if d["type"] == "recording"]
    assert audio
    assert all(len(d["body"]) > 8000 for d in audio)


async def test_a_reload_takes_what_is_right_and_leaves_the_old_where_it_is_wrong(stack: Stack) -> None:
    phone, call = await agree(stack, "+420607000002", 2)
    path = stack.etc / "conf.d" / "orders.toml"
    text = path.read_text()
    try:
        path.write_text(text.replace('mode = "opt_out"', 'mode = "opt_outt"'))
        wrong = await arun(stack, "reload")
        assert (wrong.returncode, wrong.stdout) == (3, ""), wrong.stderr
        assert "orders.toml:" in wrong.stderr
        assert "hint:" in wrong.stderr
        path.write_text(text.replace('answer_window = "5s"', 'answer_window = "6s"'))
        good = await arun(stack, "reload", "--json")
        assert good.returncode == 0, good.stderr
        assert json.loads(good.stdout)["changed"] == ["orders"]
        assert rows(stack, "SELECT state FROM recording WHERE call_id=?", call) == [("recording",)]
    finally:
        path.write_text(text)
        await phone.hang_up()


#: number, extension, keys after the question ("" none, "hang": the caller goes), outcomes that may come of it.
CALLS = (
    ("+420607000010", "1001", "1", {"given"}),
    ("+420607000011", "1001", "5", {"refused"}),
    ("+420607000012", "1001", "", {"refused"}),
    ("+420607000013", "1001", "hang", {"abandoned"}),
    ("+420607000014", "1002", "", {"notified"}),
    ("+420607000015", "1002", "2", {"objected"}),
    ("+420607000016", "1003", "", {"notified"}),
    ("+420607000017", "1004", "", {"not_required"}),
    ("+420607000018", "1005", "", {"not_recorded"}),
    ("+420607000019", "1007", "", {"not_recorded"}),
)


async def _one(stack: Stack, number: str, extension: str, keys: str, seed: int) -> str:
    """Dial, answer, talk a little; the id of the call."""
    phone = await Phone.dial(stack.pbx(), extension, number=number, voice=tone(seed), within=PATIENCE_S)
    try:
        await until("the call's row", lambda: call_of(stack, number)[0])
        call = call_of(stack, number)[0]
        if keys in ("1", "5", "2", "hang"):
            await phone.hear(20)
            await asyncio.sleep(marks()["object" if keys == "2" else "ask"].counts + 0.6)
        if keys == "hang":
            return call
        if keys:
            await phone.press(keys)
        await until("an outcome", lambda: rows(stack, "SELECT outcome FROM call WHERE call_id=?", call)[0][0], 60)
        if rows(stack, "SELECT 1 FROM permit WHERE call_id=?", call):
            query = "SELECT 1 FROM recording WHERE state='recording' AND call_id=?"
            await until("a recording that grows", lambda: rows(stack, query, call), 60)
        await asyncio.sleep(2)
        return call
    finally:
        await phone.hang_up()


async def test_the_evidence_of_every_outcome(stack: Stack) -> None:
    calls: list[tuple[str, set[str]]] = []
    for number, (caller, extension, keys, outcomes) in enumerate(CALLS):
        calls.append((await _one(stack, caller, extension, keys, 20 + number), outcomes))
    trust = read_trust(stack.trust)
    for call, outcomes in calls:
        await until(
            "its end", lambda call=call: rows(stack, "SELECT 1 FROM call WHERE call_id=? AND state='ended'", call)
        )
        why = json.loads((await arun(stack, "why", call, "--json")).stdout)
        outcome = why["call"]["outcome"]
        assert outcome in outcomes, why["sentence"]
        print(f"{outcome:14} {why['sentence']}")
        receipt = await arun(stack, "evidence", call)
        assert receipt.returncode == 0, receipt.stderr
        assert WORDS["en"][outcome] in receipt.stdout
        record = json.loads((await arun(stack, "evidence", call, "--form", "record")).stdout)
        assert record["outcome"] == outcome
        assert record["consent_events"]
        signed = json.loads((await arun(stack, "evidence", call, "--form", "vcon")).stdout)
        document = json.loads(verify_general(signed, trust, vcon.TYP, Counter({"edge": 1})).payload)
        jsonschema.Draft7Validator(schema(), format_checker=jsonschema.FormatChecker()).validate(document)
        kinds = {d["type"] for d in document["dialog"]}
        assert ("recording" in kinds) == (outcome in ("given", "notified", "not_required")), kinds
