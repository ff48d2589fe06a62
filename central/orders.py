"""Orders: drafted here, signed by people elsewhere, checked and countersigned here, queued for the edges that hold the target."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from central import withoutedge
from central.auth import json_answer
from central.cases import orders as cases
from central.conn import Conn
from central.deliveries import queue
from central.doors import Door, asker, door
from central.errors import CentralError
from central.incidents import bulk
from central.openapi import answers, bodies
from central.people import complete, expiry, keep_opening
from central.problems import field, object_body
from central.progress import progress
from central.receipts import receipt_answer
from central.restored import waiting
from central.state import CENTRAL, NO_EDGE, Central
from formats import canonical
from formats.errors import FormatError
from formats.ids import is_id
from formats.orders import (
    OrderClaims,
    PolicyContent,
    VerifiedOrder,
    content_as,
    countersign_order,
    demanded,
    order_sha256,
    read_order,
    sign_order,
    verify_order,
)
from formats.orders.claims import check
from formats.roles import Role


def doors() -> list[Door]:
    """Draft, submit, look."""
    return [
        door(
            "POST",
            "/v1/orders/draft",
            post_draft,
            "dpo",
            "Claims of an order, to be signed by people; nothing is stored.",
            body=bodies.DraftBody,
            answer=answers.Draft,
            problems=(404,),
        ),
        door(
            "POST",
            "/v1/orders",
            post_order,
            "dpo",
            "Submit a signed order; it is queued for the edges that hold the target.",
            status=202,
            body=bodies.OrderBody,
            answer=answers.OrderState,
            problems=(404,),
        ),
        door(
            "GET",
            "/v1/orders/{jti}",
            get_order,
            "dpo auditor",
            "An order with its deliveries and receipts.",
            answer=answers.OrderState,
        ),
    ]


async def post_draft(request: web.Request) -> web.Response:
    """Administrator: `{cmd, target: {kind, id}, reason, case_ref?, as_of?, located?, exclude?, exported_to?, content?}` →
    `{claims}`, to be shown and signed by a person.

    Nothing is stored: an order exists once somebody signed it.
    """
    body = object_body(asker(request).body)
    central = request.app[CENTRAL]
    target = field(body, "target", dict)
    now = central.now()
    claims = {
        "iss": central.config.fleet,
        "jti": secrets.token_hex(16),
        "iat": now,
        "fleet": central.config.fleet,
        "cmd": field(body, "cmd"),
        "target": {"kind": field(target, "kind"), "id": field(target, "id", longest=200)},
        "as_of": field(body, "as_of", optional=True) or now,
        "reason": field(body, "reason", longest=1000),
        "case_ref": field(body, "case_ref", optional=True, longest=200),
        "located": field(body, "located", optional=True),
        "exclude": body.get("exclude") or [],
        "exported_to": field(body, "exported_to", optional=True, longest=500),
        "content": body.get("content") or {},
    }
    try:
        value = msgspec.convert(claims, OrderClaims)
        check(value)
    except (msgspec.ValidationError, FormatError) as error:
        raise CentralError("command.malformed", str(error), where="body") from error
    edges = await central.db.run(lambda conn: _edges(conn, value))
    return json_answer({"claims": msgspec.to_builtins(value), "edges": edges})


async def post_order(request: web.Request) -> web.Response:
    """Administrator: `{order: <General JWS>}` with the people's signatures, or `{claims}` where the store alone signs;
    an order about a person with its `opening`.

    202 with `{jti, order_sha256, deliveries}`; the same order again is answered the same, without a new delivery.
    """
    body = object_body(asker(request).body)
    central = request.app[CENTRAL]
    if "claims" in body:
        document, claims = _sign_alone(central, field(body, "claims", dict))
    else:
        document = field(body, "order", dict)
        claims = None
    opening, alone = body.get("opening"), claims is not None
    answer = await central.db.run(lambda conn: _submit(central, conn, document, opening, alone=alone))
    for delivery in answer["deliveries"]:
        central.ring(delivery["edge_id"])
    return json_answer(answer, 202)


def _demands(claims: OrderClaims) -> Sequence[Counter[Role]]:
    """The people's signatures that must be there before the store adds its own."""
    store: Counter[Role] = Counter({"store": 1})
    return [demand - store for demand in demanded(claims.cmd, claims.target.kind)]


def _sign_alone(central: Central, body: dict[str, Any]) -> tuple[dict[str, Any], OrderClaims]:
    try:
        claims = msgspec.convert(body, OrderClaims)
        if all(_demands(claims)):
            raise CentralError(
                "auth.count",
                f"{claims.cmd} needs a person's signature",
                status=403,
                where="claims",
                hint="sign the draft with a registered key and submit it as `order`",
            )
        return sign_order(claims, [central.store]), claims
    except (msgspec.ValidationError, FormatError) as error:
        raise CentralError("command.malformed", str(error), where="claims") from error


def _check(central: Central, conn: Conn, document: dict[str, Any], *, alone: bool) -> VerifiedOrder:
    now, fleet = central.now(), central.config.fleet
    try:
        required = None if alone else _demands(read_order(document))
        with contextlib.suppress(FormatError):  # people sign orders: ten thousand edges' keys need not be read
            return verify_order(document, central.keys(conn, NO_EDGE), now=now, fleet=fleet, required=required)
        return verify_order(document, central.keys(conn), now=now, fleet=fleet, required=required)
    except FormatError as error:
        status = 403 if error.code.startswith("auth.") else 400
        raise CentralError(error.code, error.message, status=status, where="order") from error


