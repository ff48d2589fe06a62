"""Doors of edges: payloads in, piece by piece. Write order `upload` of docs/invariants.md."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web

from central.auth import edge_request, json_answer
from central.conn import Conn
from central.doors import Door, Param, door
from central.errors import CentralError
from central.failpoints import hit
from central.media import ledger
from central.media.ledger import Payload
from central.media.place import here, standing
from central.media.room import Room
from central.media.store import is_sha512, key_of
from central.media.words import UploadState
from central.problems import query_int
from central.state import CENTRAL, Central
from formats.ids import is_id

_log = structlog.get_logger("central")
_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_PATH = "/v1/edges/{edge_id}/media/{digest}"


def doors() -> list[Door]:
    """How far an upload is, and its next piece."""
    return [
        door("GET", _PATH, get_media, "edge", "How far the upload of a payload is.", answer=UploadState),
        door(
            "PUT",
            _PATH,
            put_media,
            "edge",
            "The next piece of a payload.",
            query=(
                Param("recording_id", "The recording.", _ID, required=True),
                Param("segment_id", "The segment.", _ID, required=True),
                Param("offset", "Bytes before this piece.", {"type": "integer", "minimum": 0}),
            ),
            takes="application/octet-stream",
            answer=UploadState,
            problems=(409, 410, 422, 507),
        ),
    ]


async def get_media(request: web.Request) -> web.Response:
    """Edge: → `{state, offset}`: `absent` `coming` `stored` `erased`; offset: bytes that are here."""
    asked = await edge_request(request)
    room, sha512 = room_of(request.app[CENTRAL]), _sha512(request)

    def job(conn: Conn) -> Any:
        at = (asked.edge_id, sha512)
        return conn.execute("SELECT state, bytes FROM media WHERE edge_id=? AND sha512=?", at).fetchone()

    row = await request.app[CENTRAL].db.run(job)
    if row is None:
        return json_answer({"state": "absent", "offset": 0})
    if row["state"] == "coming":
        have = await asyncio.to_thread(room.incoming.length, asked.edge_id, sha512)
        return json_answer({"state": "coming", "offset": have})
    stored = row["state"] == "stored"
    return json_answer({"state": "stored" if stored else "erased", "offset": int(row["bytes"]) if stored else 0})


async def put_media(request: web.Request) -> web.Response:
    """Edge: the bytes from `offset` on → `{state, offset}`. The piece that makes it whole is answered once the whole hash was
    compared and the payload is in the store. A piece without bytes finishes what is whole. Repeats do nothing.

    409 media.offset says in `offset` where to go on; 410 media.erased: never again; 422 media.hash: begin anew."""
    central, asked = request.app[CENTRAL], await edge_request(request)
    recording_id, segment_id = request.query.get("recording_id", ""), request.query.get("segment_id", "")
    if not (is_id(recording_id) and is_id(segment_id)):
        raise CentralError("usage.id", "recording_id and segment_id are 32 lower-case hex digits", where="query")
    payload = Payload(asked.edge_id, _sha512(request), recording_id, segment_id)
    state, offset = await take(central, payload, query_int(request, "offset", 0), asked.body)
    return json_answer({"state": state, "offset": offset})


async def take(central: Central, payload: Payload, offset: int, piece: bytes) -> tuple[str, int]:
    """One piece: its row, its bytes, and with the last one the check, the store, the row. A disk without room is one alarm until a
    payload became whole. Raises CentralError media.*"""
    room = room_of(central)
    try:
        state, have = await _take(central, room, payload, offset, piece)
    except CentralError as error:
        if error.code == "media.full" and not room.full:
            room.full, message = True, f"payloads are refused: {error.message}"
            await central.db.run(lambda conn: central.alarm(conn, "", "media.full", message))
        raise
    if state == "stored":
        room.full = False
    return state, have


async def _take(central: Central, room: Room, payload: Payload, offset: int, piece: bytes) -> tuple[str, int]:
    key = key_of(payload.edge_id, payload.sha512)
    names = (payload.edge_id, payload.sha512)

    def expect(conn: Conn) -> tuple[str, int]:
        keys = central.keys(conn, payload.edge_id)
        return ledger.expect(conn, payload, keys, central.now())

    lock = room.lock(key)
    async with lock:
        state, size = await central.db.run(expect)
        hit("media.expected")
        if state == "stored":
            return state, size
        if not offset:
            await here(room.store)  # nobody sends everything for a store that is not there
        have = await asyncio.to_thread(room.incoming.append, *names, offset, piece, size)
        hit("media.piece_synced")
        if have < size:
            return "coming", have
        if await asyncio.to_thread(room.incoming.sha512, *names) != payload.sha512:
            await asyncio.to_thread(room.incoming.remove, *names)
            raise CentralError(
                "media.hash", "the bytes are not what the manifest says", status=422, where=payload.sha512
            )
        hit("media.checked")
        place = await here(room.store)
        state = await central.db.run(lambda conn: ledger.goes_into(conn, payload, place, central.now()))
        kept = state == "stored"  # by another process
        if state == "coming":
            async with standing(room.store, place):
                await room.store.put(key, room.incoming.path(*names), size)
            hit("media.put")
            kept = await central.db.run(lambda conn: ledger.settle(conn, payload, place, central.now()))
            hit("media.settled")
        await asyncio.to_thread(room.incoming.remove, *names)
        hit("media.part_removed")
    if not kept:
        raise CentralError("media.erased", "it was erased while it came", status=410, where=payload.recording_id)
    return "stored", size


def room_of(central: Central) -> Room:
    """Raises CentralError media.none (404) where central keeps no payloads."""
    if central.media is None:
        hint = 'whoever runs central sets [central.media] store = "folder" or "s3"'
        raise CentralError("media.none", "this central keeps no media", status=404, where="media", hint=hint)
    return central.media


def _sha512(request: web.Request) -> str:
    sha512 = request.match_info["digest"]
    if not is_sha512(sha512):
        raise CentralError("usage.sha512", "a payload is named by 128 lower-case hex digits", where=sha512[:128])
    return sha512
