"""Emptying the WAL so that nothing of it stays on the disk.

SQLite truncates or unlinks a WAL and leaves its frames in freed blocks: numbers that an erasure has just taken out of the
rows would still be read from the raw device. So the file is overwritten with zeros first, once all of it is in the database.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Final

from edge.durable import write_all
from edge.failpoints import hit

_PIECE: Final = 1 << 20


def truncate_wal(conn: sqlite3.Connection, *, wait_ms: int) -> bool:
    """Checkpoint everything, zero the WAL, truncate it; waits at most `wait_ms` for readers, False when one was in the way.

    `conn` is the one connection that checkpoints and is in no transaction. A kill behind the zeros leaves a WAL without frames:
    the database has had them since the checkpoint, which synced it. Raises sqlite3.Error, OSError.
    """
    conn.execute(f"PRAGMA busy_timeout={wait_ms}")
    try:
        busy, _, _ = conn.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if not busy:
            _zero(f"{conn.execute('PRAGMA database_list').fetchone()[2]}-wal")
            busy, _, _ = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        conn.execute("PRAGMA busy_timeout=5000")
    hit("journal.truncated")
    return not busy


def _zero(path: str) -> None:
    """Overwrite in place. SQLite holds its locks on other files, so opening and closing this one drops none."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        size = os.fstat(fd).st_size
        for at in range(0, size, _PIECE):
            write_all(fd, bytes(min(_PIECE, size - at)), at)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    hit("journal.wal_zeroed")
