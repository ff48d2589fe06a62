"""What an administrator reads: calls, recordings, alarms. JSON lists, newest last, paged by `after` and `limit`."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn, Row
from central.doors import Door, asker, door
from central.minimise.purposes import Reading, Verdict, admit, judge, reading
from central.openapi import answers
from central.problems import query_int
from central.state import CENTRAL, Central
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
            query=("after", "limit", "purpose", "case"),
            answer=answers.CallList,
        ),
        door(
            "GET",
            "/v1/recordings",
            get_recordings,
            "dpo auditor supervisor",
            "Recordings as reported, with whether the keeper holds their keys.",
            query=("after", "limit", "purpose", "case"),
            answer=answers.RecordingList,
        ),
        door(
            "GET",
            "/v1/recordings/{recording_id}",
            get_recording,
            "dpo auditor supervisor",
            "One recording.",
            query=("purpose", "case"),
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
    """Calls as reported. `?purpose=` and `?case=`: what they are read for; of a call that this does not cover, or that is
    restricted, there is only its id and why (`refused`)."""
    wanted = reading(request, asker(request))
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute("SELECT * FROM call WHERE seq>? ORDER BY seq LIMIT ?", (after, limit)).fetchall()
        _note(central, conn, "calls.listed", wanted, after, len(rows))
        return [_call(conn, row, judge(conn, wanted, row["call_id"])) for row in rows]

    central = request.app[CENTRAL]
    return json_answer({"calls": await central.db.run(job)})


def _note(central: Central, conn: Conn, kind: str, wanted: Reading, after: int, count: int) -> None:
    central.log.append(conn, central.now(), kind, {**wanted.said(), "after": after, "count": count})


def _call(conn: Conn, row: Row, verdict: Verdict) -> dict[str, Any]:
    named = {"seq": row["seq"], "call_id": row["call_id"], "edge_id": row["edge_id"]}
    if verdict.refused:
        nothing: dict[str, Any] = {"outcome": None, "opened": None, "closed": None, "recordings": []}
        return named | nothing | {"refused": verdict.refused}
    recordings = conn.execute("SELECT recording_id FROM recording WHERE call_id=?", (row["call_id"],))
    return named | {
        "outcome": row["outcome"],
        "opened": _json(row["opened"]),
        "closed": _json(row["closed"]),
        "recordings": [r[0] for r in recordings],
    }


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
    """Recordings as reported, with whether the keeper holds their keys; `?purpose=` and `?case=` as for calls."""
    wanted = reading(request, asker(request))
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute("SELECT * FROM recording WHERE seq>? ORDER BY seq LIMIT ?", (after, limit)).fetchall()
        _note(central, conn, "recordings.listed", wanted, after, len(rows))
        return [_allowed(conn, row, judge(conn, wanted, row["call_id"], row["recording_id"])) for row in rows]

    central = request.app[CENTRAL]
    return json_answer({"recordings": await central.db.run(job)})


def _allowed(conn: Conn, row: Row, verdict: Verdict) -> dict[str, Any]:
    if not verdict.refused:
        return _recording(conn, row)
    names = ("seq", "recording_id", "edge_id", "call_id", "state")
    nothing: dict[str, Any] = {
        "opened": None,
        "sealed": None,
        "erased": None,
        "segments": [],
        "headers": [],
        "tombstone": None,
    }
    return {name: row[name] for name in names} | nothing | {"refused": verdict.refused}


async def get_recording(request: web.Request) -> web.Response:
    """One recording; `?purpose=` and `?case=`: what it is read for."""
    central, recording_id = request.app[CENTRAL], request.match_info["recording_id"]
    await admit(central, reading(request, asker(request)), "recording.read", recording_id=recording_id)

    def job(conn: Conn) -> dict[str, Any]:
        return _recording(
            conn, conn.execute("SELECT * FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
        )

    return json_answer(await central.db.run(job))


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
