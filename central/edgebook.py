"""What one process of central remembers of its edges: their keys and standing, and when it heard of them last.

Without it each signed request would be two transactions before anything is done. What is remembered is believed for a few
seconds; a request that looks into the database anyway has it confirmed there (`confirm`), however old it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from central.conn import Conn, Row
from central.db import Database
from central.errors import CentralError
from formats import canonical
from formats.keys import VerifyKey
from formats.keyset import KeyEntry, KeySet, entry

#: How long a key and a standing are believed without being looked up, seconds: a revocation is in effect within this time.
BELIEVED_S: Final = 5.0
#: How often `last_seen_at` is written, seconds.
WRITTEN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """An edge. state: `waiting` `enrolled` `revoked`. key: the one that signs its requests now; keys: that one first, and
    those it had before, with their dates: what they signed then still counts. filed: the rows that it was made of."""

    state: str
    key: KeySet
    keys: KeySet
    filed: tuple[tuple[Any, ...], ...]

    @property
    def kid(self) -> str:
        """The name of its present key."""
        return self.key.entries[0].kid


class EdgeBook:
    """Belongs to the event loop. `database` is asked for what is not remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Known]] = {}
        self._seen: dict[str, str] = {}

    async def known(self, edge_id: str) -> Known | None:
        """One edge; None when no such edge is enrolled (which is never remembered)."""
        remembered = self._known.get(edge_id)
        if remembered is not None and remembered[0] > time.monotonic():
            return remembered[1]
        before = remembered and remembered[1]
        found = await self._database.look(lambda conn: look_up(conn, edge_id, before))
        if found is None:
            self._known.pop(edge_id, None)
        else:
            self._known[edge_id] = (time.monotonic() + BELIEVED_S, found)
        return found

    async def to_be_confirmed(self, edge_id: str) -> Known | None:
        """As `known`, but an edge that might speak once is remembered without end: whoever asks so MUST `confirm` it in the
        transaction that he answers from, and `forget` it where that fails."""
        remembered = self._known.get(edge_id)
        if remembered is not None and remembered[1].state == "enrolled":
            return remembered[1]
        return await self.known(edge_id)

    def forget(self, edge_id: str) -> None:
        """Its key or its standing has changed: look it up at its next request."""
        self._known.pop(edge_id, None)

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


def confirm(known: Known, row: Row | None) -> None:
    """Job: `row`, with the columns `state` and `kid` of the edge as it is on file now, says what was remembered of it.

    Raises CentralError auth.unknown_edge, auth.unknown_key (401), auth.edge_waiting, auth.edge_revoked (403).
    """
    edge_id = known.key.entries[0].owner
    if row is None:
        raise unknown_edge(edge_id)
    check_standing(row["state"], edge_id)
    if row["kid"] != known.kid:
        told = f"the key {known.kid} is not one of the trusted keys"
        raise CentralError("auth.unknown_key", told, status=401, where="Authorization")


def unknown_edge(edge_id: str) -> CentralError:
    """The refusal of a name that nobody enrolled."""
    return CentralError("auth.unknown_edge", "no such edge is enrolled", status=401, where=edge_id[:64])


def check_standing(state: str, edge_id: str) -> None:
    """Raises CentralError auth.edge_waiting, auth.edge_revoked (403) unless the edge may speak."""
    if state == "waiting":
        raise CentralError(
            "auth.edge_waiting",
            "this edge waits for approval",
            status=403,
            where=edge_id,
            hint="compare the codes, then: callwarden central edge approve EDGE --code CODE",
        )
    if state != "enrolled":
        raise CentralError("auth.edge_revoked", "this edge was revoked", status=403, where=edge_id)


def look_up(conn: Conn, edge_id: str, before: Known | None = None) -> Known | None:
    """Job: an edge as it is on file; None where no such edge is enrolled. `before`, where that is still what is on file."""
    rows = conn.execute(
        "SELECT e.state, e.jwk, k.jwk AS former, k.retired_at FROM edge e LEFT JOIN edge_key k ON k.edge_id=e.edge_id"
        " WHERE e.edge_id=? ORDER BY k.retired_at",
        (edge_id,),
    ).fetchall()
    if not rows:
        return None
    filed = tuple(tuple(row) for row in rows)
    if before is not None and before.filed == filed:
        return before
    key = edge_keys(edge_id, _key(rows[0]["jwk"]))
    former = [former_key(edge_id, row["former"], row["retired_at"]) for row in rows if row["former"] is not None]
    return Known(rows[0]["state"], key, KeySet.of([*key.entries, *former]), filed)


def former_key(edge_id: str, jwk: str, retired_at: str) -> KeyEntry:
    """The entry of a key that an edge had before, with the date until which it counts."""
    return msgspec.structs.replace(entry(_key(jwk), "edge", edge_id, edge_id=edge_id), retired=retired_at)


def edge_keys(edge_id: str, key: VerifyKey) -> KeySet:
    """The key set of one edge."""
    return KeySet.of([entry(key, "edge", edge_id, edge_id=edge_id)])


def _key(text: str) -> VerifyKey:
    value = canonical.loads(text)
    assert isinstance(value, dict)
    return VerifyKey.from_jwk(value)
