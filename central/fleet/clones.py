"""Two journals that speak as one edge are noticed by their events: a number that was used for another one."""

from __future__ import annotations

from central.conn import Conn
from central.fleet.judge import CLONED
from central.state import Central


def two_streams(central: Central, conn: Conn, edge_id: str, incarnation: int) -> None:
    """Job: alarm, once for each incarnation: such a stream never becomes one again, and the edge repeats itself."""
    message = (
        f"two streams of events come under its name and the incarnation {incarnation:012x}: a copy of its journal runs"
    )
    found = (edge_id, CLONED, message)
    if not conn.execute("SELECT 1 FROM alarm WHERE edge_id=? AND code=? AND message=?", found).fetchone():
        central.alarm(conn, *found)
