"""Deliveries: numbered per edge, fetched by long-poll, asked again from any number on."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from central.auth import answered, edge_request, json_answer
from central.conn import Conn, Row
from central.doors import Door, door
from central.edgebook import check_standing, confirm
from central.errors import CentralError
from central.openapi import edge_answers
from central.people import expiry, opening_of
from central.problems import query_int
from central.restored import asked_of, first_poll, marks
from central.state import CENTRAL, Central
from formats import canonical
from formats.keys import SigningKey
from formats.orders import read_order, sign_delivery, sign_void

#: Deliveries in one answer, and bytes of them (one at least goes): an edge reads no answer beyond 16 MiB.
PAGE = 100
PAGE_BYTES = 4 * 1024 * 1024
#: More numbers than this no backup has missed; an edge that claims so is not believed.
MAX_LOST = 1_000_000


def doors() -> list[Door]:
    """The long-poll."""
    return [
        door(
            "GET",
            "/v1/edges/{edge_id}/deliveries",
            get_deliveries,
            "edge",
            "Deliveries that follow a number; waits for one.",
            query=("after", "wait"),
            answer=edge_answers.DeliveryList,
        )
    ]


def queue(
    conn: Conn,
    store: SigningKey,
    edge_id: str,
    jti: str,
    order: dict[str, Any],
    now: str,
    exp: str | None,
) -> int:
    """Job: allocate the edge's next number and sign the delivery, inside the caller's transaction; the number."""
    (seq,) = conn.execute(
        "UPDATE edge SET last_delivery=last_delivery+1 WHERE edge_id=? RETURNING last_delivery", (edge_id,)
    ).fetchone()
    jws = sign_delivery(store, aud=edge_id, seq=seq, order=order, exp=exp)
    conn.execute(
        "INSERT INTO delivery(edge_id, seq, jti, jws, queued_at) VALUES (?,?,?,?,?)", (edge_id, seq, jti, jws, now)
    )
    return int(seq)


def _last(conn: Conn, edge_id: str) -> int:
    """The highest number this edge was given, before a restore of this database included."""
    (last,) = conn.execute("SELECT last_delivery FROM edge WHERE edge_id=?", (edge_id,)).fetchone()
    return int(last)


def _catch_up(central: Central, conn: Conn, edge_id: str, after: int) -> None:
    """Job: the edge has numbers that we never gave it, so this database was put back from a backup; or we know that it was.

    Those numbers are used up. Orders without a last answer that are to come under no number beyond `after` get new ones, since
    what we count as sent under an old number may be an order that the edge has never seen; a repeat does nothing there.
    Raises CentralError usage.query.
    """
    put_back = first_poll(conn, edge_id)
    if after <= (last := _last(conn, edge_id)) and not put_back:
        return
    if after - last > MAX_LOST:
        raise CentralError("usage.query", f"after is far beyond the last number, {last}", where="after")
    conn.exclusive(f"edge:{edge_id}")  # two polls of it may come at once
    query = "UPDATE edge SET last_delivery=? WHERE edge_id=? AND last_delivery<?"
    behind = conn.execute(query, (after, edge_id, after)).rowcount
    waiting = conn.execute(
        "SELECT o.jti, o.jws FROM delivery d JOIN orders o ON o.jti=d.jti WHERE d.edge_id=? AND NOT EXISTS (SELECT 1"
        " FROM receipt r WHERE r.jti=o.jti AND r.edge_id=d.edge_id AND r.result<>'deferred')"
        " GROUP BY o.jti, o.jws HAVING max(d.seq)<=? ORDER BY min(d.seq)",
        (edge_id, after),
    ).fetchall()
    for row in waiting:
        order = canonical.loads(row["jws"])
        queue(conn, central.store, edge_id, row["jti"], order, central.now(), expiry(read_order(order)))
    if behind:
        central.alarm(
            conn,
            edge_id,
            "delivery.rolled_back",
            f"the edge has deliveries up to {after}, this database up to {last}: it was restored from a backup",
        )


def _fill(central: Central, conn: Conn, edge_id: str, after: int) -> None:
    """Job: a number that was given out and is not on file was lost with a database that was put back: it is void, or the edge
    would ask for it for ever. Two restores bring that about: of this database, and of the edge's journal."""
    upto = min(_last(conn, edge_id), after + PAGE)  # before the look: what is given out meanwhile is not missing
    if upto <= after:
        return
    query = "SELECT seq FROM delivery WHERE edge_id=? AND seq>? AND seq<=?"
    missing = set(range(after + 1, upto + 1)) - {int(row[0]) for row in conn.execute(query, (edge_id, after, upto))}
    for seq in sorted(missing):
        conn.execute(
            "INSERT INTO delivery(edge_id, seq, jws, queued_at) VALUES (?,?,?,?) ON CONFLICT(edge_id, seq) DO NOTHING",
            (edge_id, seq, sign_void(central.store, aud=edge_id, seq=seq), central.now()),
        )


