"""A sweep in one process of central, and an upload of the same payload in another: what was acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from central.errors import CentralError
from central.media import claims, leaving
from central.media.folder import FolderStore
from central.media.incoming import Incoming
from central.media.place import here
from central.media.room import open_room
from central.media.store import key_of
from central.state import Central
from formats.ids import format_time
from tests.unit.central.central_kit import TestCentral, TestEdge
from tests.unit.central.media_kit import Told, files, keeping

WEEK = timedelta(days=8)


@pytest.fixture
async def central(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestCentral]:
    monkeypatch.setattr(leaving, "LOOK_S", 3600.0)  # what is removed when, the tests say
    async with keeping(tmp_path / "central", postgres=engine) as running:
        yield running


@pytest.fixture
async def told(edge: TestEdge) -> Told:
    one = Told.make(edge)
    await one.tell(1)
    return one


class Held(FolderStore):
    """A store whose removals begin when the test says so."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def remove(self, key: str) -> None:
        self.asked.set()
        await self.go.wait()
        await super().remove(key)


@asynccontextmanager
async def sweeping(central: TestCentral) -> AsyncIterator[Central]:
    """Another process on the same database, folder and uploads, with locks of its own, in the midst of removing something."""
    assert central.running is not None
    other = copy.copy(central.running.central)
    other.media = open_room(central.config.media)
    assert other.media is not None
    held = Held(central.config.media.folder)
    other.media.store = held
    task = asyncio.create_task(leaving.sweep(other))
    try:
        async with asyncio.timeout(60):
            await held.asked.wait()
        yield other
        held.go.set()
        async with asyncio.timeout(60):
            await task
    finally:
        task.cancel()


def lies(central: TestCentral) -> list[bytes]:
    return [path.read_bytes() for path in files(central.config.media.folder)]


async def put_under_no_row(central: TestCentral, told: Told) -> None:
    """As a kill leaves it, or a database that was put back."""
    assert central.running is not None
    assert central.running.central.media is not None
    source = central.config.data / "source"
    source.write_bytes(told.payloads[0])
    key = key_of(told.edge.edge_id, told.sha512())
    await central.running.central.media.store.put(key, source, len(told.payloads[0]))


async def test_what_a_sweep_removes_under_no_row_is_uploaded_behind_it(central: TestCentral, told: Told) -> None:
    await put_under_no_row(central, told)
    central.offset += WEEK
    async with sweeping(central):
        status, answer = await told.put(0, told.payloads[0])
        assert (status, answer["code"]) == (409, "media.busy")
        assert await told.state() == {"state": "absent", "offset": 0}
    assert lies(central) == []
    assert await told.put(0, told.payloads[0]) == (200, {"state": "stored", "offset": len(told.payloads[0])})
    assert lies(central) == told.payloads
    assert await central.rows("SELECT sha512 FROM media_claim") == []


async def test_an_upload_that_stood_still_comes_again_behind_the_sweep_that_drops_it(
    central: TestCentral, edge: TestEdge, told: Told
) -> None:
    """Whole and put, and killed before its row said so; a week later it is finished while it is swept."""
    payload = told.payloads[0]
    await told.put(0, payload[:1000])
    Incoming(central.config.media.incoming, 0).append(edge.edge_id, told.sha512(), 1000, payload[1000:], len(payload))
    await put_under_no_row(central, told)
    assert central.running is not None
    assert central.running.central.media is not None
    place = await here(central.running.central.media.store)
    await central.running.central.db.run(lambda conn: conn.execute("UPDATE media SET place=?", (place,)).rowcount)
    central.offset += WEEK
    async with sweeping(central):
        status, answer = await told.put(len(payload), b"")
        assert (status, answer["code"]) == (409, "media.busy")
    assert lies(central) == files(central.config.media.incoming) == []
    await told.upload()
    assert lies(central) == told.payloads


