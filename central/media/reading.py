"""Payloads out again, for people: who reads which, why and for what stands in central's log before the first byte is out.

What goes out is ciphertext; whoever reads it compares it with the edge's signed manifest and needs a header (the keeper's) and
an identity.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, asker, door
from central.errors import CentralError
from central.media.ledger import is_buried
from central.media.place import require
from central.media.store import key_of
from central.media.upload import room_of
from central.media.words import MediaList
from central.minimise.loggable import loggable
from central.minimise.purposes import noted, reading, refusal
from central.problems import query_int
from central.state import CENTRAL
from formats.ids import is_id

#: Reasons are words and case numbers, not stories.
_WORDS: Final = {"type": "string", "minLength": 1, "maxLength": 80}
_WORD: Final = re.compile(r"[\w .:/#-]{1,80}")
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)
_COLUMNS: Final = "edge_id, recording_id, segment_id, number, sha512, bytes, place, state, stored_at, leaving_at, gone_at, attempts, why"


def doors() -> list[Door]:
    """The list, and one payload."""
    return [
        door(
            "GET",
            "/v1/media",
            get_list,
            "dpo supervisor auditor",
            "Payloads that central has, had or waits for.",
            query=("recording_id", Param("after", "The last item's seq of the page before."), "limit"),
            answer=MediaList,
        ),
        door(
            "GET",
            "/v1/recordings/{recording_id}/segments/{number}/media",
            get_payload,
            "dpo supervisor",
            "A payload as it was sealed, whole or a range.",
            query=(
                Param("purpose", "What for: one that the answer grants.", _WORDS, required=True),
                Param("reason", "Why.", _WORDS, required=True),
                "case",
            ),
            headers=(Param("Range", "bytes=FIRST-LAST, one range."),),
            gives="application/octet-stream",
            further=(206,),
            problems=(410, 416),
        ),
    ]


async def get_list(request: web.Request) -> web.Response:
    """→ `{media: [{recording_id, number, segment_id, edge_id, sha512, bytes, place, state, …}]}`. `after`: what the last
    item's `seq` was."""
    recording_id, after = request.query.get("recording_id", ""), request.query.get("after", "")
    if recording_id and not is_id(recording_id):
        raise CentralError("usage.id", "recording_id is 32 lower-case hex digits", where="recording_id")
    if len(after) > 200 or "\0" in after:
        raise CentralError("usage.query", "after is what an item's seq was", where="after")
    limit = query_int(request, "limit", 200, low=1, high=1000)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute(
            f"SELECT {_COLUMNS} FROM media WHERE (recording_id=? OR ?='') AND edge_id || '/' || sha512 > ?"  # noqa: S608
            " ORDER BY edge_id || '/' || sha512 LIMIT ?",
            (recording_id, recording_id, "" if after == "0" else after, limit),
        )
        return [{**dict(row), "seq": f"{row['edge_id']}/{row['sha512']}"} for row in rows]

    return json_answer({"media": await request.app[CENTRAL].db.run(job)})


async def get_payload(request: web.Request) -> web.StreamResponse:
    """→ the bytes. One range of bytes may be asked for. 403 command.purpose where the answer does not cover it; 404 media.missing;
    410 media.erased."""
    central, who = request.app[CENTRAL], asker(request)
    room = room_of(central)
    recording_id, number = request.match_info["recording_id"], request.match_info["number"]
    if not is_id(recording_id) or not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise CentralError("usage.id", "recordings have ids of 32 hex digits, segments numbers", where="path")
    reason, wanted = request.query.get("reason", ""), reading(request, who)
    if not _WORD.fullmatch(loggable(reason, "reason")):
        raise CentralError("usage.reason", "say ?reason= in a few words", where="query")

    def job(conn: Conn) -> Any:
        row = conn.execute(
            "SELECT edge_id, sha512, bytes, state, segment_id, place FROM media WHERE recording_id=? AND number=?"
            " AND state<>'coming' ORDER BY state DESC LIMIT 1",
            (recording_id, int(number)),
        ).fetchone()
        if row is None:
            raise CentralError("media.missing", "central has no such payload", status=404, where=recording_id)
        if row["state"] != "stored" or is_buried(conn, row["edge_id"], recording_id):
            raise CentralError("media.erased", "the payload was erased", status=410, where=recording_id)
        first, behind = _range(request.headers.get("Range", ""), int(row["bytes"]))
        call = conn.execute("SELECT call_id FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
        facts = {"segment": int(number), "reason": reason, "first": first, "behind": behind}
        verdict = noted(central, conn, wanted, "media.read", call and call["call_id"], recording_id, **facts)
        return row, first, behind, verdict

    row, first, behind, verdict = await central.db.run(job)
    if verdict.refused:
        raise refusal(verdict, recording_id)
    await require(room.store, row["place"])
    key, size = key_of(row["edge_id"], row["sha512"]), int(row["bytes"])
    whole = (first, behind) == (0, size)
    headers = {
        "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": f'"{row["sha512"]}"',
        "Content-Length": str(behind - first), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
        "Callwarden-Segment": row["segment_id"],
    }  # fmt: skip
    if not whole:
        headers["Content-Range"] = f"bytes {first}-{behind - 1}/{size}"
    answer = web.StreamResponse(status=200 if whole else 206, headers=headers)
    async with aclosing(room.store.read(key, first, behind)) as pieces:
        piece = await anext(pieces, b"")  # what fails at once fails as a problem document
        await answer.prepare(request)
        while piece:
            await answer.write(piece)
            piece = await anext(pieces, b"")
    await answer.write_eof()
    return answer


def _range(text: str, size: int) -> tuple[int, int]:
    """[first, behind) of a Range header; everything where there is none or it is of another form (RFC 9110 lets us).

    Raises CentralError usage.range (416).
    """
    found = _RANGE.fullmatch(text)
    if found is None or found.groups() == ("", ""):
        return 0, size
    low, high = found.groups()
    if not low:
        first, behind = max(0, size - int(high)), size
    else:
        first, behind = int(low), min(size, int(high) + 1) if high else size
    if first >= behind:
        extra = {"size": size}
        raise CentralError("usage.range", f"the payload has {size} bytes", status=416, where="Range", extra=extra)
    return first, behind
