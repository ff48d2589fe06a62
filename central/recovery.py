"""Headers out of the keeper, for recordings whose edge lost its journal or its slots.

What is given out opens nothing by itself: it is the header as it went with the payload, ciphertext for its recipients. Who
asks is an administrator, and each giving out is in central's log first.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, asker, door, taken
from central.errors import CentralError
from central.minimise.loggable import loggable
from central.minimise.purposes import admit, reading_of
from central.openapi import answers, bodies
from central.state import CENTRAL, Central
from formats.errors import FormatError
from formats.ids import is_id
from formats.keys import b64url
from formats.shred import unseal_header


def doors() -> list[Door]:
    """Headers of one recording."""
    return [
        door(
            "POST",
            "/v1/recordings/{recording_id}/headers",
            post_headers,
            "admin",
            "The newest header of each segment, to recover a vault.",
            body=bodies.HeadersBody,
            answer=answers.HeaderList,
        )
    ]


async def post_headers(request: web.Request) -> web.Response:
    """Administrator: `{reason, purpose?, case?}` → `{headers: [{segment_id, version, suite, key_id, header}]}`, the newest of each
    segment; `header` is base64url, or null where the keeper holds no key (any more)."""
    central, asked = request.app[CENTRAL], taken(request, bodies.HeadersBody)
    recording_id = request.match_info["recording_id"]
    if not is_id(recording_id):
        raise CentralError("usage.id", "recording_id is 32 lower-case hex digits", where="recording_id")
    wanted = reading_of(asker(request), asked.purpose, asked.case)
    await admit(central, wanted, "headers.given", recording_id=recording_id, reason=loggable(asked.reason, "reason"))
    return json_answer({"headers": await central.db.run(lambda conn: _headers(central, conn, recording_id))})


def _headers(central: Central, conn: Conn, recording_id: str) -> list[dict[str, Any]]:
    rows = conn.execute(
        "SELECT segment_id, version, suite, key_id, sealed_header, keeper_slot FROM header h WHERE recording_id=?"
        " AND version=(SELECT max(version) FROM header n WHERE n.segment_id=h.segment_id) ORDER BY segment_id",
        (recording_id,),
    ).fetchall()
    return [
        {
            "segment_id": row["segment_id"],
            "version": row["version"],
            "suite": row["suite"],
            "key_id": row["key_id"],
            "header": _unsealed(central, recording_id, row),
        }
        for row in rows
    ]


def _unsealed(central: Central, recording_id: str, row: Any) -> str | None:
    if row["keeper_slot"] is None or row["sealed_header"] is None:
        return None
    try:
        key = central.keeper.read(int(row["keeper_slot"]))
        sealed = bytes(row["sealed_header"])
        return b64url(unseal_header(sealed, key, recording_id, row["segment_id"], int(row["version"])))
    except FormatError as error:
        hint = "the edge reported a header that the key it sent does not open, or one of the two was damaged"
        raise CentralError("keeper.damaged", error.message, status=409, where=row["segment_id"], hint=hint) from error
    except CentralError as error:
        if error.code != "keeper.shredded":
            raise
        return None
