"""What one process of central remembers of its edges: their keys for a few seconds, and when it heard of them last.

Without it each signed request would be two transactions before anything is done.
"""

from __future__ import annotations

import time
from typing import Final

from central.conn import Conn
from central.db import Database
from formats import canonical
from formats.keys import VerifyKey
from formats.keyset import KeySet, entry

#: How long a key is believed without being looked up, seconds: a key that is taken back stops working within this time.
BELIEVED_S: Final = 5.0
#: How often `last_seen_at` is written, seconds.
WRITTEN_S: Final = 5.0


class EdgeBook:
    """Belongs to the event loop. `database` is asked for what is not remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: dict[str, tuple[float, KeySet]] = {}
        self._seen: dict[str, str] = {}

    async def keys(self, edge_id: str) -> KeySet | None:
        """The key set of one edge; None when no such edge is enrolled (which is never remembered)."""
        known = self._keys.get(edge_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]

        def job(conn: Conn) -> str | None:
            row = conn.execute("SELECT jwk FROM edge WHERE edge_id=?", (edge_id,)).fetchone()
            return None if row is None else str(row["jwk"])

        jwk = await self._database.run(job)
        if jwk is None:
            self._keys.pop(edge_id, None)
            return None
        keys = edge_keys(edge_id, VerifyKey.from_jwk(canonical.loads(jwk)))
        self._keys[edge_id] = (time.monotonic() + BELIEVED_S, keys)
        return keys

    def saw(self, edge_id: str, at: str) -> None:
        """It proved itself at this time."""
        self._seen[edge_id] = at

    async def write(self) -> None:
        """Put what was seen into the database. Raises CentralError central.database: it is kept for the next time."""
        if not self._seen:
            return
        seen = dict(self._seen)
        rows = [(at, edge_id) for edge_id, at in sorted(seen.items())]
        await self._database.run(lambda conn: conn.executemany("UPDATE edge SET last_seen_at=? WHERE edge_id=?", rows))
        for edge_id, at in seen.items():
            if self._seen.get(edge_id) == at:
                del self._seen[edge_id]


def edge_keys(edge_id: str, key: VerifyKey) -> KeySet:
    """The key set of one edge."""
    return KeySet.of([entry(key, "edge", edge_id, edge_id=edge_id)])
