"""What has to go, goes: a duty that removes payloads, looks whether they are gone, and says so under central's signature.

Order: the store's copy, looked for in every version; the unfinished upload; then statement, row and log entry in one commit. A
kill before the commit removes nothing twice that is there, and says nothing.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog

from central.conn import Conn
from central.errors import CentralError
from central.failpoints import hit
from central.media.room import Room
from central.media.store import key_of
from central.state import Central
from formats import canonical
from formats.certificate_facts import MEDIA_TYP
from formats.ids import format_time
from formats.jws import sign_compact

_log = structlog.get_logger("central")

#: How often it is looked for what is due, and longest wait between two tries of one payload, seconds.
LOOK_S: Final = 2.0
LONGEST_S: Final = 3600.0
#: Payloads of one pass.
PAGE: Final = 200
#: Leftovers are looked for so often, seconds.
SWEEP_S: Final = 3600.0


async def remove_all(central: Central) -> None:
    """Everything that is due. What cannot be removed stays due, later each time, under one alarm."""
    room = central.media
    if room is None:
        return

    def due(conn: Conn) -> list[Any]:
        rows = conn.execute(
            "SELECT edge_id, sha512, recording_id, segment_id, number, place, attempts, touched_at, jti FROM media"
            " WHERE state='leaving' AND touched_at<=? ORDER BY touched_at LIMIT ?",
            (_later(central, 0), PAGE),
        )
        return list(rows)

    for row in await central.db.run(due):
        await _remove(central, room, dict(row))


async def _remove(central: Central, room: Room, row: dict[str, Any]) -> None:
    edge_id, sha512 = row["edge_id"], row["sha512"]
    key = key_of(edge_id, sha512)
    async with room.lock(key):
        try:
            if row["place"] != room.store.place:
                what = f"it lies in {row['place']}, which this central is not configured for"
                raise CentralError("media.not_gone", what, status=503, where=sha512)
            await room.store.remove(key)
            hit("media.removed")
            await asyncio.to_thread(room.incoming.remove, edge_id, sha512)
            hit("media.part_gone")
        except CentralError as error:
            failed = error
            await central.db.run(lambda conn: _failed(central, conn, row, failed))
            return
        await central.db.run(lambda conn: _state(central, conn, row))
        hit("media.stated")


def _state(central: Central, conn: Conn, row: dict[str, Any]) -> None:
    at = central.now()
    claims = {
        "iss": central.config.fleet,
        "edge_id": row["edge_id"],
        "recording_id": row["recording_id"],
        "segment_id": row["segment_id"],
        "number": row["number"],
        "sha512": row["sha512"],
        "place": row["place"],
        "jti": row["jti"],
        "at": at,
        "result": "destroyed",
    }
    statement = sign_compact(canonical.dumps(claims), central.store, central.store.kid, MEDIA_TYP)
    conn.execute(
        "UPDATE media SET state='gone', gone_at=?, statement=?, why='' WHERE edge_id=? AND sha512=?",
        (at, statement, row["edge_id"], row["sha512"]),
    )
    body = {name: claims[name] for name in ("edge_id", "recording_id", "segment_id", "sha512", "place", "jti")}
    central.log.append(conn, at, "media.destroyed", body)


def _failed(central: Central, conn: Conn, row: dict[str, Any], error: CentralError) -> None:
    attempts = row["attempts"] + 1
    wait = min(LONGEST_S, 2.0 ** min(attempts, 12))
    conn.execute(
        "UPDATE media SET attempts=?, why=?, touched_at=? WHERE edge_id=? AND sha512=?",
        (attempts, str(error.message)[:200], _later(central, wait), row["edge_id"], row["sha512"]),
    )
    if attempts == 1:
        message = f"a payload of {row['recording_id']} cannot be removed from {row['place']}: {error.message}"
        central.alarm(conn, row["edge_id"], "media.not_removed", message)


async def sweep(central: Central) -> None:
    """Uploads that stood still for too long go; so does what lies in the store under no row (a kill, a database that was put
    back), once it is as old."""
    room = central.media
    if room is None:
        return
    old = _later(central, -room.config.half_days * 86400.0)

    def halves(conn: Conn) -> list[Any]:
        return list(conn.execute("SELECT edge_id, sha512 FROM media WHERE state='coming' AND touched_at<?", (old,)))

    for edge_id, sha512 in [tuple(row) for row in await central.db.run(halves)]:
        key = key_of(edge_id, sha512)
        async with room.lock(key):
            await room.store.remove(key)
            await asyncio.to_thread(room.incoming.remove, edge_id, sha512)
            await central.db.run(partial(_drop, edge_id=edge_id, sha512=sha512, old=old))
    for edge_id, sha512 in await asyncio.to_thread(room.incoming.listing):
        await _leftover(central, room, edge_id, sha512)
    async for key, seconds in room.store.listing():
        if seconds < central.wall().timestamp() - room.config.half_days * 86400.0:
            await _orphan(central, room, key)


def _drop(conn: Conn, edge_id: str, sha512: str, old: str) -> None:
    conn.execute(
        "DELETE FROM media WHERE edge_id=? AND sha512=? AND state='coming' AND touched_at<?", (edge_id, sha512, old)
    )


async def _leftover(central: Central, room: Room, edge_id: str, sha512: str) -> None:
    """An unfinished upload whose row is not `coming` (a kill came before it was removed)."""
    at = (edge_id, sha512)

    def coming(conn: Conn) -> bool:
        row = conn.execute("SELECT 1 FROM media WHERE edge_id=? AND sha512=? AND state='coming'", at).fetchone()
        return row is not None

    async with room.lock(key_of(*at)):
        if not await central.db.run(coming):
            await asyncio.to_thread(room.incoming.remove, *at)


async def _orphan(central: Central, room: Room, key: str) -> None:
    edge_id, _, sha512 = key.split("/")

    def named(conn: Conn) -> bool:
        at = (edge_id, sha512)
        return (
            conn.execute("SELECT 1 FROM media WHERE edge_id=? AND sha512=? AND state<>'gone'", at).fetchone()
            is not None
        )

    async with room.lock(key):
        if await central.db.run(named):
            return
        await room.store.remove(key)
    message = f"a payload under no row was removed from {room.store.place}: {sha512[:16]}…"
    await central.db.run(lambda conn: central.alarm(conn, edge_id, "media.orphan", message))


def _later(central: Central, seconds: float) -> str:
    return format_time(central.wall() + timedelta(seconds=seconds))
