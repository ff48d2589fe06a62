"""Batches: each event takes effect once, whatever the network does; the keeper; bodies nobody should send."""

from __future__ import annotations

import gzip
import json
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central import events as central_events
from central import project
from central.conn import Conn
from central.slotfile import SlotFile
from formats.keys import b64url
from formats.wire import encode_batch, sign_batch
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id


async def test_a_batch_is_taken_and_shown(edge: TestEdge) -> None:
    call, recording = an_id(), an_id()
    status, answer = await edge.send(
        edge.event(1, "call.opened", call, {"call_id": call, "mode": "opt_in", "purposes": ["quality"]}),
        edge.event(2, "consent.recorded", call, {"call_id": call, "kind": "given", "outcome": "given"}),
        edge.opened(3, recording, key=secrets.token_bytes(32)),
        edge.event(4, "recording.sealed", recording, {"recording_id": recording, "state": "sealed", "frames": 8000}),
        edge.event(5, "call.closed", call, {"call_id": call, "outcome": "given"}),
    )
    assert status == 200
    assert [item["status"] for item in answer["items"]] == ["accepted"] * 5
    assert answer["contiguous"] == 5
    _, calls = await edge.central.admin("GET", "/v1/calls")
    assert [(c["call_id"], c["outcome"]) for c in calls["calls"] if c["call_id"] == call] == [(call, "given")]
    _, one = await edge.central.admin("GET", f"/v1/recordings/{recording}")
    assert one["state"] == "sealed"
    assert [h["kept"] for h in one["headers"]] == [True]


async def test_56_duplicates_and_gaps(edge: TestEdge) -> None:
    ids = [an_id() for _ in range(4)]
    events = [edge.event(n + 1, "call.opened", ids[n], {"call_id": ids[n]}) for n in range(4)]
    _, answer = await edge.send(events[0], events[2])
    assert answer["contiguous"] == 1
    _, answer = await edge.send(*events)
    assert [i["status"] for i in answer["items"]] == ["duplicate", "accepted", "duplicate", "accepted"]
    assert answer["contiguous"] == 4


