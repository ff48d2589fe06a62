"""Payloads in, out and gone: whole or not at all, never after a tombstone, and read with a reason."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from central.errors import CentralError
from central.media import leaving
from central.media.folder import FolderStore
from central.media.incoming import Incoming
from central.media.ledger import Payload, settle
from central.media.settings import from_table
from central.media.store import MARKER, key_of
from formats import canonical
from formats.certificate import open_certificate
from formats.certificate_facts import BEYOND, MEDIA_TYP
from formats.ids import format_time
from formats.jws import verify_compact
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id
from tests.unit.central.media_kit import AT, Told, fetched, files, keeping, with_folder
from tests.unit.central.test_central_audit import note, send
from tests.unit.central.test_central_orders import receipt


@pytest.fixture
async def central(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestCentral]:
    monkeypatch.setattr(leaving, "LOOK_S", 3600.0)  # what is removed when, the tests say
    async with keeping(tmp_path / "central", postgres=engine) as running:
        yield running


@pytest.fixture
async def told(edge: TestEdge) -> Told:
    one = Told.make(edge, (300_000, 70_000))
    await one.tell(1)
    return one


def stored(central: TestCentral) -> list[Path]:
    return files(central.config.media.folder)


def place_now(central: TestCentral) -> str:
    return f"folder/{(central.config.media.folder / MARKER).read_text()[:8]}"


async def shred(edge: TestEdge, recording_id: str) -> dict[str, Any]:
    body = {"recording_id": recording_id, "key_ids": [], "jti": None}
    status, answer = await edge.ask("POST", edge.path("keeper/shred"), body)
    assert status == 200
    return dict(answer["claims"])


async def test_a_payload_comes_in_pieces_and_is_what_the_manifest_says(central: TestCentral, told: Told) -> None:
    payload = told.payloads[0]
    assert await told.state() == {"state": "absent", "offset": 0}
    assert await told.put(0, payload[:1000]) == (200, {"state": "coming", "offset": 1000})
    assert await told.state() == {"state": "coming", "offset": 1000}
    # A piece whose answer was lost, and one that leaves a hole, are told where to go on.
    for offset in (0, 500, 2000):
        status, answer = await told.put(offset, payload[offset : offset + 1000])
        assert (status, answer["code"], answer["offset"]) == (409, "media.offset", 1000)
    assert stored(central) == []
    await told.upload()
    (path,) = stored(central)
    assert path.read_bytes() == payload
    assert path.name == told.sha512()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(p.stat().st_mode) for p in central.config.media.folder.rglob("*") if p.is_dir()} == {0o700}
    assert files(central.config.media.incoming) == []
    size = len(payload)
    assert await told.put(0, payload[:1000]) == (200, {"state": "stored", "offset": size})  # harmless
    _, listed = await central.admin("GET", f"/v1/media?recording_id={told.recording_id}")
    assert [(one["number"], one["state"], one["bytes"], one["place"]) for one in listed["media"]] == [
        (0, "stored", size, place_now(central))
    ]


async def test_what_the_manifest_does_not_say_is_refused(central: TestCentral, edge: TestEdge, told: Told) -> None:
    payload = told.payloads[0]
    status, answer = await told.put(0, b"x" * len(payload))
    assert (status, answer["code"]) == (422, "media.hash")
    assert await told.state() == {"state": "coming", "offset": 0}
    assert (await told.put(0, payload + b"x"))[1]["code"] == "usage.too_large"
    await told.upload()
    assert (await told.put(0, b"", segment_id=told.segments[1]))[1]["code"] == "media.differs"
    assert (await told.put(0, b"", segment_id="x"))[1]["code"] == "usage.id"
    unknown = Told.make(edge)
    assert (await unknown.put(0, b"x"))[1]["code"] == "media.unknown"
    other = TestEdge(central, "pbx-2")
    stolen = Told(other, told.recording_id, told.segments, told.payloads, told.manifest)
    assert (await stolen.put(0, b"x", 1))[0] == 404
    assert (await edge.ask("GET", edge.path("media/abc")))[1]["code"] == "usage.sha512"
    assert len(stored(central)) == 1


async def test_a_tombstone_takes_every_copy_and_lets_none_in(central: TestCentral, edge: TestEdge, told: Told) -> None:
    await told.upload(0)
    await told.put(0, told.payloads[1][:5000], 1)
    statement = await shred(edge, told.recording_id)
    assert statement["media"] == [told.sha512(0), told.sha512(1)]
    for number in (0, 1):
        status, answer = await told.put(5000, told.payloads[1][5000:], number)
        assert (status, answer["code"]) == (410, "media.erased")
        assert (await told.state(number))["state"] == "erased"
        assert (await fetched(central, told, number))[0] == 410
    assert central.running is not None
    await leaving.remove_all(central.running.central)
    assert stored(central) == files(central.config.media.incoming) == []
    rows = await central.rows("SELECT sha512, statement FROM media ORDER BY number")
    keys = await central.running.central.db.run(central.running.central.keys)
    for sha512, jws in rows:
        claims: Any = canonical.loads(verify_compact(jws, keys, MEDIA_TYP, "store").payload)
        assert (claims["sha512"], claims["recording_id"], claims["result"]) == (sha512, told.recording_id, "destroyed")
    _, log = await central.admin("GET", "/v1/log")
    assert sum('"media.destroyed"' in one["entry"] for one in log["entries"]) == 2
    late = Told.make(edge)  # erased before its first byte came
    await late.tell(3)
    await shred(edge, late.recording_id)
    assert (await late.put(0, late.payloads[0]))[1]["code"] == "media.erased"


async def test_segments_that_are_shredded_alone_go_alone(central: TestCentral, edge: TestEdge, told: Told) -> None:
    for number in (0, 1):
        await told.upload(number)
    key_id = hashlib.sha256(told.recording_id.encode()).hexdigest()
    body = {"recording_id": told.recording_id, "key_ids": [key_id], "jti": None, "only": True}
    _, answer = await edge.ask("POST", edge.path("keeper/shred"), body)
    assert answer["claims"]["media"] == [told.sha512(0)]
    assert central.running is not None
    await leaving.remove_all(central.running.central)
    assert [path.name for path in stored(central)] == [told.sha512(1)]


async def test_a_store_that_fails_is_tried_again_under_one_alarm(
    central: TestCentral, edge: TestEdge, told: Told
) -> None:
    await told.upload()
    await shred(edge, told.recording_id)
    assert central.running is not None
    running = central.running.central
    (path,) = stored(central)
    path.unlink()
    path.mkdir()  # what no unlink removes
    await leaving.remove_all(running)
    await leaving.remove_all(running)  # not due again yet
    ((state, attempts, why),) = await central.rows("SELECT state, attempts, why FROM media")
    assert (state, attempts) == ("leaving", 1)
    assert why
    path.rmdir()
    central.offset += timedelta(seconds=5)
    await leaving.remove_all(running)
    assert await central.rows("SELECT state FROM media") == [("gone",)]
    assert await central.rows("SELECT count(*) FROM alarm WHERE code='media.not_removed'") == [(1,)]


async def test_the_certificate_lists_each_payload_and_calls_none_gone_that_is_not(
    central: TestCentral, edge: TestEdge, told: Told
) -> None:
    for number in (0, 1):
        await told.upload(number)
    order = await central.signed_order(told.recording_id)
    status, answer = await central.admin("POST", "/v1/orders", {"order": order})
    assert status == 202, answer
    jti = answer["jti"]
    body = {"recording_id": told.recording_id, "key_ids": [], "jti": jti}
    _, statement = await edge.ask("POST", edge.path("keeper/shred"), body)
    key_id = hashlib.sha256(told.recording_id.encode()).hexdigest()
    one = receipt(edge, answer["order"], jti, told.recording_id, keeper_evidence=statement, key_ids=(key_id,))
    entry = {"receipt_id": one["receipt_id"], "recording_id": told.recording_id}
    entries = [canonical.dumps({"at": AT, "body": entry, "kind": "recording.erased", "subject": None}).decode()]
    assert (await edge.ask("POST", edge.path("receipts"), {"receipts": [one]}))[0] == 200
    assert (await send(edge, 0, entries, note(edge, entries)))[0] == 200
    assert central.running is not None
    running, path = central.running.central, next(p for p in stored(central) if p.name == told.sha512(1))
    path.unlink()
    path.mkdir()  # what no unlink removes
    await leaving.remove_all(running)
    central.offset += timedelta(seconds=1)

    async def certified() -> dict[tuple[str, str], str]:
        status, document = await central.admin("GET", f"/v1/certificates/{jti}")
        assert status == 200, document
        open_certificate(document, await running.db.run(running.keys))
        found = document["claims"]["copies"]
        return {(c["place"], c["evidence"][-16:]): c["state"] for c in found if c["place"].startswith("central/media")}

    first, second = (told.sha512(n)[:16] for n in (0, 1))
    medium, folder = ("central/media/medium", BEYOND[-16:]), f"central/media/{place_now(central)}"
    assert await certified() == {
        (folder, first): "destroyed", ("central/media", second): "unknown", medium: "unknown",
    }  # fmt: skip
    path.rmdir()
    central.offset += timedelta(seconds=5)
    await leaving.remove_all(running)
    central.offset += timedelta(seconds=1)
    gone = {(folder, one): "destroyed" for one in (first, second)} | {medium: "unknown"}
    assert await certified() == gone
    document = (await central.admin("GET", f"/v1/certificates/{jti}"))[1]
    assert document["claims"]["final_at"] > document["claims"]["effective_at"]
    assert (await central.admin("GET", f"/v1/certificates/{jti}"))[1] == document, "and stays the same"


def another(central: TestCentral, name: str) -> None:
    """From the next start on its folder is another one."""
    media = replace(central.config.media, folder=central.config.data / name)
    central.config = replace(central.config, media=media)


async def unmovable(central: TestCentral) -> int:
    """How many alarms say that something cannot be removed."""
    ((count,),) = await central.rows("SELECT count(*) FROM alarm WHERE code='media.not_removed'")
    return int(count)


async def test_a_store_that_is_not_mounted_is_not_taken_for_an_empty_one(
    central: TestCentral, edge: TestEdge, told: Told
) -> None:
    await told.upload()
    await shred(edge, told.recording_id)
    other = Told.make(edge)
    await other.tell(3)
    kept = Told.make(edge)
    await kept.tell(5)
    await kept.upload()
    assert central.running is not None
    folder, running = central.config.media.folder, central.running.central
    away = folder.rename(folder.with_name("unmounted"))
    folder.mkdir(0o700)
    await leaving.remove_all(running)
    row = await central.rows("SELECT state, attempts, statement FROM media WHERE recording_id=?", told.recording_id)
    assert row == [("leaving", 1, None)]
    assert await unmovable(central) == 1
    status, answer = await other.put(0, other.payloads[0])
    assert (status, answer["code"]) == (503, "media.store")
    assert (await fetched(central, kept))[0] == 503
    with pytest.raises(CentralError):
        await leaving.sweep(running)
    await central.stop()
    await central.start()  # nor is it marked then
    assert list(folder.iterdir()) == []
    folder.rmdir()
    away.rename(folder)
    assert (await fetched(central, kept))[1] == kept.payloads[0]
    central.offset += timedelta(seconds=5)
    await leaving.remove_all(central.running.central)
    row = await central.rows("SELECT state, place FROM media WHERE recording_id=?", told.recording_id)
    assert row == [("gone", place_now(central))]
    assert [path.name for path in stored(central)] == [kept.sha512()]


async def test_another_folder_is_another_place(central: TestCentral, edge: TestEdge, told: Told) -> None:
    await told.upload()
    place = place_now(central)
    await central.stop()
    another(central, "media-2")
    await central.start()
    assert await unmovable(central) == 1, "said at start"
    assert list(central.config.media.folder.iterdir()) == []
    (central.config.media.folder / MARKER).write_text("ab" * 16)  # as docs/ops/media.md says: begin anew here
    await told.upload(1)
    await shred(edge, told.recording_id)
    assert central.running is not None
    await leaving.remove_all(central.running.central)
    rows = await central.rows("SELECT state, place, statement IS NULL FROM media ORDER BY number")
    assert [(state, at, bool(unsaid)) for state, at, unsaid in rows] == [
        ("leaving", place, True), ("gone", "folder/abababab", False),
    ]  # fmt: skip
    assert await unmovable(central) == 2
    assert len(files(central.config.data / "media")) == 1


async def test_what_began_before_the_store_changed_lies_where_it_was_put(central: TestCentral, told: Told) -> None:
    await told.put(0, told.payloads[0][:1000])
    await central.stop()
    another(central, "media-2")
    await central.start()
    await told.upload()
    assert await central.rows("SELECT state, place FROM media") == [("stored", place_now(central))]
    assert files(central.config.data / "media") == []


async def test_without_a_store_what_lies_in_one_is_said_at_start(central: TestCentral, told: Told) -> None:
    await told.upload()
    await central.stop()
    central.config = replace(central.config, media=replace(central.config.media, store="none"))
    await central.start()
    assert await unmovable(central) == 1


async def test_what_changed_meanwhile_is_not_said(central: TestCentral, edge: TestEdge, told: Told) -> None:
    """Two processes remove the same payload, and one of them is late."""
    await told.upload()
    await shred(edge, told.recording_id)
    assert central.running is not None
    running, names = central.running.central, (edge.edge_id, told.sha512())
    (row,) = await running.db.run(lambda conn: [dict(one) for one in conn.execute("SELECT * FROM media").fetchall()])
    await leaving.remove_all(running)
    ((statement,),) = await central.rows("SELECT statement FROM media")
    error = CentralError("media.not_gone", "late", status=503)
    await running.db.run(lambda conn: leaving._state(running, conn, row))
    await running.db.run(lambda conn: leaving._failed(running, conn, row, error))
    assert await central.rows("SELECT statement, attempts FROM media") == [(statement, 0)]
    _, log = await central.admin("GET", "/v1/log")
    assert sum('"media.destroyed"' in one["entry"] for one in log["entries"]) == 1
    assert await unmovable(central) == 0
    # It came once more: two failures of it are one alarm.
    payload = Payload(*names, told.recording_id, told.segments[0])
    central.offset += timedelta(seconds=5)
    assert not await running.db.run(lambda conn: settle(conn, payload, place_now(central), running.now()))
    await running.db.run(lambda conn: leaving._state(running, conn, row))
    assert await central.rows("SELECT state FROM media") == [("leaving",)]
    (row,) = await running.db.run(lambda conn: [dict(one) for one in conn.execute("SELECT * FROM media").fetchall()])
    for _ in range(2):
        await running.db.run(lambda conn: leaving._failed(running, conn, row, error))
    assert await unmovable(central) == 1


async def test_an_upload_that_went_on_keeps_its_bytes_and_a_late_one_goes_at_once(
    central: TestCentral, edge: TestEdge, told: Told
) -> None:
    assert central.running is not None
    running, room = central.running.central, central.running.central.media
    assert room is not None
    await told.put(0, told.payloads[0][:1000])
    old = format_time(central.wall() + timedelta(seconds=1))
    half = {"edge_id": edge.edge_id, "sha512": told.sha512(), "place": place_now(central)}
    await told.upload()
    await leaving._half(running, room, half, old)  # found before it was whole
    assert len(stored(central)) == 1
    await shred(edge, told.recording_id)
    await leaving.remove_all(running)
    source = central.config.data / "source"
    source.write_bytes(told.payloads[0])
    await room.store.put(
        key_of(edge.edge_id, told.sha512()), source, len(told.payloads[0])
    )  # and killed before its row
    await leaving.sweep(running)
    assert stored(central) == []


async def test_a_disk_is_not_filled_and_that_is_said_once(central: TestCentral, told: Told) -> None:
    assert central.running is not None
    room = central.running.central.media
    assert room is not None
    folder, kept, whole = central.config.media.incoming, central.config.media.folder, len(told.payloads[0])

    async def refused(offset: int, piece: bytes, number: int = 0) -> int:
        status, answer = await told.put(offset, piece, number)
        assert (status, answer["code"]) == (507, "media.full")
        ((alarms,),) = await central.rows("SELECT count(*) FROM alarm WHERE code='media.full'")
        return int(alarms)

    room.incoming = Incoming(folder, 1 << 60)
    assert [await refused(0, told.payloads[0]) for _ in range(2)] == [1, 1]
    assert files(folder) == []
    room.incoming, room.store = Incoming(folder, 0), FolderStore(kept, 1 << 60)
    assert await refused(0, told.payloads[0]) == 1
    assert stored(central) == []
    assert [path.stat().st_size for path in files(folder)] == [whole], "what came is not sent again"
    room.store = FolderStore(kept)
    assert await told.put(whole, b"") == (200, {"state": "stored", "offset": whole})
    room.incoming = Incoming(folder, 1 << 60)
    assert await refused(0, told.payloads[1], 1) == 2, "once more when it is full once more"


def test_a_gibibyte_stays_free_unless_it_is_set(tmp_path: Path) -> None:
    assert from_table({}, tmp_path, "central.toml").keep_free == 1024
    assert from_table({"keep_free": 5}, tmp_path, "central.toml").keep_free == 5


async def test_halves_and_orphans_go_when_they_are_old(central: TestCentral, edge: TestEdge, told: Told) -> None:
    assert central.running is not None
    running, room = central.running.central, central.running.central.media
    assert room is not None
    await told.put(0, told.payloads[0][:1000])
    await told.upload(1)
    orphan = f"pbx-1/ab/{'ab' * 64}"
    source = central.config.data / "source"
    source.write_bytes(b"whose?")
    await room.store.put(orphan, source, 6)
    await leaving.sweep(running)
    assert len(stored(central)) == 2
    assert len(files(central.config.media.incoming)) == 1
    central.offset += timedelta(days=8)
    await leaving.sweep(running)
    assert [path.name for path in stored(central)] == [told.sha512(1)]
    assert files(central.config.media.incoming) == []
    assert await central.rows("SELECT segment_id, state FROM media") == [(told.segments[1], "stored")]
    assert await central.rows("SELECT count(*) FROM alarm WHERE code='media.orphan'") == [(1,)]
    await told.upload(0)
    assert len(stored(central)) == 2


async def test_reading_is_for_roles_says_why_and_is_logged(central: TestCentral, told: Told) -> None:
    await told.upload()
    payload, size = told.payloads[0], len(told.payloads[0])
    status, body, headers = await fetched(central, told)
    assert (status, body, headers["Accept-Ranges"]) == (200, payload, "bytes")
    for ranges, want in (
        ("bytes=16-65567", payload[16:65568]),
        ("bytes=-10", payload[-10:]),
        (f"bytes={size - 1}-", payload[-1:]),
    ):
        status, body, headers = await fetched(central, told, ranges=ranges)
        assert (status, body) == (206, want)
        assert headers["Content-Range"].endswith(f"/{size}")
    assert (await fetched(central, told, ranges=f"bytes={size}-"))[0] == 416
    for query in ("purpose=quality", "reason=case-7", "purpose=&reason=case-7", ""):
        status, body, _ = await fetched(central, told, query=query)
        assert (status, json.loads(body)["code"]) == (400, "usage.query"), query
    status, body, _ = await fetched(central, told, query="purpose=quality&reason=call+777+123+456+back")
    assert (status, json.loads(body)["code"]) == (400, "usage.reason")
    assert (await fetched(central, told, query="purpose=marketing&reason=x"))[0] == 403
    assert (await fetched(central, told, number=1))[0] == 404
    assert (await fetched(central, told, token="nobody"))[0] == 401
    _, log = await central.admin("GET", "/v1/log")
    reads = [canonical.loads(one["entry"]) for one in log["entries"] if '"kind":"media.read"' in one["entry"]]
    bodies: list[Any] = [one["body"] for one in reads if isinstance(one, dict)]
    assert [(one["purpose"], one["reason"], one["first"]) for one in bodies][:2] == [
        ("quality", "case-7", 0),
        ("quality", "case-7", 16),
    ]
    assert len(bodies) == 4  # what was refused is no reading


async def test_a_central_without_a_store_takes_nothing(tmp_path: Path) -> None:
    central = TestCentral(tmp_path / "none")
    await central.start()
    try:
        told = Told.make(TestEdge(central))
        await told.tell(1)
        status, answer = await told.put(0, b"x")
        assert (status, answer["code"]) == (404, "media.none")
    finally:
        await central.stop()


@pytest.mark.parametrize(
    "table",
    [
        {"store": "ftp"}, {"folder": 3}, {"half_days": 0}, {"half_days": True}, {"keep_free": -1}, {"secret": "x"}, {"store": "s3"},
        {"store": "s3", "bucket": "a.b"}, {"store": "s3", "bucket": "abc", "prefix": "../"}, {"access_key": "credential:../x"},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(table: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CentralError) as caught:
        from_table(table, tmp_path, "central.toml")
    assert caught.value.code.startswith("config.")


async def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    central = with_folder(TestCentral(tmp_path / "central"))
    central.config.media.folder.mkdir(mode=0o755)
    with pytest.raises(CentralError, match="only central may enter"):
        await central.start()
    central.config.media.folder.chmod(0o700)
    await central.start()
    await central.stop()


async def test_a_payload_is_read_for_a_purpose_of_the_answer(central: TestCentral, edge: TestEdge, told: Told) -> None:
    await told.upload()
    status, body, _ = await fetched(central, told, query="purpose=marketing&reason=case-7")
    assert (status, b"command.purpose" in body) == (403, True)
    hold = an_id()
    [(call,)] = await central.rows("SELECT call_id FROM recording WHERE recording_id=?", told.recording_id)
    placed = {"call_id": call, "hold_id": hold, "recording_id": told.recording_id}
    await edge.send(edge.event(9, "restriction.placed", call, placed))
    status, body, _ = await fetched(central, told)
    assert (status, b"command.restricted" in body) == (403, True)
    assert (await fetched(central, told, query="purpose=legal_claims&reason=claim&case=7"))[0] == 200
    log = [row[0] for row in await central.rows("SELECT entry FROM log ORDER BY idx")]
    assert [why for one in log for why in ("purpose", "restricted") if f'"why":"{why}"' in one] == [
        "purpose",
        "restricted",
    ]