async def test_two_sweeps_remove_one_payload_once(central: TestCentral, told: Told) -> None:
    await put_under_no_row(central, told)
    central.offset += WEEK
    async with sweeping(central):
        assert central.running is not None
        await leaving.sweep(central.running.central)
        assert lies(central) == told.payloads, "it is the other's"
    assert lies(central) == []
    assert await central.rows("SELECT count(*) FROM alarm WHERE code='media.orphan'") == [(1,)]


async def test_what_cannot_be_removed_is_said_once_keeps_no_upload_away_and_holds_up_no_other(
    central: TestCentral, told: Told
) -> None:
    assert central.running is not None
    running = central.running.central
    room = running.media
    assert room is not None

    class Refusing(FolderStore):
        """As a bucket whose key must not delete, for one payload."""

        async def remove(self, key: str) -> None:
            if key == key_of(told.edge.edge_id, told.sha512()):
                raise CentralError("media.not_gone", "the bucket answers HTTP 403 AccessDenied", status=503, where=key)
            await super().remove(key)

    room.store = Refusing(central.config.media.folder)
    await put_under_no_row(central, told)
    source = central.config.data / "source"
    source.write_bytes(b"whose?")
    await room.store.put(f"pbx-1/ff/{'f' * 128}", source, 6)  # behind it
    central.offset += WEEK
    await leaving.sweep(running)
    assert lies(central) == told.payloads
    for hours in (0, 2, 1, 0):  # 0: another process's, at once
        central.offset += timedelta(hours=hours)
        await leaving.sweep(running)
        if hours == 2:
            assert (await told.put(0, b"x"))[1]["code"] == "media.busy", "once more"
    found = await central.rows("SELECT edge_id, message FROM alarm WHERE code='media.not_removed'")
    assert [(edge_id, message.rpartition(": ")[2]) for edge_id, message in found] == [
        ("pbx-1", "the bucket answers HTTP 403 AccessDenied")
    ]
    await told.upload()
    assert lies(central) == told.payloads


async def test_a_claim_is_one_sweeps_and_no_row_has_one(central: TestCentral, told: Told) -> None:
    assert central.running is not None
    db, now = central.running.central.db, central.wall()
    name = (told.edge.edge_id, told.sha512())
    found = await asyncio.gather(*(db.run(lambda conn: claims.claim(conn, *name, now)) for _ in range(8)))
    assert sorted(one for one in found if one) == [format_time(now)]
    await db.run(lambda conn: claims.release(conn, *name, "another's"))
    central.offset += timedelta(seconds=claims.REMOVAL_S)
    assert (await told.put(0, b"x"))[1]["code"] == "media.busy"
    central.offset += timedelta(seconds=claims.LOST_S - claims.REMOVAL_S)
    await db.run(lambda conn: claims.forget_lost(conn, central.wall()))
    assert await db.run(lambda conn: claims.claim(conn, *name, central.wall())) is None, "uploads have their turn"
    assert (await told.put(0, told.payloads[0][:1000]))[0] == 200
    central.offset += timedelta(seconds=claims.REST_S)
    await db.run(lambda conn: claims.forget_lost(conn, central.wall()))
    assert await db.run(lambda conn: claims.claim(conn, *name, now)) is None


async def test_a_row_that_was_swept_under_an_upload_is_no_erasure(central: TestCentral, told: Told) -> None:
    """410 would be for ever."""
    assert central.running is not None
    running = central.running.central
    room = running.media
    assert room is not None

    class Dropping(FolderStore):
        async def put(self, key: str, source: Path, size: int) -> None:
            await super().put(key, source, size)
            await running.db.run(lambda conn: conn.execute("DELETE FROM media").rowcount)

    room.store = Dropping(central.config.media.folder)
    status, answer = await told.put(0, told.payloads[0])
    assert (status, answer["code"]) == (409, "media.busy")
    room.store = FolderStore(central.config.media.folder)
    assert (await told.put(len(told.payloads[0]), b""))[1]["state"] == "stored"
    assert lies(central) == told.payloads
