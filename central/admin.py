"""What an administrator reads: calls, recordings, alarms. JSON lists, newest last, paged by `after` and `limit`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn, Row
from central.doors import Door, door
from central.errors import CentralError
from central.openapi import answers
from central.problems import query_int
from central.state import CENTRAL
from formats import canonical

PAGE = 1000


def doors() -> list[Door]:
    """Reading doors."""
    return [
        door(
            "GET",
            "/v1/calls",
            get_calls,
            "dpo auditor supervisor",
            "Calls as reported, oldest first.",
            query=("after", "limit"),
            answer=answers.CallList,
        ),
        door(
            "GET",
            "/v1/recordings",
            get_recordings,
            "dpo auditor supervisor",
            "Recordings as reported, with whether the keeper holds their keys.",
            query=("after", "limit"),
            answer=answers.RecordingList,
        ),
        door(
            "GET",
            "/v1/recordings/{recording_id}",
            get_recording,
            "dpo auditor supervisor",
            "One recording.",
            answer=answers.Recording,
        ),
        door(
            "GET",
            "/v1/alarms",
            get_alarms,
            "ops dpo auditor",
            "Alarms: forks, rollbacks, what edges raised.",
            query=("after", "limit"),
            answer=answers.AlarmList,
        ),
        door(
            "GET",
            "/v1/log",
            get_log,
            "dpo auditor",
            "Central's own log.",
            query=("after", "limit"),
            answer=answers.OwnLogPage,
        ),
    ]


async def get_calls(request: web.Request) -> web.Response:
    """Calls as reported."""
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute("SELECT * FROM call WHERE seq>? ORDER BY seq LIMIT ?", (after, limit)).fetchall()
        return [
            {
                "seq": row["seq"],
                "call_id": row["call_id"],
                "edge_id": row["edge_id"],
                "outcome": row["outcome"],
                "opened": _json(row["opened"]),
                "closed": _json(row["closed"]),
                "recordings": [
                    r[0] for r in conn.execute("SELECT recording_id FROM recording WHERE call_id=?", (row["call_id"],))
                ],
            }
            for row in rows
        ]

    return json_answer({"calls": await request.app[CENTRAL].db.run(job)})


def _recording(conn: Conn, row: Row) -> dict[str, Any]:
    headers = conn.execute(
        "SELECT segment_id, version, suite, key_id, keeper_slot IS NOT NULL AS kept FROM header WHERE recording_id=?"
        " ORDER BY segment_id, version",
        (row["recording_id"],),
    )
    tombstone = conn.execute(
        "SELECT at, jti FROM tombstone WHERE edge_id=? AND recording_id=?", (row["edge_id"], row["recording_id"])
    ).fetchone()
    segments = conn.execute("SELECT data FROM segment WHERE recording_id=?", (row["recording_id"],))
    return {
        "seq": row["seq"],
        "recording_id": row["recording_id"],
        "edge_id": row["edge_id"],
        "call_id": row["call_id"],
        "state": row["state"],
        "opened": _json(row["opened"]),
        "sealed": _json(row["sealed"]),
        "erased": _json(row["erased"]),
        "segments": sorted((_json(one[0]) for one in segments), key=_number),
        "headers": [dict(one) | {"kept": bool(one["kept"])} for one in headers],
        "tombstone": dict(tombstone) if tombstone else None,
    }


async def get_recordings(request: web.Request) -> web.Response:
    """Recordings as reported, with whether the keeper holds their keys."""
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute("SELECT * FROM recording WHERE seq>? ORDER BY seq LIMIT ?", (after, limit)).fetchall()
        return [_recording(conn, row) for row in rows]

    return json_answer({"recordings": await request.app[CENTRAL].db.run(job)})


async def get_recording(request: web.Request) -> web.Response:
    """One recording."""
    recording_id = request.match_info["recording_id"]

    def job(conn: Conn) -> dict[str, Any]:
        row = conn.execute("SELECT * FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
        if row is None:
            raise CentralError(
                "not_found.recording", "no edge reported such a recording", status=404, where=recording_id
            )
        return _recording(conn, row)

    return json_answer(await request.app[CENTRAL].db.run(job))


async def get_alarms(request: web.Request) -> web.Response:
    """Alarms: forks, rollbacks, what edges raised."""
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        return [dict(r) for r in conn.execute("SELECT * FROM alarm WHERE id>? ORDER BY id LIMIT ?", (after, limit))]

    return json_answer({"alarms": await request.app[CENTRAL].db.run(job)})


async def get_log(request: web.Request) -> web.Response:
    """Central's own log: entries from `after` on, and the root over all of them."""
    central = request.app[CENTRAL]
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> dict[str, Any]:
        size = central.log.size(conn)
        rows = conn.execute("SELECT idx, entry FROM log WHERE idx>=? ORDER BY idx LIMIT ?", (after, limit)).fetchall()
        return {
            "origin": central.config.log_origin,
            "size": size,
            "root": central.log.root(conn, size).hex(),
            "entries": [{"index": row["idx"], "entry": row["entry"]} for row in rows],
        }

    return json_answer(await central.db.run(job))


def _number(segment: dict[str, Any]) -> int:
    """A segment's number as its edge reported it; one that is none goes last, and does not close the list."""
    number = segment.get("number")
    return number if isinstance(number, int) else 2**53


def _json(text: str | None) -> Any:
    return None if text is None else canonical.loads(text)
