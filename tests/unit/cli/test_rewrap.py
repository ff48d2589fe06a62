"""`callwarden key rewrap`: another reader opens what was stored, the header before does not open any more, and nobody
without the right key changes anything."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sqlite3
import wave
from pathlib import Path

import msgspec
import pytest

from callwarden import keyfiles
from callwarden.door import SocketDoor
from callwarden.rewrapping import Rewrap, tasks
from edge.errors import CallwardenError
from formats.age import make_header, parse_recipient
from formats.keys import b64url
from formats.orders import RewrapContent, content_as
from formats.rewrap import RewrapClaims, sign_rewrap
from tests.unit.cli import cli_makers as make
from tests.unit.cli.key_kit import header_rows, new_reader, served, set_recipients


def audio(path: Path) -> bytes:
    with wave.open(str(path)) as wav:
        return wav.readframes(wav.getnframes())


def rewrap_args(edge: make.Edge) -> list[str | Path]:
    return ["key", "rewrap", "-i", edge.paths["operator_identity"], "--sign-key", edge.paths["dpo_key"]]


async def test_a_new_reader_opens_what_is_stored_and_the_old_header_is_gone(filled: make.Edge, tmp_path: Path) -> None:
    edge, two, cut = filled, filled.facts["two"], filled.facts["cut"]
    recipient = new_reader(tmp_path / "new")
    set_recipients(edge, recipient, edge.recipients[1])
    slots_before = {slot for _, _, slot, _ in header_rows(edge) if slot}
    async with served(edge) as files:
        asked = await edge.arun(*rewrap_args(edge), "--dry-run", "--json")
        assert (asked.json["segments"], asked.json["done"]) == (3, 0)  # live and erased recordings are left alone
        assert {slot for _, _, slot, _ in header_rows(edge) if slot} == slots_before
        done = await edge.arun(*rewrap_args(edge), "--json")
        assert done.code == 0, done.err
        assert (done.json["recordings"], done.json["segments"], done.json["done"]) == (2, 3, 3)
        assert "nothing is revoked" not in done.out
        for one, seconds in ((two, 8.5), (cut, None)):
            out = tmp_path / f"{one.recording_id}.wav"
            opened = await edge.arun("export", one.recording_id, "-i", tmp_path / "new", "-o", out, "--json")
            assert opened.code == 0, opened.err
            assert audio(out) == one.audio
            assert seconds in (None, opened.json["seconds"])
            refused = await edge.arun(
                "export", one.recording_id, "-i", edge.paths["operator_identity"], "-o", tmp_path / "no"
            )
            assert "[vault.no_match]" in refused.err
        again = await edge.arun(*rewrap_args(edge), "--json")
        assert (again.code, again.json["segments"]) == (0, 0)
        entries = [json.loads(row.entry) for row in await files.journal.audit_entries(0, 1000)]
        replaced = [one["body"] for one in entries if one["kind"] == "header.replaced"]
        assert len(replaced) == 3
        assert {one["made_by"] for one in replaced} == {keyfiles.read_signing_key(edge.paths["dpo_key"]).kid}
        # What waits for central: the new header's slot, and no old one.
        events = [row for row in await files.journal.outbox(1000) if row.body.get("header")]
        now = {slot for _, _, slot, _ in header_rows(edge) if slot}
        assert {row.body["header"]["slot"] for row in events} <= now
        assert [row.type for row in events].count("header.replaced") == 3
    names = {(s, v): (slot, size) for s, v, slot, size in header_rows(edge)}
    new = {segment for segment, version in names if version == 1}
    assert len(new) == 3
    assert all(names[segment, 0] == (0, 0) and names[segment, 1][0] > 0 for segment in new)


async def test_whoever_has_no_dpo_key_changes_nothing(filled: make.Edge, tmp_path: Path) -> None:
    edge = filled
    set_recipients(edge, new_reader(tmp_path / "new"), edge.recipients[1])
    made = make.command("key", "new", "--kind", "dpo", "-o", tmp_path / "stranger")
    assert made.code == 0
    before = header_rows(edge)
    async with served(edge):
        for key in (tmp_path / "stranger", edge.paths["edge_key"]):
            done = await edge.arun("key", "rewrap", "-i", edge.paths["operator_identity"], "--sign-key", key)
            assert done.code == 6, done.err
            assert "[auth." in done.err
        assert header_rows(edge) == before


async def test_an_identity_that_opens_nothing_is_told_recording_by_recording(filled: make.Edge, tmp_path: Path) -> None:
    edge = filled
    set_recipients(edge, new_reader(tmp_path / "new"), edge.recipients[1])
    before = header_rows(edge)
    async with served(edge):
        done = await edge.arun("key", "rewrap", "-i", tmp_path / "new", "--sign-key", edge.paths["dpo_key"], "--json")
        assert done.code == 7
        assert set(done.json["failed"].values()) == {"vault.no_match"}
        assert len(done.json["failed"]) == 2
        assert header_rows(edge) == before
        absent = await edge.arun(*rewrap_args(edge), "ab" * 16)
        assert (absent.code, "[not_found.recording]" in absent.err) == (5, True)
        nobody = await edge.arun(*rewrap_args(edge), "--from", "0123456789", "--dry-run")
        assert (nobody.code, "[not_found.recipient]" in nobody.err) == (5, True)
        named = parse_recipient(edge.recipients[0]).fingerprint[:8]
        some = await edge.arun(
            *rewrap_args(edge), edge.facts["two"].recording_id, "--from", named, "--dry-run", "--json"
        )
        assert (some.json["recordings"], some.json["segments"]) == (1, 2)
        one = await edge.arun(*rewrap_args(edge), "--to-policy", "nosuch")
        assert (one.code, "[not_found.policy]" in one.err) == (5, True)
    stopped = await asyncio.to_thread(make.process, "--config", edge.config, *rewrap_args(edge))
    assert (stopped.code, "[daemon.stopped]" in stopped.err) == (4, True), stopped.err  # the daemon alone writes keys
    assert header_rows(edge) == before


async def test_a_page_without_anything_to_do_does_not_end_the_list(filled: make.Edge) -> None:
    async with make.opened(filled) as files:
        first = await files.journal.headers_after(0, 1)
        assert {one["recording_id"] for one in first} == {filled.facts["two"].recording_id}

        def shredded(conn: sqlite3.Connection) -> None:
            conn.execute(
                "UPDATE segment SET state='shredded' WHERE recording_id=?", (filled.facts["two"].recording_id,)
            )

        await files.journal._writer.do(shredded)
        after = await files.journal.headers_after(0, 1)
        assert {one["recording_id"] for one in after} == {filled.facts["cut"].recording_id}


async def test_what_was_stopped_goes_on(filled: make.Edge, tmp_path: Path) -> None:
    edge = filled
    set_recipients(edge, new_reader(tmp_path / "new"), edge.recipients[1])
    trust = keyfiles.read_trust(edge.loaded.edge.trust_file)
    identities = keyfiles.read_identities(edge.paths["operator_identity"])
    signer = keyfiles.read_signing_key(edge.paths["dpo_key"])

    def half() -> int:
        door = SocketDoor(edge.loaded.edge.socket)
        return next(Rewrap(door, identities, signer, trust).run(tasks(door)))

    async with served(edge):
        assert await asyncio.to_thread(half) == 1
        rest = await edge.arun(*rewrap_args(edge), "--json")
        assert (rest.json["segments"], rest.json["done"]) == (2, 2)


async def test_the_daemon_looks_at_what_is_carried(filled: make.Edge, tmp_path: Path) -> None:
    edge, two = filled, filled.facts["two"]
    recipient = new_reader(tmp_path / "new")
    set_recipients(edge, recipient, edge.recipients[1])
    signer = keyfiles.read_signing_key(edge.paths["dpo_key"])
    before = header_rows(edge)
    async with served(edge) as files:
        door = SocketDoor(edge.loaded.edge.socket)
        row = await files.journal.recording(two.recording_id)
        assert row is not None
        segment = row.segments[0]
        header = make_header(
            secrets.token_bytes(16), [parse_recipient(recipient)], randbytes=secrets.token_bytes
        )  # fmt: skip
        good = RewrapClaims(
            edge_id="edge-1", recording_id=two.recording_id, segment_id=segment.segment_id, number=0, version=1,
            suite="age1", policy="support", recipients=(recipient, edge.recipients[1]),
            key_id=segment.header.key_id.hex(), header_sha256=hashlib.sha256(header).hexdigest(), at=make.AT,
        )  # fmt: skip

        async def answer(body: object, number: int = 0) -> str:
            with pytest.raises(CallwardenError) as caught:
                await asyncio.to_thread(door.rewrap, two.recording_id, number, body)
            return caught.value.code

        def carried(claims: RewrapClaims, content: bytes = header) -> dict[str, str]:
            return {"statement": sign_rewrap(claims, signer), "header": b64url(content)}

        for change, code in (
            ({"edge_id": "edge-2"}, "command.rewrap"), ({"number": 1}, "command.rewrap"),
            ({"key_id": "00" * 32}, "command.rewrap"), ({"suite": "aes256gcm"}, "command.rewrap"),
            ({"segment_id": row.segments[1].segment_id}, "command.rewrap"), ({"version": 2}, "command.version"),
            ({"version": 0}, "command.version"), ({"recipients": (recipient,)}, "command.recipients"),
            ({"policy": "private"}, "command.recipients"), ({"at": "yesterday"}, "command.rewrap"),
        ):  # fmt: skip
            assert await answer(carried(msgspec.structs.replace(good, **change))) == code, change
        assert await answer(carried(good, header + b"x")) == "command.rewrap"
        assert await answer(carried(good), 7) == "not_found.segment"
        assert await answer({"statement": "x", "header": b64url(header)}) == "auth.encoding"
        for body in ([], {}, {"statement": 1, "header": "!"}, {"statement": "x", "header": b64url(bytes(40_000))}):
            assert await answer(body) == "usage.body"
        assert header_rows(edge) == before
        live = sum(1 for _, _, slot, _ in before if slot)
        assert (
            files.slots.counts()["live"] == live + 1
        )  # and the audit log's secret: what was refused left no key behind
        first = await asyncio.to_thread(door.rewrap, two.recording_id, 0, carried(good))
        again = await asyncio.to_thread(door.rewrap, two.recording_id, 0, carried(good))
        assert (first["did"], again["did"]) == ("replaced", "already")
        assert files.slots.counts()["live"] == live + 1


async def test_the_second_suite_is_rewrapped_by_its_own_rules(edge: make.Edge, tmp_path: Path) -> None:
    async with make.opened(edge) as files:
        one = await make.record(edge, files, [make.sound(2, 7)], suite="aes256gcm")
    set_recipients(edge, new_reader(tmp_path / "new"), edge.recipients[1])
    async with served(edge):
        done = await edge.arun(*rewrap_args(edge), "--json")
        assert (done.code, done.json["done"]) == (0, 1), done.err
        out = tmp_path / "out.wav"
        opened = await edge.arun("export", one.recording_id, "-i", tmp_path / "new", "-o", out)
        assert opened.code == 0, opened.err
        assert audio(out) == one.audio


async def test_headers_in_a_file_are_what_an_order_brings_and_change_nothing_by_themselves(
    filled: make.Edge, tmp_path: Path
) -> None:
    edge, file = filled, tmp_path / "headers.json"
    set_recipients(edge, new_reader(tmp_path / "new"), edge.recipients[1])
    before = header_rows(edge)
    async with served(edge):
        done = await edge.arun(*rewrap_args(edge), "--out", file, "--json")
        assert done.code == 0, done.err
        assert header_rows(edge) == before
        made = json.loads(file.read_text())["headers"]
        assert sum(len(one) for one in made.values()) == 3
        door = SocketDoor(edge.loaded.edge.socket)
        for recording_id, headers in made.items():
            for one in content_as({"headers": headers}, RewrapContent).headers:
                body = {"statement": one.statement, "header": one.header}
                answer = await asyncio.to_thread(door.rewrap, recording_id, one.segment, body)
                assert answer["did"] == "replaced"