async def test_56_a_large_batch_behind_a_gap(edge: TestEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than one statement looks for, more numbers than are read at a time, and one that is known already."""
    monkeypatch.setattr(central_events, "PAGE", 7)
    call = an_id()
    many = [edge.event(n, "call.closed", call, {"call_id": call}) for n in range(1, 2 * central_events.TOGETHER + 12)]
    _, answer = await edge.send(*many[3:60])
    assert ({i["status"] for i in answer["items"]}, answer["contiguous"]) == ({"accepted"}, 0)
    _, answer = await edge.send(*many[1:])
    assert [i["status"] for i in answer["items"]] == ["accepted"] * 2 + ["duplicate"] * 57 + ["accepted"] * (
        len(many) - 60
    )
    assert answer["contiguous"] == 0
    other = msgspec.structs.replace(many[1], id=an_id())  # another event under a number that is taken
    _, answer = await edge.send(many[0], other)
    assert [i["status"] for i in answer["items"]] == ["accepted", "rejected:event.sequence"]
    assert answer["contiguous"] == len(many)
    assert await edge.central.rows("SELECT count(*) FROM event") == [(len(many),)]


@pytest.mark.parametrize("seed", range(8))
async def test_56_any_order_and_repetition_converges(edge: TestEdge, seed: int) -> None:
    rng = random.Random(seed)
    call, recording = an_id(), an_id()
    events = [
        edge.event(1, "call.opened", call, {"call_id": call, "mode": "opt_in", "purposes": ["quality"]}),
        edge.event(2, "consent.recorded", call, {"call_id": call, "outcome": None, "kind": "requested"}),
        edge.event(3, "consent.recorded", call, {"call_id": call, "outcome": "given", "kind": "given"}),
        edge.opened(4, recording, key=secrets.token_bytes(32)),
        edge.event(5, "recording.sealed", recording, {"recording_id": recording, "state": "sealed"}),
        edge.event(6, "consent.recorded", call, {"call_id": call, "outcome": "withdrawn", "kind": "withdrawn"}),
        edge.event(7, "recording.erased", recording, {"recording_id": recording, "cause": "withdrawal"}),
        edge.event(8, "call.closed", call, {"call_id": call, "outcome": "withdrawn"}),
    ]
    history = events * 2
    rng.shuffle(history)
    answer = None
    for event in history:
        _, answer = await edge.send(event)
    assert answer is not None
    assert answer["contiguous"] == 8
    _, one = await edge.central.admin("GET", f"/v1/recordings/{recording}")
    assert one["state"] == "erased"
    assert [h["kept"] for h in one["headers"]] == [False]
    ((outcome,),) = await edge.central.rows("SELECT outcome FROM call WHERE call_id=?", call)
    assert outcome == "withdrawn"
    assert await edge.central.rows("SELECT count(*) FROM event") == [(8,)]


async def test_58_one_bad_event_is_rejected_alone(edge: TestEdge) -> None:
    good, bad = an_id(), an_id()
    broken = edge.opened(2, bad, key=None)
    broken.data["header"]["sealed_header"] = "###"
    _, answer = await edge.send(
        edge.event(1, "call.opened", good, {"call_id": good}),
        broken,
        edge.event(3, "call.closed", good, {"call_id": good}),
    )
    assert [i["status"] for i in answer["items"]] == ["accepted", "rejected:event.header", "accepted"]
    assert answer["contiguous"] == 1
    assert await edge.central.rows("SELECT count(*) FROM recording WHERE recording_id=?", bad) == [(0,)]


async def test_60_a_second_journal_with_the_same_numbers_is_rejected(edge: TestEdge) -> None:
    one, two = an_id(), an_id()
    await edge.send(edge.event(1, "call.opened", one, {"call_id": one}))
    clone = edge.event(1, "call.opened", two, {"call_id": two})
    _, answer = await edge.send(msgspec.structs.replace(clone, id=an_id()))
    assert answer["items"][0]["status"] == "rejected:event.sequence"
    edge.incarnation = 2  # a new journal file counts from 1 again
    _, answer = await edge.send(edge.event(1, "call.opened", two, {"call_id": two}))
    assert answer["items"][0]["status"] == "accepted"


async def test_another_edge_s_recording_is_not_touched(edge: TestEdge) -> None:
    recording = an_id()
    await edge.send(edge.opened(1, recording, key=secrets.token_bytes(32)))
    other = TestEdge(edge.central, "pbx-2")
    _, answer = await other.send(other.event(1, "recording.erased", recording, {"recording_id": recording}))
    assert answer["items"][0]["status"] == "rejected:event.foreign"
    assert (await other.ask("POST", other.path("keeper/shred"), {"recording_id": recording}))[0] == 404
    _, one = await edge.central.admin("GET", f"/v1/recordings/{recording}")
    assert one["headers"][0]["kept"] is True


async def test_61_a_batch_signed_by_another_key_is_refused(edge: TestEdge) -> None:
    body = encode_batch([edge.event(1, "call.opened", an_id(), {"call_id": an_id()})])
    signature = sign_batch(body, a_key())
    status, problem = await edge.ask("POST", edge.path("events"), body, headers={"Callwarden-Signature": signature})
    assert (status, problem["code"]) == (400, "auth.unknown_key")
    assert (await edge.ask("POST", edge.path("events"), body))[0] == 400


async def test_the_shred_key_is_in_the_keeper_and_nowhere_else(edge: TestEdge) -> None:
    key, recording = secrets.token_bytes(32), an_id()
    await edge.send(edge.opened(1, recording, key=key))
    ((slot,),) = await edge.central.rows("SELECT keeper_slot FROM header")
    assert edge.central.running is not None
    assert edge.central.running.central.keeper.read(slot) == key
    await edge.central.stop()
    spelled = (key, key.hex().encode(), b64url(key).encode())
    for path in edge.central.folder.iterdir():
        found = any(one in path.read_bytes() for one in spelled)
        assert found == (path.name == "keeper.keys"), path.name
    await edge.central.start()


async def test_erase_then_late_event_does_not_resurrect_the_key(edge: TestEdge) -> None:
    key, recording, jti = secrets.token_bytes(32), an_id(), an_id()
    await edge.send(edge.opened(1, recording, key=key))
    status, answer = await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": recording, "jti": jti})
    assert status == 200
    assert answer["claims"]["result"] == "destroyed"
    assert len(answer["claims"]["key_ids"]) == 1
    assert answer["claims"]["jti"] == jti
    late = edge.opened(2, recording, key=key, segment_id=an_id())
    _, taken = await edge.send(late)
    assert taken["items"][0]["status"] == "accepted"
    assert await edge.central.rows("SELECT keeper_slot, sealed_header FROM header") == [(None, None)] * 2
    assert key not in edge.central.config.keeper.read_bytes()
    again = await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": recording, "jti": an_id()})
    assert again == (200, answer)
    _, gone = await edge.ask("GET", edge.path("tombstones"))
    assert [t["recording_id"] for t in gone["tombstones"]] == [recording]


async def test_shred_before_any_event_wins_too(edge: TestEdge) -> None:
    recording = an_id()
    _, answer = await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": recording})
    assert answer["claims"]["result"] == "nothing_held"
    await edge.send(edge.opened(1, recording, key=secrets.token_bytes(32)))
    assert await edge.central.rows("SELECT keeper_slot FROM header") == [(None,)]


async def test_a_key_without_a_row_is_swept_at_start(central: TestCentral) -> None:
    await central.stop()
    key = secrets.token_bytes(32)
    slots = SlotFile(central.config.keeper)
    slots.put(key)
    slots.flush()
    slots.close()
    assert key in central.config.keeper.read_bytes()
    await central.start()
    assert key not in central.config.keeper.read_bytes()


async def test_a_further_header_takes_the_place_of_the_one_before(edge: TestEdge) -> None:
    recording, first, second = an_id(), secrets.token_bytes(32), secrets.token_bytes(32)
    await edge.send(edge.opened(1, recording, key=first))
    await edge.send(edge.replaced(2, recording, key=second))
    ((old,), (new,)) = await edge.central.rows("SELECT keeper_slot FROM header ORDER BY version")
    assert old is None
    assert edge.central.running is not None
    assert edge.central.running.central.keeper.read(new) == second
    # The old one told again, late, is not kept.
    await edge.send(edge.event(3, "segment.closed", recording, edge.opened(1, recording, key=first).data))
    assert [one for (one,) in await edge.central.rows("SELECT keeper_slot FROM header ORDER BY version")] == [None, new]
    assert first not in edge.central.config.keeper.read_bytes()
    _, answer = await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": recording})
    assert len(answer["claims"]["key_ids"]) == 1
    assert second not in edge.central.config.keeper.read_bytes()


async def test_a_further_header_that_is_not_committed_leaves_the_one_before(edge: TestEdge) -> None:
    recording, first, second = an_id(), secrets.token_bytes(32), secrets.token_bytes(32)
    await edge.send(edge.opened(1, recording, key=first))
    assert edge.central.running is not None
    central = edge.central.running.central

    def job(conn: Conn) -> None:
        data = edge.replaced(2, recording, key=second).data
        project.project(central, conn, edge.edge_id, "header.replaced", 2, data)
        central.keeper.flush()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await central.db.run(job)
    ((slot,),) = await edge.central.rows("SELECT keeper_slot FROM header")
    assert central.keeper.read(slot) == first
    assert second not in edge.central.config.keeper.read_bytes()


def test_slots_grow_and_are_used_again(tmp_path: Path) -> None:
    slots = SlotFile(tmp_path / "keeper.keys")
    keys = [secrets.token_bytes(32) for _ in range(4200)]
    numbers = [slots.put(key) for key in keys]
    slots.flush()
    assert len(set(numbers)) == 4200
    slots.close()
    slots = SlotFile(tmp_path / "keeper.keys")
    assert [slots.read(n) for n in numbers] == keys
    slots.shred(numbers[:10])
    for number in numbers[:10]:
        with pytest.raises(Exception, match="holds no key"):
            slots.read(number)
    content = (tmp_path / "keeper.keys").read_bytes()
    assert not any(key in content for key in keys[:10])
    assert all(key in content for key in keys[10:])
    slots.close()


BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"[[]]",
    b"{}",
    b'"x"',
    b"[1e999]",
    b"NaN",
    b'{"a":1,"a":2}',
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"recording_id": ["a"]}',
    b'{"recording_id": "../../etc/passwd"}',
    b'{"recording_id": "\\u0000"}',
    b'{"receipts": [{"receipt_id": "\\ud800"}]}',
    b'{"receipts": 7, "origin": {}, "start": true, "entries": [1]}',
    b'{"origin": "callwarden/pbx-1/1", "start": 0, "entries": [], "checkpoint": "x"}',
    b'{"origin": "callwarden/pbx-1/1", "start": 123456789012345678901234567890, "entries": []}',
    json.dumps([{"specversion": "1.0", "id": "x"}]).encode(),
]


@pytest.mark.parametrize("rest", ["events", "audit", "receipts", "keeper/shred"])
async def test_71_exotic_bodies_of_an_edge_are_4xx(edge: TestEdge, rest: str) -> None:
    for body in BODIES:
        headers = {"Callwarden-Signature": sign_batch(body, edge.key)}
        status, problem = await edge.ask("POST", edge.path(rest), body, headers=headers)
        assert 400 <= status < 500, (body[:60], status, problem)
        assert problem["code"] != "central.bug"


@pytest.mark.parametrize("path", ["/v1/enrolments", "/v1/keys", "/v1/orders/draft", "/v1/orders", "/v1/enrol"])
async def test_71_exotic_bodies_of_an_administrator_are_4xx(central: TestCentral, path: str) -> None:
    more = [
        b'{"cmd":"erase","target":{"kind":"recording","id":""},"reason":"x"}',
        b'{"cmd":"launch","target":{"kind":"recording","id":"x"},"reason":"x"}',
        b'{"order":{"payload":"!","signatures":[]}}',
        b'{"order":{"payload":"e30","signatures":[{}]}}',
        b'{"claims":{}}',
        b'{"role":"dpo","owner":"x","jwk":{"kty":"oct"}}',
        b'{"edge_id":"../x"}',
        b'{"token":"x","edge_id":"e","jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}',
    ]
    for body in [*BODIES, *more]:
        status, problem = await central.admin("POST", path, body)
        # Members that a door does not know are ignored, so an object without a bad edge_id is a token for any edge.
        fine = path == "/v1/enrolments" and status == 201 and b"edge_id" not in body.replace(b'"edge_id":"e"', b"")
        assert fine or 400 <= status < 500, (body[:60], status, problem)


async def test_71_bombs_and_tails_are_refused(edge: TestEdge) -> None:
    path = edge.path("receipts")
    bomb = gzip.compress(b" " * (9 * 1024 * 1024) + b"{}")
    assert len(bomb) < 1024 * 1024
    status, problem = await edge.ask("POST", path, bomb, headers={"Content-Encoding": "gzip"})
    assert (status, problem["code"]) == (413, "usage.too_large")
    for body in (b"not gzip", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"tail"):
        status, problem = await edge.ask("POST", path, body, headers={"Content-Encoding": "gzip"})
        assert (status, problem["code"]) == (400, "usage.encoding")
    status, _ = await edge.ask("POST", path, b"{}", headers={"Content-Encoding": "br"})
    assert status == 415
    status, problem = await edge.ask("POST", path, secrets.token_bytes(1024 * 1024 + 1))
    assert (status, problem["code"]) == (413, "usage.too_large")


async def test_unknown_paths_and_methods_are_problems(central: TestCentral) -> None:
    assert (await central.admin("GET", "/v2/x"))[1]["code"] == "not_found.path"
    assert (await central.admin("DELETE", "/v1/edges"))[1]["code"] == "usage.method"
    assert (await central.admin("GET", "/v1/calls?limit=abc"))[1]["code"] == "usage.query"
    assert (await central.admin("GET", "/v1/recordings/" + "a" * 32))[1]["code"] == "not_found.recording"
    assert (await central.admin("GET", "/v1/health", token="none"))[0] == 200


def _live(keeper: Path) -> list[bytes]:
    """Every key that the slot file holds as live."""
    raw = keeper.read_bytes()
    slots = [raw[at : at + 64] for at in range(64, len(raw), 64)]
    return [slot[8:40] for slot in slots if slot[0] == 1]


async def test_a_batch_that_is_not_committed_leaves_no_key(edge: TestEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without a row would outlive the erasure of its recording."""
    central = edge.central
    assert central.running is not None
    key, recording = secrets.token_bytes(32), an_id()
    append = central.running.central.keeper.flush

    def full() -> None:
        append()
        raise central.failure()

    monkeypatch.setattr(central.running.central.keeper, "flush", full)
    status, answer = await edge.send(edge.opened(1, recording, key=key))
    assert (status, answer["code"]) == (503, "central.database")
    monkeypatch.undo()
    assert _live(central.config.keeper) == []
    status, _ = await edge.send(edge.opened(1, recording, key=key))
    assert status == 200
    assert _live(central.config.keeper) == [key]


async def test_an_event_that_is_rejected_after_its_key_leaves_no_key(
    edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    from central import events
    from central.errors import CentralError

    real = events.project

    def then_fails(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        raise CentralError("event.odd", "found out late")

    monkeypatch.setattr(events, "project", then_fails)
    _, answer = await edge.send(edge.opened(1, an_id(), key=secrets.token_bytes(32)))
    assert [i["status"] for i in answer["items"]] == ["rejected:event.odd"]
    assert _live(edge.central.config.keeper) == []


async def test_a_slot_is_free_only_once_its_row_is_gone(edge: TestEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shred that is rolled back leaves a row that names the slot: nobody else may get that slot."""
    central = edge.central
    assert central.running is not None
    inner, first, second = central.running.central, an_id(), an_id()
    await edge.send(edge.opened(1, first, key=secrets.token_bytes(32)))
    real = inner.log.append

    def full(conn: Conn, at: str, kind: str, body: dict[str, object]) -> int:
        if kind == "keeper.shredded":
            raise central.failure()
        return real(conn, at, kind, body)

    monkeypatch.setattr(inner.log, "append", full)
    shred = {"recording_id": first, "key_ids": [], "jti": None}
    status, _ = await edge.ask("POST", edge.path("keeper/shred"), shred)
    assert status == 503
    monkeypatch.undo()
    status, answer = await edge.send(edge.opened(2, second, key=secrets.token_bytes(32)))
    assert (status, answer["items"][0]["status"]) == (200, "accepted")
    status, statement = await edge.ask("POST", edge.path("keeper/shred"), shred)
    assert (status, statement["claims"]["result"]) == (200, "destroyed")
    assert len(_live(central.config.keeper)) == 1  # the second recording's key is untouched


@pytest.mark.parametrize("member", ["sequence", "incarnation"])
async def test_71_numbers_that_no_database_holds_are_4xx(edge: TestEdge, member: str) -> None:
    event = msgspec.structs.replace(edge.event(1, "call.opened", "x", {"call_id": an_id()}), **{member: 2**63})
    body = msgspec.json.encode([event])
    status, answer = await edge.ask(
        "POST", edge.path("events"), body, headers={"Callwarden-Signature": sign_batch(body, edge.key)}
    )
    assert (status, answer["code"]) == (400, "sync.batch")


async def test_71_one_edge_s_odd_segments_do_not_close_the_list(edge: TestEdge) -> None:
    recording = an_id()
    for seq, number in enumerate((1, "zwei", None), 1):
        data = {"recording_id": recording, "segment_id": an_id(), "number": number}
        await edge.send(edge.event(seq, "segment.closed", recording, data))
    status, _ = await edge.central.admin("GET", "/v1/recordings")
    assert status == 200


async def test_62_a_kill_between_slot_and_row_of_an_erase_blocks_nobody(edge: TestEdge) -> None:
    central, first = edge.central, an_id()
    await edge.send(edge.opened(1, first, key=secrets.token_bytes(32)))
    ((slot,),) = await central.rows("SELECT keeper_slot FROM header")
    await central.stop()
    keeper = SlotFile(central.config.keeper)
    keeper.shred([slot])
    keeper.close()
    await central.start()
    status, answer = await edge.send(edge.opened(2, an_id(), key=secrets.token_bytes(32)))
    assert (status, answer["items"][0]["status"]) == (200, "accepted")
    status, statement = await edge.ask(
        "POST", edge.path("keeper/shred"), {"recording_id": first, "key_ids": [], "jti": None}
    )
    assert (status, statement["claims"]["result"]) == (200, "destroyed")


async def test_an_anonymous_call_is_less_whatever_another_edge_calls_by_its_id(edge: TestEdge) -> None:
    call, theirs, at = an_id(), an_id(), "2026-01-31T12:34:56.789Z"
    other = TestEdge(edge.central, "pbx-2")
    await other.send(other.event(1, "call.opened", theirs, {"call_id": theirs}))
    await other.send(other.event(2, "call.anonymised", theirs, {"call_id": theirs}))
    await other.send(other.event(3, "recording.opened", call, {"recording_id": call, "call_id": theirs}))
    await edge.send(edge.event(1, "call.opened", call, {"call_id": call, "linked_id": "17.5", "started_at": at}))
    gone = {"call_id": call, "started_at": "2026-01-31T12:00:00.000Z", "duration_s": 7}
    status, answer = await edge.send(edge.event(2, "call.anonymised", call, gone))
    assert (status, answer["items"][0]["status"]) == (200, "accepted")
    ((stored,),) = await edge.central.rows("SELECT opened FROM call WHERE call_id=?", call)
    assert "17.5" not in stored
    assert at not in stored


async def test_a_batch_that_erases_is_stored_at_once_whatever_of_it_is_rejected(
    edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that were overwritten do not come back by a rollback, so their rows may not wait for a second transaction."""
    recording, call = an_id(), an_id()
    await edge.send(edge.opened(1, recording, key=secrets.token_bytes(32)))
    assert edge.central.running is not None
    database, jobs = type(edge.central.running.central.db), []
    before = database.run

    async def counted(self: Any, job: Callable[[Conn], Any]) -> Any:
        jobs.append(getattr(job, "__qualname__", ""))
        return await before(self, job)

    monkeypatch.setattr(database, "run", counted)
    _, answer = await edge.send(
        edge.event(2, "recording.erased", recording, {"recording_id": recording, "cause": "withdrawal"}),
        edge.event(3, "call.opened", call, {"call_id": "nonsense"}),
    )
    assert [one["status"] for one in answer["items"]] == ["accepted", "rejected:event.id"]
    assert sum("post_events" in name for name in jobs) == 1


async def test_a_correction_and_an_anonymous_call_change_what_was_reported(edge: TestEdge) -> None:
    """What comes late about an anonymous call says no more than what was there."""
    call_id, at = an_id(), "2026-01-31T12:34:56.789Z"
    opened = {
        "call_id": call_id, "linked_id": "17.5", "policy_id": "support", "policy_version": "v1", "mode": "opt_in",
        "direction": "inbound", "language": "en", "number_class": "plain", "purposes": ["quality"], "started_at": at,
    }  # fmt: skip
    await edge.send(edge.event(1, "call.opened", call_id, opened))
    right = {
        "call_id": call_id,
        "fields": ["language", "policy"],
        "language": "cs",
        "policy_id": "sales",
        "policy_version": "v2",
    }
    await edge.send(edge.event(2, "call.rectified", call_id, right))
    ((stored,),) = await edge.central.rows("SELECT opened FROM call WHERE call_id=?", call_id)
    assert [json.loads(stored)[name] for name in ("language", "policy_id", "linked_id")] == ["cs", "sales", "17.5"]
    gone = {"call_id": call_id, "started_at": "2026-01-31T12:00:00.000Z", "duration_s": 7}
    await edge.send(edge.event(3, "call.anonymised", call_id, gone))
    late = {
        "call_id": call_id,
        "event_seq": 1,
        "kind": "given",
        "at": at,
        "outcome": "given",
        "evidence": {"linked_id": "17.5"},
    }
    await edge.send(edge.event(4, "consent.recorded", call_id, late))
    ((stored, outcome),) = await edge.central.rows("SELECT opened, outcome FROM call WHERE call_id=?", call_id)
    assert (json.loads(stored)["started_at"], json.loads(stored)["policy_id"], outcome) == (
        gone["started_at"],
        "sales",
        "given",
    )
    kept = await edge.central.rows("SELECT data, time FROM event WHERE subject=?", call_id)
    assert len(kept) == 4
    assert not [one for one, _ in kept if "17.5" in one or "34:56" in one or "evidence" in one]
    assert {time[13:] for _, time in kept} == {":00:00.000Z"}


async def test_a_repeat_repairs_what_a_lost_keeper_took(edge: TestEdge) -> None:
    """After a restore without the keeper's file, an edge that sends its headers again gives central both halves back."""
    central, recording, key = edge.central, an_id(), secrets.token_bytes(32)
    await edge.send(edge.opened(1, recording, key=key))
    before = await central.rows("SELECT sealed_header FROM header")
    assert central.running is not None
    await central.running.central.db.run(
        lambda conn: conn.execute("UPDATE header SET keeper_slot=NULL, sealed_header=NULL").rowcount
    )
    event = edge.opened(2, recording, key=key)
    _, answer = await edge.send(event)
    assert answer["items"][0]["status"] == "accepted"
    assert await central.rows("SELECT sealed_header FROM header") == before
    ((slot,),) = await central.rows("SELECT keeper_slot FROM header")
    assert central.running.central.keeper.read(slot) == key


@pytest.mark.parametrize("what", ["events", "receipts"])
async def test_a_failing_keeper_is_no_verdict(edge: TestEdge, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The edge would bury an event that is called rejected five times."""
    from central import events, receipts
    from central.errors import CentralError

    def fails(*_: object) -> str:
        raise CentralError("keeper.io", "the slot file failed", status=503)

    monkeypatch.setattr(events if what == "events" else receipts, "project" if what == "events" else "_take", fails)
    if what == "events":
        status, answer = await edge.send(edge.opened(1, an_id(), key=secrets.token_bytes(32)))
    else:
        body = {"receipts": [{"receipt_id": an_id()}]}
        status, answer = await edge.ask("POST", edge.path("receipts"), body)
    assert (status, answer["code"]) == (503, "keeper.io")
    assert await edge.central.rows("SELECT 1 FROM event") == []
