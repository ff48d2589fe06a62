"""What has to go, goes: a duty that removes payloads, looks whether they are gone, and says so under central's signature.

Order: the store is the one the row names; its copy, looked for in every version; the unfinished upload; then statement, row and
log entry in one commit. A kill before the commit removes nothing twice that is there, and says nothing. Other processes work on
the same rows: each commit changes a row only as it was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog

from central.conn import Conn
from central.errors import CentralError
from central.failpoints import hit
from central.media import claims
from central.media.place import here, require, standing
from central.media.room import Room
from central.media.store import key_of
from central.restored import waiting
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
            "SELECT edge_id, sha512, recording_id, segment_id, number, place, attempts, leaving_at, jti FROM media"
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
            row["place"] = row["place"] or await here(room.store, "media.not_gone")  # "": it was put nowhere
            async with standing(room.store, row["place"], "media.not_gone"):
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
    said = conn.execute(
        "UPDATE media SET state='gone', gone_at=?, statement=?, why='', place=?"
        " WHERE edge_id=? AND sha512=? AND state='leaving' AND leaving_at=?",
        (at, statement, row["place"], row["edge_id"], row["sha512"], row["leaving_at"]),
    )
    if said.rowcount != 1:
        return  # another process said it, or it came back meanwhile and goes once more
    body = {name: claims[name] for name in ("edge_id", "recording_id", "segment_id", "sha512", "place", "jti")}
    central.log.append(conn, at, "media.destroyed", body)


def _failed(central: Central, conn: Conn, row: dict[str, Any], error: CentralError) -> None:
    wait = min(LONGEST_S, 2.0 ** min(row["attempts"] + 1, 12))
    failed = conn.execute(
        "UPDATE media SET attempts=attempts+1, why=?, touched_at=?"
        " WHERE edge_id=? AND sha512=? AND state='leaving' AND leaving_at=? RETURNING attempts",
        (str(error.message)[:200], _later(central, wait), row["edge_id"], row["sha512"], row["leaving_at"]),
    ).fetchone()
    if failed is not None and failed["attempts"] == 1:
        place = row["place"] or "the store"
        message = f"a payload of {row['recording_id']} cannot be removed from {place}: {error.message}"
        central.alarm(conn, row["edge_id"], "media.not_removed", message)


async def sweep(central: Central) -> None:
    """Uploads that stood still for too long go; so does what lies in the store under no row (a kill, a database that was put
    back), once it is as old, and at once what lies there of a payload that is gone. What cannot be removed is said once and holds up
    nothing else. Raises CentralError media.store."""
    room = central.media
    if room is None:
        return
    place = await here(room.store)
    limit = central.wall() - timedelta(days=room.config.half_days)
    await central.db.run(lambda conn: claims.forget_lost(conn, central.wall()))

    def halves(conn: Conn) -> list[Any]:
        query = "SELECT edge_id, sha512, place FROM media WHERE state='coming' AND touched_at<? AND place IN ('', ?)"
        return list(conn.execute(query, (format_time(limit), place)))

    for row in await central.db.run(halves):
        async with _apart(central, room, row["edge_id"], place):
            await _half(central, room, dict(row), format_time(limit))
    for edge_id, sha512 in await asyncio.to_thread(room.incoming.listing):
        async with _apart(central, room, edge_id, place):
            await _leftover(central, room, edge_id, sha512)
    if await central.db.run(waiting):
        return  # put back from a backup: rows of what came after it may come again
    async for key, seconds in room.store.listing():
        async with _apart(central, room, key.split("/")[0], place):
            await _orphan(central, room, key, place, old=seconds < limit.timestamp())


@asynccontextmanager
async def _apart(central: Central, room: Room, edge_id: str, place: str) -> AsyncIterator[None]:
    """What fails for one payload: alarm `media.not_removed`, once per edge and reason. Raises CentralError media.store where it is
    the store itself that is away, and what is no matter of media."""
    try:
        yield
    except CentralError as error:
        if not error.code.startswith("media."):
            raise
        await require(room.store, place)
        _log.warning("what lies under no row cannot be removed", edge_id=edge_id, why=str(error))
        found = (edge_id, "media.not_removed", f"what lies under no row in {place} cannot be removed: {error.message}")

        def job(conn: Conn) -> None:
            if not conn.execute("SELECT 1 FROM alarm WHERE edge_id=? AND code=? AND message=?", found).fetchone():
                central.alarm(conn, *found)

        await central.db.run(job)


async def _half(central: Central, room: Room, row: dict[str, Any], old: str) -> None:
    """First the row, and only where it is still as it was: an upload that went on meanwhile keeps its bytes."""
    edge_id, sha512 = row["edge_id"], row["sha512"]

    def drop(conn: Conn) -> bool:
        conn.exclusive(f"edge:{edge_id}")
        query = "DELETE FROM media WHERE edge_id=? AND sha512=? AND state='coming' AND touched_at<?"
        return conn.execute(query, (edge_id, sha512, old)).rowcount == 1

    async with room.lock(key_of(edge_id, sha512)), _claim(central, edge_id, sha512, drop) as mine:
        if mine:
            await _take_away(room, edge_id, sha512, row["place"])


async def _leftover(central: Central, room: Room, edge_id: str, sha512: str) -> None:
    """An unfinished upload whose row is not `coming` (a kill came before it was removed)."""
    async with room.lock(key_of(edge_id, sha512)):
        state = await central.db.run(lambda conn: _row_state(conn, edge_id, sha512))
        if not state:
            async with _claim(central, edge_id, sha512) as mine:
                if mine:
                    await _take_away(room, edge_id, sha512, "")
        elif state != "coming":  # and never will be again
            await asyncio.to_thread(room.incoming.remove, edge_id, sha512)


async def _orphan(central: Central, room: Room, key: str, place: str, *, old: bool) -> None:
    edge_id, _, sha512 = key.split("/")
    async with room.lock(key):
        found = await central.db.run(lambda conn: _row_state(conn, edge_id, sha512))
        if found == "gone":  # and never is stored again
            async with standing(room.store, place):
                await room.store.remove(key)
        elif found or not old:
            return
        else:
            async with _claim(central, edge_id, sha512) as mine:
                if not mine:
                    return
                await _take_away(room, edge_id, sha512, place)
    message = f"a payload under no row was removed from {place}: {sha512[:16]}…"
    await central.db.run(lambda conn: central.alarm(conn, edge_id, "media.orphan", message))


@asynccontextmanager
async def _claim(
    central: Central, edge_id: str, sha512: str, first: Callable[[Conn], bool] = lambda _: True
) -> AsyncIterator[bool]:
    """Whether what is under no row is this sweep's alone; `first`: in the same commit, and nothing is claimed where it is false.
    What fails within leaves the claim: a request that is under way may still be carried out."""

    def job(conn: Conn) -> str | None:
        return claims.claim(conn, edge_id, sha512, central.wall()) if first(conn) else None

    at = await central.db.run(job)
    if at is None:
        yield False
        return
    hit("media.claimed")
    yield True
    hit("media.taken_away")
    await central.db.run(lambda conn: claims.release(conn, edge_id, sha512, at))


async def _take_away(room: Room, edge_id: str, sha512: str, place: str) -> None:
    """From the store, where it is in one, and of what came in. Raises CentralError media.*"""
    try:
        async with asyncio.timeout(claims.REMOVAL_S):
            if place:
                async with standing(room.store, place):
                    await room.store.remove(key_of(edge_id, sha512))
            await asyncio.to_thread(room.incoming.remove, edge_id, sha512)
    except TimeoutError as error:
        raise CentralError("media.store", "a removal takes too long", status=503, where=place) from error


def _row_state(conn: Conn, edge_id: str, sha512: str) -> str:
    """`""` where there is no row."""
    row = conn.execute("SELECT state FROM media WHERE edge_id=? AND sha512=?", (edge_id, sha512)).fetchone()
    return "" if row is None else str(row["state"])


def _later(central: Central, seconds: float) -> str:
    return format_time(central.wall() + timedelta(seconds=seconds))
