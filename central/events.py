"""Batches of events from edges: signed, idempotent by event id, answered item by item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from central.anonymous import ANONYMOUS, anonymise
from central.auth import EdgeRequest, answered, edge_request, json_answer
from central.conn import Conn
from central.doors import Door, Param, door
from central.edgebook import confirm
from central.errors import CentralError
from central.fleet.clones import two_streams
from central.project import project, take_key
from central.state import CENTRAL, Central
from formats import canonical, search
from formats.errors import FormatError
from formats.wire import BatchAnswer, Event, verify_batch

MAX_EVENTS = 1000
#: So many events of a batch are looked for in one statement, and so many numbers are read at a time.
TOGETHER = 50
PAGE = 1000
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
    asked = await edge_request(request, confirms=True)
    try:
        _, events = verify_batch(request.headers.get(SIGNATURE, ""), asked.body, asked.keys)
    except FormatError as error:
        raise CentralError(error.code, error.message, where="body") from error
    if not 0 < len(events) <= MAX_EVENTS:
        raise CentralError("usage.count", f"a batch has 1 to {MAX_EVENTS} events", where="body")
    with answered(central, asked):
        try:
            # What overwrites keys does not come back by a rollback: such a batch is stored at once, whatever of it is rejected.
            take = _take_apart if any(one.type == "recording.erased" for one in events) else _take_one
            answer = await central.db.run(lambda conn: _take(central, conn, asked, events, take))
        except _NotAll:
            answer = await central.db.run(lambda conn: _take(central, conn, asked, events, _take_apart))
    return json_answer(answer)


class _NotAll(Exception):
    """An event is rejected, so no row was stored: the batch is taken once more, each event in a savepoint of its own."""


@dataclass(slots=True)
class _Stream:
    """What is here of an edge's events under one incarnation. contiguous: how far, before this batch. known, used: ids and
    numbers of this batch that are here. taken: its numbers whose events are here already, perhaps under another number: a
    journal put back from a backup counts anew, and sends what it had not sent then."""

    edge_id: str
    incarnation: int
    contiguous: int | None
    known: set[str] = field(default_factory=set)
    used: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    forked: bool = False


_Taker = Callable[[Central, Conn, _Stream, Event], str]


def _take(central: Central, conn: Conn, asked: EdgeRequest, events: list[Event], take: _Taker) -> dict[str, Any]:
    """Job: store and project every event; one that fails is rejected alone."""
    conn.exclusive(f"edge:{asked.edge_id}")
    stream = _stream(conn, asked, events)
    items = [{"id": event.id, "status": take(central, conn, stream, event)} for event in events]
    central.keeper.flush()
    if stream.forked:
        two_streams(central, conn, stream.edge_id, stream.incarnation)
    contiguous = _advance(conn, stream)
    ring = central.search.now()
    return {"items": items, "contiguous": contiguous, "search_key": ring and ring.newest.id}


def _stream(conn: Conn, asked: EdgeRequest, events: list[Event]) -> _Stream:
    """What is here, and that the edge may still speak, in few statements for any number of events."""
    edge_id, incarnation = asked.edge_id, events[0].incarnation
    row = conn.execute(
        "SELECT e.state, e.kid, s.contiguous FROM edge e LEFT JOIN stream s ON s.edge_id=e.edge_id AND s.incarnation=?"
        " WHERE e.edge_id=?",
        (incarnation, edge_id),
    ).fetchone()
    confirm(asked.known, row)
    stream = _Stream(edge_id, incarnation, row["contiguous"])
    for begin in range(0, len(events), TOGETHER):
        some = events[begin : begin + TOGETHER]
        if len(events) > 1:  # the last one fills up: always as many question marks
            some += some[-1:] * (TOGETHER - len(some))
        marks = ",".join("?" * len(some))
        found = conn.execute(
            f"SELECT event_id, NULL FROM event WHERE edge_id=? AND event_id IN ({marks}) UNION ALL"  # noqa: S608 - marks
            f" SELECT NULL, seq FROM event WHERE edge_id=? AND incarnation=? AND seq IN ({marks})",
            (edge_id, *(one.id for one in some), edge_id, incarnation, *(one.sequence for one in some)),
        )
        for event_id, seq in found:
            stream.known.add(event_id)
            stream.used.add(seq)
    return stream


def _take_apart(central: Central, conn: Conn, stream: _Stream, event: Event) -> str:
    """One event in a savepoint of its own."""
    conn.execute("SAVEPOINT item")
    mark = central.keeper.mark()
    try:
        status = _stored(central, conn, stream, event)
    except (CentralError, FormatError) as error:
        if isinstance(error, CentralError) and error.status >= 500:
            raise  # our disk's fault is no verdict on an event: the edge would bury it
        conn.execute("ROLLBACK TO item")
        central.keeper.roll_back_to(mark)
        status = f"rejected:{error.code}"
        stream.forked = stream.forked or error.code == "event.sequence"
    conn.execute("RELEASE item")
    return status


def _take_one(central: Central, conn: Conn, stream: _Stream, event: Event) -> str:
    """One event of which nothing is undone by itself, as it is with nearly all. Raises _NotAll."""
    try:
        return _stored(central, conn, stream, event)
    except (CentralError, FormatError) as error:
        if isinstance(error, CentralError) and error.status >= 500:
            raise
        raise _NotAll from error


def _stored(central: Central, conn: Conn, stream: _Stream, event: Event) -> str:
    """`accepted` or `duplicate`. Raises CentralError, FormatError: rejected, and what was done is to be rolled back."""
    edge_id = stream.edge_id
    if event.id in stream.known:
        stream.taken.add(event.sequence)
        return "duplicate"
    if event.sequence in stream.used:
        # Two journals under one incarnation: a clone, or a backup that came back to life.
        raise CentralError("event.sequence", "another event has this number")
    project(central, conn, edge_id, event.type, event.sequence, event.data)
    stored, _ = take_key(event.data)
    if event.type == search.EVENT:  # numbers lie sealed in a table of their own
        stored = search.without_values(stored)
    if isinstance(stored.get("header"), dict):  # the sealed header lies in its own table, from which it can be wiped
        stored = {**stored, "header": {k: v for k, v in stored["header"].items() if k != "sealed_header"}}
    (anonymous,) = conn.execute(
        f"INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?) RETURNING {ANONYMOUS}",  # noqa: S608 - a constant
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
            edge_id,
            event.subject,
            event.subject,
            edge_id,
        ),
    ).fetchone()
    if anonymous is not None:  # now, or since long: a late word tells no more
        anonymise(conn, edge_id, anonymous)
    stream.known.add(event.id)
    stream.used.add(event.sequence)
    return "accepted"


def _advance(conn: Conn, stream: _Stream) -> int:
    """The highest number up to which everything is here, kept."""
    before = at = stream.contiguous or 0
    query = "SELECT seq FROM event WHERE edge_id=? AND incarnation=? AND seq>? ORDER BY seq LIMIT ?"
    while True:  # page by page: behind a gap that nobody fills there may be any number of them
        page = [int(row[0]) for row in conn.execute(query, (stream.edge_id, stream.incarnation, at, PAGE)).fetchall()]
        here = stream.taken.union(page)
        while at + 1 in here:
            at += 1
        if len(page) < PAGE or at < page[-1]:
            break
    if stream.contiguous is None:
        conn.execute("INSERT INTO stream VALUES (?,?,?)", (stream.edge_id, stream.incarnation, at))
    elif at != before:
        query = "UPDATE stream SET contiguous=? WHERE edge_id=? AND incarnation=?"
        conn.execute(query, (at, stream.edge_id, stream.incarnation))
    return at
