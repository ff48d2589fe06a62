"""Acts on live calls, reload, purposes, gaps and evidence, over the socket and with the daemon stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import wave
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from callwarden.commands.live import ROLES
from callwarden.keyfiles import read_trust
from edge.api import actdesk
from edge.api.deps import ApiDeps
from edge.api.server import make_app, serve
from edge.errors import CallwardenError
from edge.model.live import ACTOR_KINDS, Actor
from edge.ports import LiveCalls
from formats import vcon
from formats.jws import sign_general, verify_general
from tests.unit.cli import cli_makers as make


@dataclass
class Heard:
    """Live calls that note what they are asked; `refusal`: raised instead."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: CallwardenError | None = None

    def _answer(self, *asked: Any) -> Mapping[str, Any]:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal
        return {"did": "done", "says": f"It is done: {asked[0]}."}

    async def withdraw(self, call_id: str, actor: Actor, reason: str) -> Mapping[str, Any]:
        return self._answer("withdraw", call_id, actor, reason)

    async def pause(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        return self._answer("pause", call_id, actor)

    async def resume(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        return self._answer("resume", call_id, actor)

    async def start(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        return self._answer("start", call_id, actor)

    async def incident(self, call_id: str, actor: Actor, seconds: float) -> Mapping[str, Any]:
        return self._answer("incident", call_id, actor, seconds)


def served(edge: make.Edge, *commands: tuple[Any, ...], live: LiveCalls | None = None, **more: Any) -> list[make.Ran]:
    """Run commands one after the other against a daemon's door. more: other members of its deps."""

    async def go() -> list[make.Ran]:
        async with make.opened(edge) as files:
            deps: ApiDeps = replace(make.deps(edge, files), live=live, **more)
            runner = await serve(make_app(deps), edge.loaded.edge.socket)
            try:
                return [await edge.arun(*c) for c in commands]
            finally:
                await runner.cleanup()

    return asyncio.run(go())


def entries(edge: make.Edge, kind: str) -> list[dict[str, Any]]:
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        found = [json.loads(row[0]) for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]
    return [e for e in found if e["kind"] == kind]


@pytest.fixture
def live_call(edge: make.Edge) -> make.Recorded:
    async def go() -> make.Recorded:
        async with make.opened(edge) as files:
            return await make.record(edge, files, [make.sound(9, 5)], end="live")

    return asyncio.run(go())


def test_the_roles_are_the_doors_own() -> None:
    assert ROLES == actdesk.ROLES
    assert set(ROLES) <= set(ACTOR_KINDS)


def test_each_act_reaches_the_call_with_who_asks(edge: make.Edge, live_call: make.Recorded) -> None:
    heard, call = Heard(), live_call.call
    me = f"uid:{os.getuid()}"
    ran = served(
        edge,
        ("withdraw", call.call_id, "--reason", "case-9"),
        ("withdraw", call.call_id[:8], "--as", "agent"),
        ("pause", call.linked_id),
        ("resume", call.channel_uid, "--json"),
        ("start", call.call_id),
        ("incident", call.call_id, "--seconds", "12.5", "--as", "dpo"),
        live=heard,
    )
    assert [r.code for r in ran] == [0] * 6, [r.err for r in ran]
    assert ran[0].out == "It is done: withdraw.\n"
    assert ran[3].json == {"call": call.call_id, "did": "done", "says": "It is done: resume."}
    assert heard.asked == [
        ("withdraw", call.call_id, Actor("caller", me), "case-9"),
        ("withdraw", call.call_id, Actor("agent", me), ""),
        ("pause", call.call_id, Actor("supervisor", me)),
        ("resume", call.call_id, Actor("supervisor", me)),
        ("start", call.call_id, Actor("agent", me)),
        ("incident", call.call_id, Actor("dpo", me), 12.5),
    ]
    noted = entries(edge, "call.asked")
    assert [e["body"]["act"] for e in noted] == ["withdraw", "withdraw", "pause", "resume", "start", "incident"]
    assert noted[0]["body"] == {"act": "withdraw", "as": "caller", "uid": os.getuid(), "reason": "case-9"}
    assert noted[5]["body"]["ms"] == 12500
    assert len({e["subject"] for e in noted}) == 1
    assert call.call_id not in json.dumps(noted)


@pytest.mark.parametrize(("code", "exit_code"), [("calls.not_found", 5), ("calls.not_live", 6), ("calls.refused", 6)])
def test_a_refusal_has_its_exit_code(edge: make.Edge, live_call: make.Recorded, code: str, exit_code: int) -> None:
    heard = Heard(refusal=CallwardenError(code, "it is not to be", hint="do something else"))
    (done,) = served(edge, ("pause", live_call.call.call_id), live=heard)
    assert (done.code, done.out) == (exit_code, "")
    assert "hint: do something else" in done.err
    assert len(entries(edge, "call.asked")) == 1  # also what was refused is in the log


def test_an_unknown_call_a_bad_reason_and_a_stopped_daemon(edge: make.Edge, live_call: make.Recorded) -> None:
    heard = Heard()
    unknown, reason, seconds = served(
        edge,
        ("pause", "0" * 32),
        ("withdraw", live_call.call.call_id, "--reason", "Mr Novak said so"),
        ("incident", live_call.call.call_id, "--seconds", "0"),
        live=heard,
    )
    assert (unknown.code, reason.code, seconds.code) == (5, 2, 2)
    assert heard.asked == []
    stopped = edge.run("pause", live_call.call.call_id)
    assert (stopped.code, stopped.out) == (4, "")
    assert "daemon.stopped" in stopped.err


def test_of_two_calls_under_one_linked_id_the_open_one_is_meant(edge: make.Edge, live_call: make.Recorded) -> None:
    async def go() -> None:
        async with make.opened(edge) as files:
            old = await make.add_call(files, outcome="refused")
            await files.journal.end_call(old.call_id, make.END)

    asyncio.run(go())
    with sqlite3.connect(edge.loaded.edge.journal) as conn:
        conn.execute("UPDATE call SET linked_id='7.7', policy_id=policy_id WHERE outcome='given'")
        conn.execute("PRAGMA foreign_keys=OFF")
        conn.execute("UPDATE call SET linked_id='7.7', policy_id='other' WHERE outcome='refused'")
    heard = Heard()
    (done,) = served(edge, ("pause", "7.7"), live=heard)
    assert done.code == 0, done.err
    assert heard.asked[0][1] == live_call.call.call_id


def test_reload_says_what_came_of_it(edge: make.Edge) -> None:
    async def good() -> Mapping[str, Any]:
        return {"says": "2 policies, 1 changed", "policies": 2}

    async def bad() -> Mapping[str, Any]:
        raise CallwardenError("policy.mode", "no such mode", hint="opt_in", where="conf.d/x.toml:3")

    (done,) = served(edge, ("reload",), reload=good)
    assert (done.code, done.out) == (0, "2 policies, 1 changed\n")
    (failed,) = served(edge, ("reload",), reload=bad)
    assert (failed.code, failed.out) == (3, "")
    assert "conf.d/x.toml:3" in failed.err
    assert [e["body"] for e in entries(edge, "policy.reload_asked")] == [{"uid": os.getuid()}] * 2
    assert edge.run("reload").code == 4


# -- purposes


def test_a_purpose_that_was_not_granted_is_refused_and_noted(filled: make.Edge, tmp_path: Path) -> None:
    two = filled.facts["two"].recording_id
    common = ("export", two, "-i", filled.paths["operator_identity"])
    for form in ((*common, "-o", tmp_path / "a.wav"), ("export", two, "--raw-age", "-o", tmp_path / "a.age")):
        refused = filled.run(*form, "--purpose", "marketing", "--case", "case-3")
        assert (refused.code, refused.out) == (6, "")
        assert "[command.purpose]" in refused.err
        assert "granted: quality, evidence" in refused.err
    assert list(tmp_path.glob("a.*")) == []
    noted = [e["body"] for e in entries(filled, "recording.read_refused")]
    assert [(b["purpose"], b["case"], b["why"]) for b in noted] == [("marketing", "case-3", "purpose")] * 2
    assert entries(filled, "recording.read") == []


def test_a_granted_purpose_is_noted_and_none_takes_the_first(filled: make.Edge, tmp_path: Path) -> None:
    common = ("export", filled.facts["two"].recording_id, "-i", filled.paths["operator_identity"])
    named = filled.run(*common, "-o", tmp_path / "a.wav", "--purpose", "evidence", "--json")
    assert named.json["purpose"] == "evidence"
    assert named.json["warnings"] == []
    silent = filled.run(*common, "-o", tmp_path / "b.wav", "--json")
    assert silent.json["purpose"] == "quality"
    assert "read for the purpose 'quality'" in silent.err
    purposes = [e["body"]["purpose"] for e in entries(filled, "recording.read")]
    assert purposes == ["evidence", "evidence", "quality", "quality"]


def test_the_door_holds_a_reader_to_it_who_asks_without_the_command(filled: make.Edge) -> None:
    from callwarden.door import Reading, SocketDoor

    two = filled.facts["two"].recording_id

    async def go() -> None:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            door = SocketDoor(filled.loaded.edge.socket)
            try:
                with pytest.raises(CallwardenError) as caught:
                    await asyncio.to_thread(door.header, two, 0, Reading("marketing"))
                assert caught.value.code == "command.purpose"
                with pytest.raises(CallwardenError):
                    await asyncio.to_thread(door.exported, two, Reading("marketing", form="wav"))
                assert await asyncio.to_thread(door.header, two, 0, Reading("evidence"))
            finally:
                await runner.cleanup()

    asyncio.run(go())


def test_every_way_to_what_was_said_holds_the_reader_to_a_purpose(filled: make.Edge, tmp_path: Path) -> None:
    """One line for each row of the edge's table in docs/spec/reading.md, by the commands that a person has."""
    two = filled.facts["two"]
    common = (two.recording_id, "-i", filled.paths["operator_identity"])
    audio = tmp_path / "audio.vcon.json"
    ways: dict[str, tuple[str | Path, ...]] = {
        "whole": ("export", *common, "-o", tmp_path / "a.wav"),
        "part": ("export", *common, "-o", tmp_path / "b.wav", "--from", "0", "--to", "1"),
        "sealed": ("export", two.recording_id, "--raw-age", "-o", tmp_path / "a.age"),
        "as stored": ("export", two.recording_id, "--raw", "-o", tmp_path / "raw"),
        "waveform": ("waveform", *common),
        "evidence": ("evidence", two.call.call_id, "--form", "json"),
        "evidence with audio": (
            "evidence", two.call.call_id, "--form", "vcon", "--with-audio", "-i", common[2], "--unsigned", "-o", audio,
        ),
    }  # fmt: skip
    for way, words in ways.items():
        refused = filled.run(*words, "--purpose", "marketing", "--case", "c-1")
        assert (refused.code, refused.out) == (6, ""), (way, refused.err)
        assert "[command.purpose]" in refused.err, (way, refused.err)
    refusals = entries(filled, "recording.read_refused") + entries(filled, "evidence.refused")
    assert len(refusals) == len(ways)
    assert {e["body"]["why"] for e in refusals} == {"purpose"}
    assert entries(filled, "recording.read") + entries(filled, "evidence.exported") == []
    for way, words in ways.items():
        read = filled.run(*words, "--purpose", "quality")
        assert read.code == 0, (way, read.err)


def test_every_door_that_gives_bytes_out_holds_the_reader_to_a_purpose(filled: make.Edge) -> None:
    from callwarden.door import Reading, SocketDoor

    two = filled.facts["two"].recording_id

    async def go() -> None:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            door = SocketDoor(filled.loaded.edge.socket)

            def payload(reading: Reading) -> bytes:
                with door.payload(two, 0, reading) as source:
                    return source.read()

            ways = {
                "header": lambda reading: door.header(two, 0, reading),
                "payload": payload,
                "waveform": lambda reading: door.waveform(two, 0, reading),
                "verify": lambda reading: door.header(two, 0, Reading(reading.purpose, form="verify")),
                "evidence": lambda reading: door.evidence(filled.facts["two"].call.call_id, "json", reading),
            }
            try:
                for way, ask in ways.items():
                    with pytest.raises(CallwardenError) as caught:
                        await asyncio.to_thread(ask, Reading("marketing"))
                    assert caught.value.code == "command.purpose", way
            finally:
                await runner.cleanup()

    asyncio.run(go())


# -- gaps


def test_an_export_tells_where_the_pauses_were_and_what_was_removed(filled: make.Edge, tmp_path: Path) -> None:
    two, later = filled.facts["two"], "2026-01-31T12:00:30.000Z"

    async def go() -> None:
        async with make.opened(filled) as files:
            await files.journal.flag(two.recording_id, "one_sided", "the far side")

    asyncio.run(go())
    with sqlite3.connect(filled.loaded.edge.journal) as conn:  # the journal opens no pause of a call that is over
        conn.executemany(
            "INSERT INTO pause VALUES (?, ?, ?, 'agent', 'PJSIP/agent1-0001', ?, NULL, ?, 'agent', '')",
            [(make.new_id(), two.call.call_id, reason, make.AT, later) for reason in ("asked", "hold")],
        )
        conn.execute("UPDATE segment SET state='shredded' WHERE recording_id=? AND number=0", (two.recording_id,))
    out = tmp_path / "out.wav"
    done = filled.run("export", two.recording_id, "-i", filled.paths["operator_identity"], "-o", out, "--json")
    assert done.code == 0, done.err
    assert done.json["gaps"] == [
        {"kind": "pause", "from": make.AT, "to": later, "reason": "asked"},
        {"kind": "pause", "from": make.AT, "to": later, "reason": "hold"},
        {"kind": "removed", "segment": 0, "reason": "hangup"},
    ]
    for words in ("somebody asked for it", "segment 0 was removed", "one side is silent to the bit (the far side)"):
        assert words in done.err
    with wave.open(str(out)) as wav:
        assert wav.readframes(wav.getnframes()) == two.audio[5 * 8000 * 4 :]
    why = filled.run("why", two.call.call_id).out
    assert "asked for, by an agent" in why
    assert "removed: segment 0" in why
    gone = filled.run("export", two.recording_id, "--raw-age", "-o", tmp_path / "x.age", "--json")
    assert gone.json["segments"] == 1


# -- when nobody was there


def test_why_says_that_no_daemon_was_there(filled: make.Edge) -> None:
    async def go() -> None:
        async with make.opened(filled) as files:
            body = {"from": "2026-02-01T10:00:00.000Z", "to": "2026-02-01T10:05:00.000Z"}
            await files.journal.note_audit("outage", body=body)
            await files.journal.set_meta("alive_at", "2026-02-02T00:00:00.000Z")

    asyncio.run(go())
    inside, host = "1769940060.17", "pbx-brno-1-1769940060.17"  # 2026-02-01T10:01:00Z
    for text in (inside, host, "2026-02-01T11:01:00+01:00"):
        done = filled.run("why", text)
        assert done.code == 0, done.err
        assert "no daemon was there between 2026-02-01T10:00:00.000Z and 2026-02-01T10:05:00.000Z" in done.out
    document = filled.run("why", inside, "--json").json
    assert (document["call"], document["at"]) == (None, "2026-02-01T10:01:00.000Z")
    later = "1770027000.3"  # 2026-02-02T10:10:00Z
    assert "no daemon was there since 2026-02-02T00:00:00.000Z" in filled.run("why", later).out
    running, outside = served(filled, ("why", later), ("why", "1769939000.1"))
    assert (running.code, outside.code) == (5, 5)  # a daemon that answers is not away
    assert filled.run("evidence", inside).code == 5


# -- evidence


@pytest.mark.parametrize("form", ["receipt", "record", "vcon", "json"])
def test_both_doors_give_the_same_evidence_and_note_it(filled: make.Edge, form: str) -> None:
    call = filled.facts["two"].call.call_id
    command = ("evidence", call, "--form", form, "--unsigned", "--case", "case-1")
    offline = filled.run(*command)
    (online,) = served(filled, command)
    assert (offline.code, online.code) == (0, 0), offline.err + online.err
    same = [_without_times(r.out) for r in (offline, online)]
    assert same[0] == same[1]
    noted = entries(filled, "evidence.exported")
    assert [e["body"] for e in noted] == [{"form": form, "uid": os.getuid(), "case": "case-1"}] * 2


def _without_times(text: str) -> str:
    import re

    return re.sub(r"20(2[6-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+Z", "T", text)


def test_the_edge_signs_the_vcon_it_made(filled: make.Edge) -> None:
    call = filled.facts["two"].call.call_id
    signed = filled.run("evidence", call, "--form", "vcon")
    assert (signed.code, signed.err) == (0, "")
    trust = read_trust(filled.paths["trust"])
    payload = verify_general(signed.json, trust, vcon.TYP, Counter({"edge": 1})).payload
    assert json.loads(payload)["subject"].endswith(call)
    key = filled.key
    (online,) = served(
        filled, ("evidence", call, "--form", "vcon"), attest=lambda typ, data: sign_general(data, [(key, key.kid)], typ)
    )
    verify_general(online.json, trust, vcon.TYP, Counter({"edge": 1}))


def test_audio_in_a_vcon_is_signed_by_who_put_it_there(filled: make.Edge, tmp_path: Path) -> None:
    call, out = filled.facts["two"].call.call_id, tmp_path / "v.json"
    common = ("evidence", call, "--form", "vcon", "--with-audio", "-i", filled.paths["operator_identity"])
    done = filled.run(*common, "--key", filled.paths["dpo_key"], "-o", out, "--purpose", "evidence")
    assert done.code == 0, done.err
    trust = read_trust(filled.paths["trust"])
    document = json.loads(verify_general(json.loads(out.read_text()), trust, vcon.TYP, Counter({"dpo": 1})).payload)
    import base64

    bodies = [base64.urlsafe_b64decode(d["body"] + "==") for d in document["dialog"] if d["type"] == "recording"]
    assert b"".join(b[44:] for b in bodies) == filled.facts["two"].audio
    plain = filled.run(*common, "--purpose", "evidence")
    assert "not signed" in plain.err
    assert "signatures" not in plain.json
    refused = filled.run(*common, "--purpose", "marketing")
    assert (refused.code, refused.out) == (6, "")
    assert filled.run("evidence", call, "--with-audio").code == 2


def test_a_no_has_evidence_too_and_it_is_in_the_calls_language(filled: make.Edge) -> None:
    done = filled.run("evidence", filled.facts["silent"].call_id)
    assert done.code == 0, done.err
    assert "You did not agree." in done.out
    assert filled.run("evidence", "0" * 32).code == 5
