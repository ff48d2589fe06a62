"""The doors of incidents: ops acknowledges and notes, dpo assesses, notifies and closes, auditor reads."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, asker, door, taken
from central.errors import CentralError
from central.incidents import bodies, book, report
from central.problems import query_int
from central.state import CENTRAL

PAGE = 1000
#: Recordings and calls that a report names at most.
NAMED = 1000
_STATES = {"type": "string", "enum": ["open", "acknowledged", "assessed", "notified", "closed"]}


def doors() -> list[Door]:
    """See the module."""
    one = "/v1/incidents/{incident_id}"
    return [
        door(
            "GET",
            "/v1/incidents",
            get_incidents,
            "ops dpo auditor",
            "Incidents, oldest first; `state` filters, `open` is all that is not closed.",
            query=("after", "limit", Param("state", "Only in this state; `open`: all that are not closed.", _STATES)),
            answer=bodies.IncidentList,
        ),
        door(
            "POST",
            "/v1/incidents",
            post_incident,
            "ops dpo",
            "Open an incident by hand.",
            body=bodies.OpeningBody,
            problems=(404,),
            answer=bodies.WholeIncident,
            status=201,
        ),
        door(
            "GET",
            one,
            get_incident,
            "ops dpo auditor",
            "One incident with everything that was said of it.",
            answer=bodies.WholeIncident,
        ),
        door(
            "GET",
            f"{one}/report",
            get_report,
            "dpo auditor",
            "What the authority is told, as text.",
            answer=bodies.Report,
        ),
        door(
            "POST",
            f"{one}/notes",
            post_note,
            "ops dpo",
            "Write something down.",
            body=bodies.TextBody,
            answer=bodies.WholeIncident,
            status=201,
        ),
        door(
            "POST",
            f"{one}/acknowledge",
            post_acknowledge,
            "ops dpo",
            "Somebody looks after it.",
            body=bodies.TextBody,
            answer=bodies.WholeIncident,
        ),
        door(
            "POST",
            f"{one}/assess",
            post_assess,
            "dpo",
            "Whether the authority must be told.",
            body=bodies.AssessmentBody,
            answer=bodies.WholeIncident,
        ),
        door(
            "POST",
            f"{one}/notified",
            post_notified,
            "dpo",
            "The authority was told.",
            body=bodies.TextBody,
            answer=bodies.WholeIncident,
        ),
        door(
            "POST", f"{one}/close", post_close, "dpo", "It is over.", body=bodies.TextBody, answer=bodies.WholeIncident
        ),
    ]


async def get_incidents(request: web.Request) -> web.Response:
    """A page of incidents."""
    central = request.app[CENTRAL]
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)
    state = request.query.get("state")
    if state is not None and state not in _STATES["enum"]:
        raise CentralError("usage.query", "state is open, acknowledged, assessed, notified or closed", where="state")

    def job(conn: Conn) -> list[dict[str, Any]]:
        words = {None: "?=?", "open": "state<>'closed' AND ?=?"}.get(state, "state=? AND ?<>''")
        values = (1, 1) if state in (None, "open") else (state, state)
        query = f"SELECT * FROM incident WHERE seq>? AND {words} ORDER BY seq LIMIT ?"  # noqa: S608 - words of ours
        rows = conn.execute(query, (after, *values, limit)).fetchall()
        return [book.answer(row, central.wall()) for row in rows]

    return json_answer({"incidents": await central.db.run(job)})


async def post_incident(request: web.Request) -> web.Response:
    """Opened by a person."""
    central, who, body = request.app[CENTRAL], asker(request).label, taken(request, bodies.OpeningBody)
    made = await central.db.run(
        lambda conn: book.open_by_hand(central, conn, who, body.kind, body.edge_id or "", body.text, body.aware_at)
    )
    return json_answer(await _shown(request, made), 201)


async def get_incident(request: web.Request) -> web.Response:
    """One incident."""
    return json_answer(await _shown(request, request.match_info["incident_id"]))


async def get_report(request: web.Request) -> web.Response:
    """The report, and a line in the log that it was taken."""
    central, incident_id, who = request.app[CENTRAL], request.match_info["incident_id"], asker(request).label

    def job(conn: Conn) -> str:
        row = book.row_of(conn, incident_id)
        named = conn.execute(
            "SELECT DISTINCT subject FROM incident_entry WHERE incident_id=? AND subject<>'' ORDER BY subject LIMIT ?",
            (incident_id, NAMED),
        ).fetchall()
        said, left_out = book.entries(conn, incident_id)
        counted = report.Counts(
            [one[0] for one in named],
            _count(conn, "SELECT count(*) FROM call WHERE (edge_id=? OR ?='')", row["edge_id"]),
            _count(
                conn, "SELECT count(*) FROM recording WHERE state<>'erased' AND (edge_id=? OR ?='')", row["edge_id"]
            ),
            left_out,
        )
        central.log.append(conn, central.now(), "incident.reported", {"incident_id": incident_id, "by": who})
        shown = book.answer(row, central.wall())
        return report.text(central.config.fleet, shown, counted, said, central.now())

    return json_answer({"text": await central.db.run(job)})


def _count(conn: Conn, query: str, edge_id: str) -> int:
    return int(conn.execute(query, (edge_id, edge_id)).fetchone()[0])


async def post_note(request: web.Request) -> web.Response:
    """A note."""
    central, who, incident_id = request.app[CENTRAL], asker(request).label, request.match_info["incident_id"]
    said = taken(request, bodies.TextBody).text
    await central.db.run(lambda conn: book.note(central, conn, incident_id, who, said))
    return json_answer(await _shown(request, incident_id), 201)


async def post_acknowledge(request: web.Request) -> web.Response:
    """`{text}`."""
    return await _step(request, "acknowledge")


async def post_notified(request: web.Request) -> web.Response:
    """`{text}`: to whom, under which number."""
    return await _step(request, "notified")


async def post_close(request: web.Request) -> web.Response:
    """`{text}`."""
    return await _step(request, "close")


async def post_assess(request: web.Request) -> web.Response:
    """The verdict, and what is known for a notification."""
    body = taken(request, bodies.AssessmentBody)
    facts = {name: value for name, value in msgspec.structs.asdict(body.facts).items() if value}
    return await _take(request, "assess", body.text, notifiable=body.notifiable, aware=body.aware_at, facts=facts)


async def _step(request: web.Request, name: str) -> web.Response:
    return await _take(request, name, taken(request, bodies.TextBody).text)


async def _take(request: web.Request, name: str, said: str, **more: Any) -> web.Response:
    central, who, incident_id = request.app[CENTRAL], asker(request).label, request.match_info["incident_id"]
    await central.db.run(lambda conn: book.step(central, conn, incident_id, who, name, said, **more))
    return json_answer(await _shown(request, incident_id))


async def _shown(request: web.Request, incident_id: str) -> dict[str, Any]:
    central = request.app[CENTRAL]

    def job(conn: Conn) -> dict[str, Any]:
        row = book.row_of(conn, incident_id)
        said, left_out = book.entries(conn, incident_id)
        return {**book.answer(row, central.wall()), "entries": said, "left_out": left_out}

    return await central.db.run(job)
