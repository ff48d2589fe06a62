"""What a sweep takes away under no row is claimed first: nobody uploads it meanwhile, in any process of this central.

Order: a claim, in the commit that finds no row (or drops it); the bytes go; the claim goes. A kill or a failed removal between leaves
a claim. Once it is older than any removal takes it is lost: uploads begin again, and no sweep claims anew until it is forgotten, so that
what cannot be removed keeps nobody away for ever. What is left lies under no row.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from central.conn import Conn
from formats.ids import format_time

#: A removal under a claim ends within this, seconds; a claim that is older by far is of a sweep that was
#: killed, or whose removal failed. All processes are on one host, with one clock.
REMOVAL_S: Final = 600.0
LOST_S: Final = 3000.0
#: So long behind that no sweep of any process claims the same, and uploads come, seconds: an edge tries every minute.
REST_S: Final = 3000.0


def claim(conn: Conn, edge_id: str, sha512: str, now: datetime) -> str | None:
    """The claim's time where no row is there and nobody else has one; None otherwise."""
    conn.exclusive(f"edge:{edge_id}")
    if conn.execute("SELECT 1 FROM media WHERE edge_id=? AND sha512=?", (edge_id, sha512)).fetchone() is not None:
        return None
    at = format_time(now)
    made = conn.execute(
        "INSERT INTO media_claim(edge_id, sha512, at) VALUES (?,?,?) ON CONFLICT(edge_id, sha512) DO NOTHING",
        (edge_id, sha512, at),
    )
    return at if made.rowcount == 1 else None


def claimed(conn: Conn, edge_id: str, sha512: str, now: datetime) -> bool:
    """Whether a sweep takes it away now."""
    wanted = (edge_id, sha512, format_time(now - timedelta(seconds=LOST_S)))
    query = "SELECT 1 FROM media_claim WHERE edge_id=? AND sha512=? AND at>?"
    return conn.execute(query, wanted).fetchone() is not None


def release(conn: Conn, edge_id: str, sha512: str, at: str) -> None:
    """What the claim was for is gone."""
    conn.execute("DELETE FROM media_claim WHERE edge_id=? AND sha512=? AND at=?", (edge_id, sha512, at))


def forget_lost(conn: Conn, now: datetime) -> None:
    """No sweep works under these any more, and uploads had their turn: they may be claimed anew."""
    conn.execute("DELETE FROM media_claim WHERE at<=?", (format_time(now - timedelta(seconds=LOST_S + REST_S)),))
