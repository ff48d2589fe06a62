"""How far an order is: at each edge, by the receipts that came, and whose last word is missing."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, door
from central.openapi import answers
from central.people import is_over
from central.problems import query_int
from central.state import CENTRAL
from formats.certificate_facts import is_last_word
from formats.orders import ReceiptClaims, read_order, read_receipt


def doors() -> list[Door]:
    """The list of orders."""
    return [
        door(
            "GET",
            "/v1/orders",
            get_orders,
            "dpo auditor",
            "Orders, newest first, with how far each is.",
            query=(Param("before", "only older ones: `next` of the page before"), "limit"),
            answer=answers.OrderList,
        ),
    ]


def progress(conn: Conn, jti: str, now: str) -> list[dict[str, Any]]:
    """Job: a row for each edge that the order was queued for (`central.openapi.answers.EdgeProgress`), by name."""
    order = conn.execute("SELECT cmd, target_kind, jws FROM orders WHERE jti=?", (jti,)).fetchone()
    kind = order["target_kind"] if order["cmd"] == "erase" else ""
    over = is_over(read_order(order["jws"]), now)
    rows = conn.execute(
        "SELECT d.edge_id, max(d.seq) AS seq, max(d.queued_at) AS queued_at, max(e.last_seen_at) AS last_seen_at,"
        " max(e.state) AS standing FROM delivery d JOIN edge e ON e.edge_id=d.edge_id WHERE d.jti=? GROUP BY d.edge_id ORDER BY d.edge_id",
        (jti,),
    ).fetchall()
    said: dict[str, list[ReceiptClaims]] = {}
    for row in conn.execute("SELECT edge_id, jws FROM receipt WHERE jti=? ORDER BY edge_id, n", (jti,)).fetchall():
        said.setdefault(row["edge_id"], []).append(read_receipt(row["jws"]))
    found = []
    for row in map(dict, rows):
        silent = "revoked" if row.pop("standing") == "revoked" else "over" if over else "silent"
        found.append(row | _of_edge(said.get(row["edge_id"], []), kind, silent))
    return found


def _of_edge(said: list[ReceiptClaims], kind: str, silent: str) -> dict[str, Any]:
    """silent: the state of an edge that said nothing; one that was revoked says no more, however far it was."""
    found: dict[str, Any] = {"calls": 0, "done": 0, "shred_at": None, "due_at": None}
    if not said:
        return found | {"state": silent, "result": None, "reason": None, "at": None}
    for one in said:
        evidence = one.evidence
        if one.result == "deferred" and isinstance(calls := evidence.get("calls"), int):
            found["calls"] += calls
        found["done"] += one.result == "done" and one.recording_id is not None
        for name in ("shred_at", "due_at"):
            if isinstance(text := evidence.get(name), str):
                found[name] = text
    last = said[-1]
    state = "answered" if is_last_word(last, kind) else "revoked" if silent == "revoked" else "under way"
    return found | {"state": state, "result": last.result, "reason": last.reason, "at": last.at}


def missing(rows: list[dict[str, Any]]) -> list[str]:
    """Edges of `progress` whose last word is not here and may still come."""
    return [str(one["edge_id"]) for one in rows if one["state"] in ("silent", "under way")]


async def get_orders(request: web.Request) -> web.Response:
    """Orders, newest first: `?before=` (time and number of the last one seen) `?limit=`."""
    central = request.app[CENTRAL]
    limit = query_int(request, "limit", 20, low=1, high=100)
    at, _, jti = request.query.get("before", "").partition("~")

    def job(conn: Conn) -> dict[str, Any]:
        where, values = ("WHERE at<? OR (at=? AND jti<?)", (at, at, jti)) if at else ("", ())
        query = f"SELECT jti, at FROM orders {where} ORDER BY at DESC, jti DESC LIMIT ?"  # noqa: S608 - our words
        rows = conn.execute(query, (*values, limit)).fetchall()
        more = f"{rows[-1]['at']}~{rows[-1]['jti']}" if len(rows) == limit else None
        return {"orders": [_line(conn, row["jti"], central.now()) for row in rows], "next": more}

    return json_answer(await central.db.run(job))


def _line(conn: Conn, jti: str, now: str) -> dict[str, Any]:
    order = conn.execute("SELECT cmd, target_kind, target, jws, at FROM orders WHERE jti=?", (jti,)).fetchone()
    claims, rows = read_order(order["jws"]), progress(conn, jti, now)
    return {
        "jti": jti,
        "cmd": order["cmd"],
        "target": {"kind": order["target_kind"], "id": order["target"]},
        "at": order["at"],
        "reason": claims.reason,
        "case_ref": claims.case_ref,
        "edges": len(rows),
        "answered": sum(one["state"] == "answered" for one in rows),
        "missing": missing(rows),
        "complete": not missing(rows),
    }