def _submit(central: Central, conn: Conn, document: dict[str, Any], opening: object, *, alone: bool) -> dict[str, Any]:
    """Job: verify, countersign, store, queue: one transaction."""
    verified = _check(central, conn, document, alone=alone)
    claims = verified.claims
    known = conn.execute("SELECT jws FROM orders WHERE jti=?", (claims.jti,)).fetchone()
    if known is not None:
        if read_order(known["jws"]) != claims:
            raise CentralError("command.jti", "another order has this jti", status=409, where="jti")
        told = _order_answer(conn, claims.jti, central.now())
        return (
            told | {"receipts": []} if waiting(conn) else told
        )  # as `central.restored.gate`; the order itself is welcome
    case = cases.admit(conn, claims)
    slot = keep_opening(central, claims, opening)
    if not alone and any("store" in demand for demand in demanded(claims.cmd, claims.target.kind)):
        document = countersign_order(document, central.store)
    edges = _edges(conn, claims)
    now = central.now()
    text = canonical.dumps(document).decode()
    conn.execute(
        "INSERT INTO orders(jti, cmd, target_kind, target, jws, sha256, signed_by, at, opening_slot)"
        " VALUES (?,?,?,?,?,?,?,?,?)",
        (
            claims.jti,
            claims.cmd,
            claims.target.kind,
            claims.target.id,
            text,
            order_sha256(document),
            canonical.dumps([one.kid for one in verified.signers]).decode(),
            now,
            slot,
        ),
    )
    for edge_id in edges:
        queue(conn, central.store, edge_id, claims.jti, document, now, expiry(claims))
        withoutedge.destroy(central, conn, edge_id, claims.jti)
    if case is not None:
        cases.note(central, conn, case, claims)
    if claims.cmd == "erase" and claims.target.kind == "policy":  # who signed it may not have meant all of it
        central.alarm(conn, "", "order.bulk", f"order {claims.jti} erases every recording of a policy")
    bulk.ordered(central, conn, verified)
    central.log.append(
        conn,
        now,
        "order.issued",
        {
            "jti": claims.jti,
            "cmd": claims.cmd,
            "order_sha256": order_sha256(document),
            "edges": len(edges),
            "signed_by": [one.kid for one in verified.signers],
        },
    )
    return _order_answer(conn, claims.jti, now)


def _edges(conn: Conn, claims: OrderClaims) -> list[str]:
    """The edges that an order is for: those it names, or that hold its target; also revoked ones, whose delivery nobody fetches:
    it is what names them in progress and certificate. Raises CentralError not_found.* (404)."""
    target = claims.target
    if claims.cmd == "policy" and (named := content_as(claims.content, PolicyContent).edges):
        for edge_id in named:
            if not conn.execute("SELECT 1 FROM edge WHERE edge_id=?", (edge_id,)).fetchone():
                raise CentralError("not_found.edge", "no such edge", status=404, where=edge_id[:64])
        return sorted(named)
    if target.kind in ("recording", "call"):
        table, column = target.kind, f"{target.kind}_id"
        row = conn.execute(f"SELECT edge_id FROM {table} WHERE {column}=?", (target.id,)).fetchone()  # noqa: S608
        if row is None:
            raise CentralError(
                f"not_found.{table}",
                f"no edge reported such a {table}",
                status=404,
                where=target.id,
                hint="an edge that is cut off reports late; look at `callwarden central recordings`",
            )
        return [row["edge_id"]]
    if target.kind in ("order", "hold"):  # a hold by order has its order's number; others are looked for everywhere
        rows = conn.execute("SELECT edge_id FROM delivery WHERE jti=? ORDER BY edge_id", (target.id,)).fetchall()
        if not rows and target.kind == "order":
            raise CentralError("not_found.order", "no such order", status=404, where=target.id)
        if rows:
            return sorted({row["edge_id"] for row in rows})
    if target.kind == "edge":
        if not conn.execute("SELECT 1 FROM edge WHERE edge_id=?", (target.id,)).fetchone():
            raise CentralError("not_found.edge", "no such edge", status=404, where=target.id)
        return [target.id]
    return [row[0] for row in conn.execute("SELECT edge_id FROM edge ORDER BY edge_id")]


def _order_answer(conn: Conn, jti: str, now: str) -> dict[str, Any]:
    order = conn.execute("SELECT * FROM orders WHERE jti=?", (jti,)).fetchone()
    deliveries = conn.execute("SELECT edge_id, seq FROM delivery WHERE jti=? ORDER BY edge_id", (jti,)).fetchall()
    receipts = conn.execute("SELECT * FROM receipt WHERE jti=? ORDER BY edge_id, n", (jti,)).fetchall()
    return {
        "jti": jti,
        "cmd": order["cmd"],
        "target": {"kind": order["target_kind"], "id": order["target"]},
        "at": order["at"],
        "order": canonical.loads(order["jws"]),
        "order_sha256": order["sha256"],
        "deliveries": [dict(row) for row in deliveries],
        "receipts": [receipt_answer(conn, row) for row in receipts],
        "complete": complete(conn, jti, now),
        "progress": progress(conn, jti, now),
    }


async def get_order(request: web.Request) -> web.Response:
    """Administrator: an order with its deliveries and receipts; `complete` when every edge gave its last word, or may take it no more."""
    central, jti = request.app[CENTRAL], request.match_info["jti"]

    def job(conn: Conn) -> dict[str, Any]:
        if not is_id(jti) or conn.execute("SELECT 1 FROM orders WHERE jti=?", (jti,)).fetchone() is None:
            raise CentralError("not_found.order", "no such order", status=404, where=jti[:64])
        return _order_answer(conn, jti, central.now())

    return json_answer(await central.db.run(job))
