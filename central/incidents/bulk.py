"""Many recordings, each erased by an order of its own: no order is large, together they are a bulk deletion (docs/incidents.md).

What a key's orders name is written down until it is old, or until it was said: the count begins anew then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.conn import Conn
from central.incidents.clock import EPISODE
from formats.ids import format_time
from formats.orders import VerifiedOrder

if TYPE_CHECKING:
    from central.state import Central

#: An edge bounds orders about many calls by the larger of these (`[erasure] daily_free`, `daily_share`, as they are unless
#: changed): recordings, and percent of those it has.
FREE: Final = 20
SHARE: Final = 10
#: Of an edge what is not erased, from both sides of that word in the index: what is erased may be millions, and is not looked through.
HAS: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM recording WHERE edge_id=? AND state<'erased'"
    " UNION ALL SELECT 1 FROM recording WHERE edge_id=? AND state>'erased' LIMIT ?) AS bounded"
)


def passes(of_edge: int, had: int, everywhere: int, most: int) -> bool:
    """Whether one key's orders of a day are a bulk deletion. of_edge: recordings named of one edge; had: recordings of that
    edge; everywhere: recordings named of all edges; most: `[central] bulk_erasures`."""
    return everywhere > most or of_edge > max(FREE, had * SHARE // 100)


def ordered(central: Central, conn: Conn, order: VerifiedOrder) -> None:
    """Job: an order was stored. Where it erases one recording or call, and those of its signer within 24 hours come to a bulk
    deletion, alarm `order.many`, once for all that were counted."""
    claims = order.claims
    if claims.cmd != "erase" or claims.target.kind not in ("recording", "call"):
        return
    conn.exclusive("log")  # an order is an entry of the log anyway; two that come at once see each other
    column = "recording_id" if claims.target.kind == "recording" else "call_id"
    named = conn.execute(
        f"SELECT recording_id, edge_id FROM recording WHERE {column}=? AND state<>'erased'",  # noqa: S608 - a word of ours
        (claims.target.id,),
    ).fetchall()
    now = central.now()
    conn.execute("DELETE FROM bulk_named WHERE at<?", (format_time(central.wall() - EPISODE),))
    for kid in sorted(signer.kid for signer in order.signers if signer.role != "store"):
        conn.executemany(
            "INSERT INTO bulk_named(kid, recording_id, edge_id, at) VALUES (?,?,?,?) ON CONFLICT(kid, recording_id) DO NOTHING",
            [(kid, row["recording_id"], row["edge_id"], now) for row in named],
        )
        for edge_id in sorted({row["edge_id"] for row in named}):
            _judge(central, conn, kid, edge_id, claims.jti)


def _judge(central: Central, conn: Conn, kid: str, edge_id: str, jti: str) -> None:
    everywhere = int(conn.execute("SELECT count(*) FROM bulk_named WHERE kid=?", (kid,)).fetchone()[0])
    query = "SELECT count(*) FROM bulk_named WHERE kid=? AND edge_id=?"
    of_edge = int(conn.execute(query, (kid, edge_id)).fetchone()[0])
    most = central.config.bulk_erasures
    # What the edge has is counted only where nothing else decides.
    counts = everywhere <= most and of_edge > FREE
    had = _had(conn, kid, edge_id, (of_edge + 1) * 100 // SHARE) if counts else 0
    if not passes(of_edge, had, everywhere, most):
        return
    conn.execute("DELETE FROM bulk_named WHERE kid=?", (kid,))
    central.alarm(
        conn,
        "",
        "order.many",
        f"orders signed by the key {kid[:16]} named {everywhere} recordings within 24 hours, {of_edge} of them of {edge_id};"
        f" the last is order {jti}",
    )


def _had(conn: Conn, kid: str, edge_id: str, most: int) -> int:
    """Recordings that an edge has, and had before a key's orders; counted no further than `most`, an edge may have millions."""
    has = int(conn.execute(HAS, (edge_id, edge_id, most)).fetchone()[0])
    query = (
        "SELECT count(*) FROM bulk_named b JOIN recording r ON r.recording_id=b.recording_id"
        " WHERE b.kid=? AND b.edge_id=? AND r.state='erased'"
    )
    return has + int(conn.execute(query, (kid, edge_id)).fetchone()[0])
