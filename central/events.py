"""Batches of events from edges: signed, idempotent by event id, answered item by item."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.anonymous import anonymise, is_anonymous
from central.auth import edge_request, json_answer
from central.conn import Conn
from central.doors import Door, Param, door
from central.errors import CentralError
from central.fleet.clones import two_streams
from central.project import project, take_key
from central.state import CENTRAL, Central
from formats import canonical, search
from formats.errors import FormatError
from formats.wire import BatchAnswer, Event, verify_batch

MAX_EVENTS = 1000
#: Header of the detached JWS (`typ` callwarden-batch+json) over the batch's bytes before gzip.
SIGNATURE = "Callwarden-Signature"
_SIGNED = Param(SIGNATURE, "Detached JWS over the batch's bytes before gzip.", required=True)


def doors() -> list[Door]:
    """Batches in."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/events",
            post_events,
            "edge",
            "A batch of events.",
            headers=(_SIGNED,),
            body=list[Event],
            answer=BatchAnswer,
        )
    ]


async def post_events(request: web.Request) -> web.Response:
    """Edge: a batch → `{items: [{id, status}], contiguous, search_key}`; status `accepted` `duplicate` `rejected:<code>`."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    try:
        _, events = verify_batch(request.headers.get(SIGNATURE, ""), asked.body, asked.keys)
    except FormatError as error:
        raise CentralError(error.code, error.message, where="body") from error
    if not 0 < len(events) <= MAX_EVENTS:
        raise CentralError("usage.count", f"a batch has 1 to {MAX_EVENTS} events", where="body")
    answer = await central.db.run(lambda conn: _take(central, conn, asked.edge_id, events))
    return json_answer(answer)


def _take(central: Central, conn: Conn, edge_id: str, events: list[Event]) -> dict[str, Any]:
    """Job: store and project every event; one that fails is rejected alone."""
    conn.exclusive(f"edge:{edge_id}")
    items = []
    taken: set[int] = set()
    forked = False
    for event in events:
        conn.execute("SAVEPOINT item")
        mark = central.keeper.mark()
        try:
            status = _take_one(central, conn, edge_id, event)
        except (CentralError, FormatError) as error:
            if isinstance(error, CentralError) and error.status >= 500:
                raise  # our disk's fault is no verdict on an event: the edge would bury it
            conn.execute("ROLLBACK TO item")
            central.keeper.roll_back_to(mark)
            status = f"rejected:{error.code}"
        conn.execute("RELEASE item")
        items.append({"id": event.id, "status": status})
        forked = forked or status == "rejected:event.sequence"
        if status == "duplicate":
            taken.add(event.sequence)
    central.keeper.flush()
    if forked:
        two_streams(central, conn, edge_id, events[0].incarnation)
    contiguous = _advance(conn, edge_id, events[0].incarnation, taken)
    ring = central.search.now()
    return {"items": items, "contiguous": contiguous, "search_key": ring and ring.newest.id}


def _take_one(central: Central, conn: Conn, edge_id: str, event: Event) -> str:
    known = conn.execute("SELECT 1 FROM event WHERE edge_id=? AND event_id=?", (edge_id, event.id)).fetchone()
    if known is not None:
        return "duplicate"
    other = conn.execute(
        "SELECT event_id FROM event WHERE edge_id=? AND incarnation=? AND seq=?",
        (edge_id, event.incarnation, event.sequence),
    ).fetchone()
    if other is not None:
        # Two journals under one incarnation: a clone, or a backup that came back to life.
        raise CentralError("event.sequence", "another event has this number")
    project(central, conn, edge_id, event.type, event.sequence, event.data)
    stored, _ = take_key(event.data)
    if event.type == search.EVENT:  # numbers lie sealed in a table of their own
        stored = search.without_values(stored)
    if isinstance(stored.get("header"), dict):  # the sealed header lies in its own table, from which it can be wiped
        stored = {**stored, "header": {k: v for k, v in stored["header"].items() if k != "sealed_header"}}
    conn.execute(
        "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?)",
        (
            event.id,
            edge_id,
            event.incarnation,
            event.sequence,
            event.type,
            event.subject,
            event.time,
            canonical.dumps(stored).decode(),
            central.now(),
        ),
    )
    if (call_id := is_anonymous(conn, event.subject)) is not None:  # now, or since long: a late word tells no more
        anonymise(conn, edge_id, call_id)
    return "accepted"


def _advance(conn: Conn, edge_id: str, incarnation: int, taken: set[int]) -> int:
    """The highest number up to which everything is here. `taken`: numbers of this batch whose events are here already,
    perhaps under another number: a journal put back from a backup counts anew, and sends what it had not sent then."""
    row = conn.execute(
        "SELECT contiguous FROM stream WHERE edge_id=? AND incarnation=?", (edge_id, incarnation)
    ).fetchone()
    before = at = int(row["contiguous"]) if row else 0
    rows = conn.execute(
        "SELECT seq FROM event WHERE edge_id=? AND incarnation=? AND seq>? ORDER BY seq", (edge_id, incarnation, at)
    )
    for seq in sorted({row[0] for row in rows} | {seq for seq in taken if seq > at}) if taken else (r[0] for r in rows):
        if seq != at + 1:
            break
        at = seq
    if row is None:
        conn.execute("INSERT INTO stream VALUES (?,?,?)", (edge_id, incarnation, at))
    elif at != before:
        conn.execute("UPDATE stream SET contiguous=? WHERE edge_id=? AND incarnation=?", (at, edge_id, incarnation))
    return at
