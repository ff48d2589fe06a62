"""Keys that a database put back still names and its keeper has no more: forgotten page by page, with statements in between."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from central.conn import Conn
from central.restored import forget_lost_keys
from central.slotfile import SlotFile
from formats import search
from formats.shred import seal_header
from tests.unit.central.central_kit import TestCentral, TestEdge

#: Rows of each kind, more than two pages; every fifth key is gone.
ROWS = 2300
AT = "2026-01-01T00:00:00.000Z"


class Counting(SlotFile):
    """A keeper's file that knows how many keys were read since the last statement."""

    reads = most = 0

    def read(self, number: int) -> bytes:
        self.reads += 1
        self.most = max(self.most, self.reads)
        return super().read(number)


class Watched:
    """A connection that tells a keeper of each statement."""

    def __init__(self, conn: Conn, keeper: Counting) -> None:
        self._conn, self._keeper = conn, keeper

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        self._keeper.reads = 0
        return self._conn.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


def ids(kind: str) -> list[str]:
    return [hashlib.sha256(f"{kind} {n}".encode()).hexdigest()[:32] for n in range(ROWS)]


async def test_keys_are_looked_at_in_pages_with_statements_between(
    central: TestCentral, edge: TestEdge, tmp_path: Path
) -> None:
    """A transaction that asks nothing for 20 s is ended by PostgreSQL, and a fleet's headers are more than memory holds."""
    keeper = Counting(tmp_path / "keys", allow_copy_on_write=True)
    headers, numbers = ids("segment"), ids("call")

    def fill(conn: Conn) -> None:
        for n, (segment, call) in enumerate(zip(headers, numbers, strict=True)):
            keys = [secrets.token_bytes(32) for _ in range(2)]
            sealed = seal_header(b"header", keys[0], secrets.token_bytes(12), "r" * 32, segment, 1)
            number = search.seal_value("+420777123456", keys[1], secrets.token_bytes(search.NONCE), call, "p")
            slots = [keeper.put(key) for key in keys]
            conn.execute(
                "INSERT INTO header(segment_id, version, recording_id, suite, sealed_header, key_id, keeper_slot)"
                " VALUES (?,1,?,'age1',?,'k',?)",
                (segment, "r" * 32, sealed, slots[0]),
            )
            conn.execute(
                "INSERT INTO call_number(call_id, party_id, edge_id, started_at, form, key_id, bucket, sealed, keeper_slot)"
                " VALUES (?,'p',?,?,'clear','',0,?,?)",
                (call, edge.edge_id, AT, number, slots[1]),
            )
            if n % 5 == 0:
                keeper.shred(slots)

    async def do(job: Callable[[Conn], Any]) -> Any:
        assert central.running is not None
        return await central.running.central.db.run(job)

    try:
        await do(fill)
        gone = await do(lambda conn: forget_lost_keys(Watched(conn, keeper), keeper))
    finally:
        keeper.close()
    assert gone == ROWS / 5
    assert keeper.most <= 1000
    left = {row[0] for row in await central.rows("SELECT segment_id FROM header WHERE keeper_slot IS NOT NULL")}
    assert left == {one for n, one in enumerate(headers) if n % 5}
    assert {row[0] for row in await central.rows("SELECT call_id FROM call_number")} == {
        one for n, one in enumerate(numbers) if n % 5
    }
