"""What the lists, `why`, `status` and `audit verify` say, over the socket and with the daemon stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.api.server import make_app, serve
from rig.places import PROJECT, reachable_by_others
from tests.unit.cli import cli_makers as make

CALL_KEYS = {"call_id", "linked_id", "policy", "mode", "outcome", "caller", "started_at", "recordings"}
RECORDING_KEYS = {"recording_id", "call_id", "state", "ending", "seconds", "suite", "segments", "held", "reported"}
SEGMENT_KEYS = {"segment_id", "number", "state", "seconds", "payload_bytes"}


def over_socket(edge: make.Edge, *commands: tuple[str, ...]) -> list[make.Ran]:
    """Run commands one after the other against a served desk."""

    async def go() -> list[make.Ran]:
        async with make.opened(edge) as files:
            runner = await serve(make_app(make.deps(edge, files)), edge.loaded.edge.socket)
            try:
                return [await edge.arun(*c) for c in commands]
            finally:
                await runner.cleanup()

    return asyncio.run(go())


def test_both_doors_say_the_same(filled: make.Edge) -> None:
    commands = [("calls", "--json"), ("recordings", "--json"), ("why", filled.facts["refused"].call_id, "--json")]
    online = over_socket(filled, *commands)
    for command, ran in zip(commands, online, strict=True):
        assert ran.code == 0, ran.err
        offline = filled.run(*command)
        assert offline.code == 0, offline.err
        assert offline.json == ran.json


def test_shapes(filled: make.Edge) -> None:
    calls, recordings = filled.run("calls", "--json").json, filled.run("recordings", "--json").json
    assert len(calls) == 6
    assert all(c.keys() >= CALL_KEYS for c in calls)
    assert all(r.keys() >= RECORDING_KEYS for r in recordings)
    assert all(s.keys() >= SEGMENT_KEYS for r in recordings for s in r["segments"])
    by_id = {r["recording_id"]: r for r in recordings}
    two = by_id[filled.facts["two"].recording_id]
    assert [s["seconds"] for s in two["segments"]] == [5.0, 3.5]
    assert (two["state"], two["ending"], two["seconds"]) == ("sealed", "complete", 8.5)
    assert by_id[filled.facts["live"].recording_id]["state"] == "recording"
    assert by_id[filled.facts["erased"].recording_id]["state"] == "erased"
    given = next(c for c in calls if c["recordings"] == [two["recording_id"]])
    assert (given["outcome"], given["caller"], given["policy"]) == ("given", make.NUMBER, "support")


def test_tables_are_plain_on_a_pipe(filled: make.Edge) -> None:
    lines = filled.run("calls").out.splitlines()
    assert lines[0].split("\t") == ["started", "call", "caller", "policy", "mode", "outcome", "recordings"]
    assert len(lines) == 7
    assert "\x1b" not in filled.run("recordings").out


def test_a_hostile_number_cannot_move_the_cursor(edge: make.Edge) -> None:
    async def go() -> None:
        async with make.opened(edge) as files:
            await make.add_call(files, outcome=None, number="\x1b[2J\r\nevil\t+1")

    asyncio.run(go())
    done = edge.run("calls")
    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    assert "\x1b" not in done.out
    assert "\\x1b[2J" in done.out


@pytest.mark.parametrize(
    ("name", "begins", "holds"),
    [
        ("two", "Recorded: the caller pressed 1", "7.0 of 8.0 s heard"),
        ("refused", "Not recorded: the caller pressed 1, which is not the yes key", "prompt ask 1.0 in en"),
        ("silent", "Not recorded: no key was pressed", "reason: silence"),
        ("erased", "Recorded, then erased", "cause: command"),
    ],
)
def test_why(filled: make.Edge, name: str, begins: str, holds: str) -> None:
    fact = filled.facts[name]
    call = getattr(fact, "call", fact)
    for text in (call.call_id, call.call_id[:8], call.linked_id):
        done = filled.run("why", text)
        assert done.code == 0, done.err
        assert done.out.startswith(begins)
        assert holds in done.out


def test_why_as_json_has_the_rows(filled: make.Edge) -> None:
    document = filled.run("why", filled.facts["two"].call.call_id, "--json").json
    assert document["sentence"].startswith("Recorded")
    assert [e["kind"] for e in document["events"]] == ["requested", "given"]
    assert document["permit"]["event_seq"] == document["events"][1]["seq"]


@pytest.mark.parametrize("text", ["0" * 32, "000000", "abc", "../../etc", "1700.1"])
def test_why_of_an_unknown_call(filled: make.Edge, text: str) -> None:
    done = filled.run("why", text)
    assert (done.code, done.out) == (5, "")
    assert "hint:" in done.err


def test_status_of_a_stopped_and_a_running_daemon(filled: make.Edge) -> None:
    stopped = filled.run("status", "--json")
    assert stopped.code == 4
    assert stopped.json["running"] is False
    running, plain = over_socket(filled, ("status", "--json"), ("status",))
    assert running.code == 0
    facts = running.json
    assert (facts["ready"], facts["obstacles"], facts["live_recordings"]) == (True, [], 1)
    assert facts["last_checkpoint"] == facts["last_cosigned"] == facts["audit_size"]
    assert "edge edge-1: ready" in plain.out


def test_a_locked_journal_without_a_socket_is_said(filled: make.Edge) -> None:
    async def go() -> make.Ran:
        async with make.opened(filled):
            return await filled.arun("calls")

    done = asyncio.run(go())
    assert done.code == 8
    assert "journal.locked" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.skipif(not reachable_by_others(PROJECT), reason="another user cannot import from this checkout's folder")
def test_root_leaves_no_file_that_locks_the_daemon_out(run_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        edge = make.make_edge(folder / "etc", run_dir, "--owner", "64100")

        async def go() -> make.Recorded:
            async with make.opened(edge) as files:
                return await make.record(edge, files, [make.sound(1, 1)])

        async def as_owner() -> None:
            os.seteuid(64100)
            try:
                edge.facts["one"] = await go()
            finally:
                os.seteuid(0)

        asyncio.run(as_owner())
        out = folder / "out.wav"
        one = edge.facts["one"].recording_id
        assert edge.run("calls").code == 0
        done = edge.run("export", one, "-i", edge.paths["operator_identity"], "-o", out)
        assert done.code == 0, done.err
        assert out.stat().st_uid == 0
        assert {p.stat().st_uid for p in edge.paths["state"].rglob("*")} == {64100}


# -- audit verify


def test_audit_holds_and_names_its_witness(filled: make.Edge) -> None:
    done = filled.run("audit", "verify", "--json")
    assert done.code == 0, done.err
    facts = done.json
    assert facts["signed"] == facts["cosigned"] == facts["size"] > 20
    assert list(facts["witnesses"]) == ["callwarden/fleet/witness"]
    text = filled.run("audit", "verify").out
    assert "cosigned by callwarden/fleet/witness" in text
    assert facts["root"] in text


def test_audit_without_a_witness_says_so(edge: make.Edge) -> None:
    async def go() -> None:
        async with make.opened(edge) as files:
            await make.add_call(files, outcome="refused")
            await make.checkpoint(edge, files)
            await make.add_call(files, outcome="refused")

    asyncio.run(go())
    done = edge.run("audit", "verify")
    assert done.code == 0, done.err
    assert "self-witnessed" in done.out


def _change_entry(conn: sqlite3.Connection) -> None:
    conn.execute("UPDATE audit SET entry=replace(entry, 'refused', 'given') WHERE idx=9")
    conn.execute("UPDATE audit SET entry=entry || ' ' WHERE idx=9")


def _change_entry_and_leaf(conn: sqlite3.Connection) -> None:
    from formats.merkle import leaf_hash

    entry = conn.execute("SELECT entry FROM audit WHERE idx=9").fetchone()[0] + " "
    conn.execute("UPDATE audit SET entry=?, leaf=? WHERE idx=9", (entry, leaf_hash(entry.encode())))


def _drop_last(conn: sqlite3.Connection) -> None:
    conn.execute("DELETE FROM audit WHERE idx=(SELECT max(idx) FROM audit)")


def _drop_middle(conn: sqlite3.Connection) -> None:
    conn.execute("DELETE FROM audit WHERE idx=9")


def _break_cosignature(conn: sqlite3.Connection) -> None:
    note = conn.execute("SELECT cosigned FROM checkpoint WHERE cosigned IS NOT NULL").fetchone()[0]
    head, _, tail = note.rstrip("\n").rpartition(" ")
    broken = tail[:20] + ("A" if tail[20] != "A" else "B") + tail[21:]
    conn.execute("UPDATE checkpoint SET cosigned=? WHERE cosigned IS NOT NULL", (f"{head} {broken}\n",))


@pytest.mark.parametrize(
    ("damage", "code", "where"),
    [
        (_change_entry, "audit.entry", "entry 9"),
        (_change_entry_and_leaf, "audit.root", "entries 0 to"),
        (_drop_last, "audit.rollback", "entry "),
        (_drop_middle, "audit.gap", "entry 9"),
        (_break_cosignature, "audit.signature", "checkpoint"),
    ],
)
def test_audit_that_was_touched(
    filled: make.Edge, damage: Callable[[sqlite3.Connection], None], code: str, where: str
) -> None:
    with sqlite3.connect(filled.loaded.edge.journal) as conn:
        for (trigger,) in conn.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {trigger}")  # whoever has the disk can do this, too
        damage(conn)
    done = filled.run("audit", "verify")
    assert done.code == 7, done.out
    assert code in done.err
    assert where in done.err


def test_audit_of_a_foreign_edge(filled: make.Edge, tmp_path: Path) -> None:
    trust = json.loads(filled.paths["trust"].read_text())
    trust["keys"] = [k for k in trust["keys"] if k["role"] != "edge"]
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(trust))
    done = filled.run("audit", "verify", "--trust", path)
    assert done.code == 7
    assert "audit.unknown_key" in done.err


# -- the socket itself


def test_nobody_else_can_open_the_socket(filled: make.Edge) -> None:
    import stat

    async def go() -> int:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            mode = filled.loaded.edge.socket.stat().st_mode
            await runner.cleanup()
            return stat.S_IMODE(mode)

    assert asyncio.run(go()) == 0o660


def test_the_door_answers_odd_requests_without_failing(filled: make.Edge) -> None:
    import http.client
    import socket

    two = filled.facts["two"].recording_id
    odd = [
        ("GET", "/v1/audit/entries?start=x", 400),
        ("GET", "/v1/audit/entries?start=99999999999999999999", 400),
        ("GET", "/v1/recordings/zz/bundle", 404),
        ("GET", f"/v1/recordings/{two}/segments/7/header", 404),
        ("GET", f"/v1/recordings/{two}/segments/0/header?purpose=A%20name", 400),
        ("POST", f"/v1/recordings/{two}/exported?form=mp3", 400),
        ("GET", "/v1/why/%00", 404),
        ("DELETE", f"/v1/recordings/{two}/bundle", 405),
        ("GET", "/v2/calls", 404),
    ]

    def ask(method: str, path: str) -> int:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(filled.loaded.edge.socket))
        connection.request(method, path)
        return connection.getresponse().status

    async def go() -> list[Any]:
        async with make.opened(filled) as files:
            runner = await serve(make_app(make.deps(filled, files)), filled.loaded.edge.socket)
            try:
                return [await asyncio.to_thread(ask, method, path) for method, path, _ in odd]
            finally:
                await runner.cleanup()

    assert asyncio.run(go()) == [status for _, _, status in odd]
