"""Central's own log: an RFC 6962 tree of what was done here, in the transaction of what it records.

Entries are canonical JSON `{at, kind, body}` without personal data: names of edges, key ids, order and recording ids.
"""

from __future__ import annotations

from typing import Any

from central.conn import Conn
from formats import canonical, merkle


class OwnLog:
    """Appends and proves; it keeps nothing in memory, the tree lies in `log` and `log_node`."""

    def append(self, conn: Conn, at: str, kind: str, body: dict[str, Any]) -> int:
        """One entry inside the caller's transaction; its index."""
        entry = canonical.dumps({"at": at, "kind": kind, "body": body})
        conn.exclusive("log")
        size = self.size(conn)
        conn.execute("INSERT INTO log VALUES (?,?,?)", (size, at, entry.decode()))
        nodes = merkle.append(size, merkle.leaf_hash(entry), _reader(conn))
        conn.executemany("INSERT INTO log_node VALUES (?,?,?)", nodes)
        return size

    def size(self, conn: Conn) -> int:
        """Entries so far."""
        return int(conn.execute("SELECT coalesce(max(idx) + 1, 0) FROM log").fetchone()[0])

    def root(self, conn: Conn, size: int) -> bytes:
        """The root over the first `size` entries."""
        return merkle.root(size, _reader(conn))


def _reader(conn: Conn) -> merkle.ReadNode:
    def read(level: int, index: int) -> bytes:
        row = conn.execute("SELECT hash FROM log_node WHERE level=? AND idx=?", (level, index)).fetchone()
        return bytes(row[0])

    return read
