"""What people carry between central and an edge that is cut off: orders there, receipts back; and numbers that are given up."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.deliveries import queue
from central.doors import Door, asker, door, taken
from central.errors import CentralError
from central.openapi import answers, bodies
from central.people import expiry, is_over, opening_of
from central.receipts import take
from central.state import CENTRAL, Central
from formats import canonical
from formats.errors import FormatError
from formats.ids import is_id
from formats.orders import read_order, read_receipt, sign_void

#: Of a file that holds an order, as `callwarden order apply` reads it.
FILE_TYPE = "callwarden-order-file/v1"


def doors() -> list[Door]:
    """Orders out, receipts in, deliveries voided."""
    return [
        door(
            "GET",
            "/v1/orders/{jti}/file",
            get_file,
            "dpo",
            "An order with what an edge needs of it, to be carried by hand.",
            answer=answers.OrderFile,
        ),
        door(
            "POST",
            "/v1/receipts",
            post_carried,
            "dpo",
            "Receipts of an edge that somebody carried here.",
            body=bodies.CarriedReceipts,
            answer=answers.Carried,
            problems=(404,),
        ),
        door(
            "POST",
            "/v1/edges/{edge_id}/deliveries/{seq}/void",
            post_void,
            "ops dpo",
            "Give up a delivery's number; its order is delivered anew under the next one while it may be taken.",
            body=bodies.VoidBody,
            answer=answers.Voided,
        ),
    ]


async def get_file(request: web.Request) -> web.Response:
    """An order as a file. It leaves with the number of the person it is about, so that is logged with who asked."""
    central, jti, who = request.app[CENTRAL], request.match_info["jti"], asker(request).label

    def job(conn: Conn) -> dict[str, Any]:
        row = (
            conn.execute("SELECT jws, opening_slot FROM orders WHERE jti=?", (jti,)).fetchone() if is_id(jti) else None
        )
        if row is None:
            raise CentralError("not_found.order", "no such order", status=404, where=jti[:64])
        opening = opening_of(central, row["opening_slot"])
        central.log.append(conn, central.now(), "order.carried", {"jti": jti, "by": who, "person": opening is not None})
        return {"type": FILE_TYPE, "order": canonical.loads(row["jws"]), "opening": opening}

    return json_answer(await central.db.run(job))


async def post_carried(request: web.Request) -> web.Response:
    """Receipts, judged as those that the edge sends itself: by its signature, and by the order they answer."""
    central, who, body = request.app[CENTRAL], asker(request).label, taken(request, bodies.CarriedReceipts)

    def job(conn: Conn) -> dict[str, Any]:
        if conn.execute("SELECT 1 FROM edge WHERE edge_id=?", (body.edge_id,)).fetchone() is None:
            raise CentralError("not_found.edge", "no such edge", status=404, where=body.edge_id)
        conn.exclusive(f"edge:{body.edge_id}")
        keys = central.keys(conn)
        results = []
        for jws in body.receipts:
            try:
                if read_receipt(jws).edge_id != body.edge_id:
                    raise CentralError("receipt.edge", "the receipt is another edge's")
                results.append(take(central, conn, body.edge_id, keys, jws))
            except (CentralError, FormatError) as error:
                if isinstance(error, CentralError) and error.status >= 500:
                    raise
                results.append(f"rejected:{error.code}")
        facts = {"edge_id": body.edge_id, "by": who, "accepted": results.count("accepted"), "of": len(results)}
        central.log.append(conn, central.now(), "receipts.carried", facts)
        return {"results": results}

    return json_answer(await central.db.run(job))


async def post_void(request: web.Request) -> web.Response:
    """Give up a number that an edge cannot get past. Nothing is lost by it: the order goes again."""
    central, who = request.app[CENTRAL], asker(request).label
    edge_id, text = request.match_info["edge_id"], request.match_info["seq"]
    reason = taken(request, bodies.VoidBody).reason
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise CentralError("not_found.delivery", "no such delivery", status=404, where=text[:64])
    answer = await central.db.run(lambda conn: _void(central, conn, edge_id, int(text), {"reason": reason, "by": who}))
    central.ring(edge_id)
    return json_answer(answer)


def _void(central: Central, conn: Conn, edge_id: str, seq: int, why: dict[str, str]) -> dict[str, Any]:
    """Job: one transaction."""
    conn.exclusive(f"edge:{edge_id}")
    row = conn.execute(
        "SELECT d.jti, o.jws FROM delivery d LEFT JOIN orders o ON o.jti=d.jti WHERE d.edge_id=? AND d.seq=?",
        (edge_id, seq),
    ).fetchone()
    if row is None:
        raise CentralError("not_found.delivery", "no such delivery", status=404, where=f"{edge_id}/{seq}")
    now, again = central.now(), None
    void = sign_void(central.store, aud=edge_id, seq=seq)
    if row["jti"] is not None and not is_over(claims := read_order(row["jws"]), now):
        again = queue(conn, central.store, edge_id, claims.jti, canonical.loads(row["jws"]), now, expiry(claims))
        conn.execute("UPDATE delivery SET jws=?, jti=NULL WHERE edge_id=? AND seq=?", (void, edge_id, seq))
    else:  # whoever was to get it is still counted
        conn.execute("UPDATE delivery SET jws=? WHERE edge_id=? AND seq=?", (void, edge_id, seq))
    facts = {"edge_id": edge_id, "seq": seq, "jti": row["jti"], "again": again, **why}
    central.log.append(conn, now, "delivery.voided", facts)
    return {"edge_id": edge_id, "seq": seq, "again": again}
