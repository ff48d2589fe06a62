"""Doors of the fleet: heartbeat, certificate and key of an edge; who the edges are, approval and revocation."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from aiohttp import web

from central import withoutedge
from central.auth import check_certificate, check_signature, edge_request, json_answer
from central.conn import Conn
from central.doors import Door, Param, asker, door
from central.edgebook import check_standing, edge_keys
from central.enrol import check_edge_id
from central.errors import CentralError
from central.fleet import shapes
from central.fleet.clientcert import MAX_CSR
from central.fleet.issuing import issue_for, note_issued
from central.fleet.listing import edges_page, whole_edge
from central.fleet.standing import approve, change_key, revoke
from central.problems import field, object_body, query_int
from central.state import CENTRAL
from formats.errors import FormatError
from formats.heartbeat import Heartbeat, read_heartbeat
from formats.ids import format_time, parse_time
from formats.keychange import KeyChange, read_key_change

PAGE = 1000
#: A new key is told of when it is made; an old statement found somewhere is none.
_FRESH = timedelta(days=31)


def doors() -> list[Door]:
    """The edges' own doors, and those of who looks after them."""
    one = "/v1/edges/{edge_id}"
    return [
        door(
            "POST",
            f"{one}/heartbeat",
            post_heartbeat,
            "edge",
            "How the edge fares, every 30 seconds.",
            body=Heartbeat,
            answer=shapes.BeatAnswer,
        ),
        door(
            "POST",
            f"{one}/certificate",
            post_certificate,
            "edge",
            "A TLS certificate of 90 days.",
            status=201,
            body=shapes.CertificateBody,
            answer=shapes.CertificateAnswer,
            problems=(404,),
        ),
        door(
            "POST",
            f"{one}/key",
            post_key,
            "edge",
            "A new signing key in place of the present one.",
            body=shapes.KeyChangeBody,
            answer=shapes.KeyChangeAnswer,
            problems=(409,),
        ),
        door(
            "GET",
            "/v1/edges",
            get_edges,
            "ops dpo auditor",
            "Edges, and how they fare.",
            query=(Param("after", "A name.", {"type": "string", "maxLength": 63}), "limit"),
            answer=shapes.EdgeList,
        ),
        door(
            "GET",
            one,
            get_edge,
            "ops dpo auditor",
            "One edge with its last heartbeat and the keys it had.",
            answer=shapes.EdgeState,
        ),
        door(
            "POST",
            f"{one}/approve",
            post_approve,
            "ops",
            "Let an edge in whose code was compared.",
            body=shapes.CodeBody,
            answer=shapes.EdgeState,
        ),
        door(
            "POST",
            f"{one}/revoke",
            post_revoke,
            "ops",
            "Shut an edge out for good.",
            body=shapes.RevokeBody,
            answer=shapes.EdgeState,
        ),
    ]


async def post_heartbeat(request: web.Request) -> web.Response:
    """Edge: a heartbeat → `{now}`, central's clock."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    now = central.now()
    central.beats.heard(asked.edge_id, now, read_heartbeat(asked.body))
    return json_answer({"now": now})


async def post_certificate(request: web.Request) -> web.Response:
    """Edge: `{csr}` → `{certificate, ends}`. Reachable without a certificate or with one that ended, since the signing key
    says who asks: an edge that was away for longer than its certificate lasted comes back by this door."""
    central = request.app[CENTRAL]
    asked = await edge_request(request, certificate=False)
    csr = field(object_body(asked.body), "csr", longest=MAX_CSR)
    issued = await asyncio.to_thread(issue_for, central.config, asked.edge_id, csr, central.wall())
    await central.db.run(lambda conn: note_issued(central, conn, asked.edge_id, issued))
    return json_answer({"certificate": issued.pem, "ends": format_time(issued.ends)}, 201)


async def post_key(request: web.Request) -> web.Response:
    """Edge: `{statement}` → `{kid}`. The request is signed by the new key, as at enrolment; the statement by both. So a
    repeat after a lost answer needs no key that is gone."""
    central = request.app[CENTRAL]
    edge_id, raw = request.match_info["edge_id"], await request.read()
    statement = field(object_body(raw), "statement", dict)
    try:
        told = read_key_change(statement)
    except FormatError as error:
        raise CentralError(error.code, error.message, where="statement") from error
    check_signature(central, request, raw, edge_id, edge_keys(check_edge_id(edge_id), told.key))
    known = await central.edges.known(edge_id)
    if known is None:
        raise CentralError("auth.unknown_edge", "no such edge is enrolled", status=401, where=edge_id)
    check_standing(known.state, edge_id)
    check_certificate(central, request, edge_id, demanded=False)
    age = central.wall() - parse_time(told.at)
    if not -timedelta(minutes=5) <= age <= _FRESH:
        raise CentralError("auth.key_change", "the statement is of another time", status=409, where="statement.at")

    def job(conn: Conn) -> KeyChange:
        try:
            return change_key(central, conn, edge_id, statement)
        except FormatError as error:
            raise CentralError(error.code, error.message, status=403, where="statement") from error

    await central.edges.write()  # when it was seen last is what the statement's date is held against
    change = await central.db.run(job)
    central.edges.forget(edge_id)
    return json_answer({"kid": change.key.kid})


async def get_edges(request: web.Request) -> web.Response:
    """Edges by name, `?after=` a name: standing, how far each one is, its last heartbeat and what stands."""
    central = request.app[CENTRAL]
    after, limit = request.query.get("after", ""), query_int(request, "limit", PAGE, low=1, high=PAGE)
    if len(after) > 63 or "\0" in after:
        raise CentralError("usage.query", "after must be an edge's name", where="after")
    await _write_down(request)
    return json_answer({"edges": await central.db.run(lambda conn: edges_page(conn, after, limit))})


async def get_edge(request: web.Request) -> web.Response:
    """One edge."""
    central, edge_id = request.app[CENTRAL], check_edge_id(request.match_info["edge_id"])
    await _write_down(request)
    return json_answer(await central.db.run(lambda conn: whole_edge(conn, edge_id)))


async def _write_down(request: web.Request) -> None:
    """What this process heard in the last seconds."""
    central = request.app[CENTRAL]
    await central.edges.write()
    await central.beats.write(central)


async def post_approve(request: web.Request) -> web.Response:
    """`{code}` → the edge."""
    central, edge_id = request.app[CENTRAL], check_edge_id(request.match_info["edge_id"])
    asked = asker(request)
    code = field(object_body(asked.body), "code", longest=40)

    def job(conn: Conn) -> dict[str, Any]:
        approve(central, conn, edge_id, code, asked.label)
        return whole_edge(conn, edge_id)

    answer = await central.db.run(job)
    central.edges.forget(edge_id)
    return json_answer(answer)


async def post_revoke(request: web.Request) -> web.Response:
    """`{reason}` → the edge."""
    central, edge_id = request.app[CENTRAL], check_edge_id(request.match_info["edge_id"])
    asked = asker(request)
    reason = field(object_body(asked.body), "reason", longest=200).strip()
    if not reason:
        raise CentralError("usage.field", "say why", where="reason")

    def job(conn: Conn) -> dict[str, Any]:
        if revoke(central, conn, edge_id, reason, asked.label):
            withoutedge.destroy_what_waits(central, conn, edge_id)
        return whole_edge(conn, edge_id)

    answer = await central.db.run(job)
    central.edges.forget(edge_id)
    central.ring(edge_id)  # its long-poll ends now
    return json_answer(answer)