async def get_deliveries(request: web.Request) -> web.Response:
    """`?after=N&wait=S`: what follows N, at once when there is something, else after at most S seconds.
    `restored`: central was put back from a backup and asks for this edge's tombstones."""
    central = request.app[CENTRAL]
    asked = await edge_request(request, confirms=True)
    edge_id = asked.edge_id
    after = query_int(request, "after", 0)
    wait = min(float(query_int(request, "wait", 25, high=3600)), central.config.poll_max_s)
    end = asyncio.get_running_loop().time() + wait

    def quiet(conn: Conn) -> bool:
        """One look, which most polls end with: it has what it was given, and nothing was restored."""
        row = conn.execute(
            "SELECT e.state, e.kid, e.last_delivery, (SELECT count(*) FROM meta WHERE key IN (?,?)) AS marks,"
            " EXISTS(SELECT 1 FROM delivery d WHERE d.edge_id=e.edge_id AND d.seq>?) AS waits FROM edge e WHERE e.edge_id=?",
            (*marks(edge_id), after, edge_id),
        ).fetchone()
        confirm(asked.known, row)
        return row["last_delivery"] == after and not row["waits"] and not row["marks"]

    def job(conn: Conn) -> tuple[list[dict[str, Any]], int, str | None]:
        # Since the look it may have been revoked; nothing is handed over, or signed, to who was.
        confirm(asked.known, conn.execute("SELECT state, kid FROM edge WHERE edge_id=?", (edge_id,)).fetchone())
        _catch_up(central, conn, edge_id, after)
        _fill(central, conn, edge_id, after)
        rows = conn.execute(
            "SELECT d.seq, d.jws, o.opening_slot FROM delivery d LEFT JOIN orders o ON o.jti=d.jti"
            " WHERE d.edge_id=? AND d.seq>? ORDER BY d.seq LIMIT ?",
            (edge_id, after, PAGE),
        ).fetchall()
        return [_item(central, row) for row in _page(rows)], _last(conn, edge_id), asked_of(conn, edge_id)

    while True:
        bell = central.doorbell(edge_id)  # before the look, so that nothing queued in between is missed
        with answered(central, asked):
            nothing = await central.db.look(quiet)
            found, last, restore = ([], after, None) if nothing else await central.db.run(job)
        left = end - asyncio.get_running_loop().time()
        if found or restore or left <= 0 or central.closing.is_set():
            asks = {"restored": restore} if restore else {}
            return json_answer({"deliveries": found, "last": last, **asks})
        try:
            await asyncio.wait_for(bell.wait(), left)
        except TimeoutError:
            rung = bell.is_set()
        else:
            rung = True
        known = await central.edges.known(edge_id)
        check_standing(known.state if known else "revoked", edge_id)  # it may have been revoked while it waited
        if not rung:  # nothing was queued: no look more than the next poll's
            return json_answer({"deliveries": [], "last": last})


def _page(rows: list[Row]) -> list[Row]:
    """The first of them, as many as one answer may hold."""
    room = PAGE_BYTES
    for number, row in enumerate(rows):
        room -= len(row["jws"])
        if room < 0 and number:
            return rows[:number]
    return rows


def _item(central: Central, row: Row) -> dict[str, Any]:
    """A delivery, and beside it whom its order is about."""
    item = {"seq": row["seq"], "jws": row["jws"]}
    opening = opening_of(central, row["opening_slot"])
    return item if opening is None else {**item, "opening": opening}
