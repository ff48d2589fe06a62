"""Receipts from edges: verified, stored once, and read as documents that prove themselves."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import EdgeRequest, edge_request, json_answer
from central.conn import Conn, Row
from central.doors import Door, door
from central.errors import CentralError
from central.hooks import facts
from central.keeper import shred
from central.openapi import answers, bodies, edge_answers
from central.people import wipe
from central.problems import field, object_body, query_int
from central.state import CENTRAL, Central
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.orders import ground_of, receipt_document, verify_receipt

MAX_RECEIPTS = 200


def doors() -> list[Door]:
    """In from edges, out to administrators."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/receipts",
            post_receipts,
            "edge",
            "Receipts of orders.",
            body=bodies.ReceiptsBody,
            answer=edge_answers.ReceiptResults,
        ),
        door(
            "GET",
            "/v1/edges/{edge_id}/receipts",
            get_own_receipts,
            "edge",
            "Receipts this edge signed.",
            query=("after",),
            answer=edge_answers.OwnReceiptList,
        ),
        door(
            "GET",
            "/v1/receipts",
            get_receipts,
            "dpo auditor",
            "Receipts, oldest first.",
            query=("after", "limit", "jti", "recording_id"),
            answer=answers.ReceiptList,
        ),
        door("GET", "/v1/receipts/{receipt_id}", get_receipt, "dpo auditor", "One receipt.", answer=answers.Receipt),
    ]


async def post_receipts(request: web.Request) -> web.Response:
    """Edge: `{receipts: [{receipt_id, jti, n, result, jws}]}` → `{results: {receipt_id: status}}`."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    items = field(object_body(asked.body), "receipts", list)
    if len(items) > MAX_RECEIPTS or not all(isinstance(one, dict) for one in items):
        raise CentralError("usage.field", f"at most {MAX_RECEIPTS} objects", where="receipts")

    def job(conn: Conn) -> dict[str, str]:
        conn.exclusive(f"edge:{asked.edge_id}")
        results = {}
        for item in items:
            receipt_id = field(item, "receipt_id", longest=64)
            try:
                results[receipt_id] = _take(central, conn, asked, item)
            except (CentralError, FormatError) as error:
                if isinstance(error, CentralError) and error.status >= 500:
                    raise  # our disk's fault is no verdict on a receipt
                results[receipt_id] = f"rejected:{error.code}"
        return results

    return json_answer({"results": await central.db.run(job)})


def _take(central: Central, conn: Conn, asked: EdgeRequest, item: dict[str, Any]) -> str:
    jws = field(item, "jws", longest=512 * 1024)
    claims, _ = verify_receipt(jws, asked.keys)
    named = (item.get("receipt_id"), item.get("jti"), item.get("n"), item.get("result"))
    if named != (claims.receipt_id, claims.jti, claims.n, claims.result):
        raise CentralError("receipt.mismatch", "the receipt's envelope and its claims differ")
    return take(central, conn, asked.edge_id, asked.keys, jws)


def take(central: Central, conn: Conn, edge_id: str, keys: KeySet, jws: str) -> str:
    """Job: store a receipt of an edge, however it came: `accepted` or `duplicate`. Raises FormatError, CentralError receipt.*"""
    claims, _ = verify_receipt(jws, keys)
    known = conn.execute("SELECT jws FROM receipt WHERE receipt_id=?", (claims.receipt_id,)).fetchone()
    if known is not None:
        if known["jws"] != jws:
            raise CentralError("receipt.changed", "another receipt has this id")
        wipe(central, conn, claims.jti)
        return "duplicate"
    if conn.execute(
        "SELECT 1 FROM receipt WHERE edge_id=? AND jti=? AND n=?", (edge_id, claims.jti, claims.n)
    ).fetchone():
        raise CentralError("receipt.number", "this order has another receipt with this number")
    ground = ground_of(claims.evidence)
    if ground is not None and (ground.jti, ground.sha256) != (claims.jti, claims.order_sha256):
        raise CentralError("receipt.ground", "the receipt is about something else than the ground it names")
    order = conn.execute("SELECT sha256 FROM orders WHERE jti=?", (claims.jti,)).fetchone()
    if order is not None and order["sha256"] != claims.order_sha256:
        raise CentralError("receipt.order", "the receipt answers another order than the one issued under its jti")
    now = central.now()
    conn.execute(
        "INSERT INTO receipt(receipt_id, edge_id, jti, n, result, recording_id, jws, received_at)"
        " VALUES (?,?,?,?,?,?,?,?)",
        (claims.receipt_id, edge_id, claims.jti, claims.n, claims.result, claims.recording_id, jws, now),
    )
    central.log.append(
        conn,
        now,
        "receipt.stored",
        {
            "receipt_id": claims.receipt_id,
            "edge_id": edge_id,
            "jti": claims.jti,
            "n": claims.n,
            "result": claims.result,
        },
    )
    facts.receipt(central, conn, claims, edge_id)
    if claims.result == "not_found":
        _destroy_own_copy(central, conn, edge_id, claims.jti)
    wipe(central, conn, claims.jti)
    return "accepted"


def _destroy_own_copy(central: Central, conn: Conn, edge_id: str, jti: str) -> None:
    """Job: the edge has no such recording, and somebody ordered that it be erased: its keys here are what is left of it.

    So it is after an edge was put back from a backup that is older than the recording; it has lost the recording's holds too. What
    was held as far as is known here stays, with an alarm: whoever may, releases it and orders anew.
    """
    order = conn.execute("SELECT cmd, target_kind, target FROM orders WHERE jti=?", (jti,)).fetchone()
    if order is None or order["cmd"] != "erase" or order["target_kind"] not in ("recording", "call"):
        return
    column = "recording_id" if order["target_kind"] == "recording" else "call_id"
    query = f"SELECT recording_id, call_id, state FROM recording WHERE edge_id=? AND {column}=?"  # noqa: S608 - a word of ours
    rows = conn.execute(query, (edge_id, order["target"])).fetchall()
    here = [row for row in rows if row["state"] != "erased"]
    targets = {str(row[name]) for row in here for name in ("recording_id", "call_id")}
    if (here and _put_off(conn, edge_id, jti)) or any(_held(conn, edge_id, one) for one in sorted(targets)):
        what = (
            f"order {jti} is to erase {order['target_kind']} {order['target']}, which was held; the edge has it no more"
        )
        central.alarm(conn, edge_id, "erase.held_copy", f"{what}, and central keeps its keys", order["target"])
        return
    for row in rows:
        shred(central, conn, edge_id, row["recording_id"], jti)
        conn.execute("UPDATE recording SET state='erased' WHERE recording_id=?", (row["recording_id"],))


def _put_off(conn: Conn, edge_id: str, jti: str) -> bool:
    """Whether the edge said that something holds what an order is to erase."""
    query = "SELECT 1 FROM receipt WHERE jti=? AND edge_id=? AND result='deferred'"
    return conn.execute(query, (jti, edge_id)).fetchone() is not None


def _held(conn: Conn, edge_id: str, target: str) -> bool:
    """Whether a hold by order of a recording or call was in force at the edge, and no release of it was answered: with
    `not_found` by an edge that lost the hold."""
    query = (
        "SELECT 1 FROM orders o JOIN receipt r ON r.jti=o.jti AND r.edge_id=? AND r.result='done' WHERE o.cmd='hold'"
        " AND o.target_kind IN ('recording','call') AND o.target=? AND NOT EXISTS (SELECT 1 FROM orders f JOIN receipt s"
        " ON s.jti=f.jti AND s.edge_id=r.edge_id AND s.result IN ('done','already','not_found')"
        " WHERE f.cmd='release' AND f.target=o.jti)"
    )
    return conn.execute(query, (edge_id, target)).fetchone() is not None


def receipt_answer(conn: Conn, row: Row) -> dict[str, Any]:
    """A stored receipt with its self-proving `document` (null when it answers an order that is not known here)."""
    order = conn.execute("SELECT jws FROM orders WHERE jti=?", (row["jti"],)).fetchone()
    document = receipt_document(row["jws"], None if order is None else order["jws"])
    proves = order is not None or ground_of(document["claims"]["evidence"]) is not None
    return {
        "receipt_id": row["receipt_id"],
        "edge_id": row["edge_id"],
        "jti": row["jti"],
        "n": row["n"],
        "result": row["result"],
        "recording_id": row["recording_id"],
        "received_at": row["received_at"],
        "document": document if proves else None,
    }


async def get_own_receipts(request: web.Request) -> web.Response:
    """Edge: the receipts it signed, `?after=` as for tombstones: a journal put back from a backup lacks the newest."""
    central = request.app[CENTRAL]
    edge_id = (await edge_request(request)).edge_id
    after = query_int(request, "after", 0)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute(
            "SELECT seq, receipt_id, jti, n, result, jws FROM receipt WHERE edge_id=? AND seq>? ORDER BY seq LIMIT ?",
            (edge_id, after, MAX_RECEIPTS),
        )
        return [dict(row) for row in rows]

    found = await central.db.run(job)
    return json_answer({"receipts": found, "last": found[-1]["seq"] if found else after})


async def get_receipts(request: web.Request) -> web.Response:
    """Administrator: receipts, oldest first, optionally `?jti=` `?recording_id=`."""
    after, limit = query_int(request, "after", 0), query_int(request, "limit", 1000, low=1, high=1000)
    jti, recording_id = request.query.get("jti"), request.query.get("recording_id")

    def job(conn: Conn) -> list[dict[str, Any]]:
        wanted = [("jti=?", jti), ("recording_id=?", recording_id)]
        where = " AND ".join(["seq>?", *(words for words, value in wanted if value is not None)])
        values = [value for _, value in wanted if value is not None]
        query = f"SELECT * FROM receipt WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - words of ours, values bound
        rows = conn.execute(query, (after, *values, limit)).fetchall()
        return [receipt_answer(conn, row) | {"seq": row["seq"]} for row in rows]

    return json_answer({"receipts": await request.app[CENTRAL].db.run(job)})


async def get_receipt(request: web.Request) -> web.Response:
    """Administrator: one receipt."""
    receipt_id = request.match_info["receipt_id"]

    def job(conn: Conn) -> dict[str, Any]:
        row = conn.execute("SELECT * FROM receipt WHERE receipt_id=?", (receipt_id,)).fetchone()
        if row is None:
            raise CentralError("not_found.receipt", "no such receipt", status=404, where=receipt_id[:64])
        return receipt_answer(conn, row)

    return json_answer(await request.app[CENTRAL].db.run(job))
