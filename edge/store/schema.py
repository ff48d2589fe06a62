"""Opening the journal file: lock, schema version, connection settings.

A newer schema is refused, an older one is migrated by numbered files that only add. Every connection of the process is
made here, so that no other code can open one that checkpoints.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge.durable import sync_folder
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.store.wal import truncate_wal

#: The newest schema this program knows: edge/store/schema_<n>.sql exists for 1..SCHEMA.
SCHEMA: Final = 2
#: Journals up to this size are checked at every start, bytes (about 0.1 s; restart to ready has 5 s).
CHECK_BYTES: Final = 64 << 20
_HERE = Path(__file__).parent
#: SQLITE_IOERR, FULL, CANTOPEN, READONLY (sqlite.org/rescode.html): the disk's or the file's rights, not its content.
_DISK: Final = {
    10: ("journal.io", "look at its disk"),
    13: ("journal.full", "free space on its disk"),
    14: ("journal.io", "look at its disk and at the rights of its folder"),
    8: ("journal.io", "the file or its file system is read-only"),
}


def lock(path: Path) -> int:
    """Take `<journal>.lock` beside the journal (flock); returns the descriptor that holds it.

    Raises CallwardenError journal.locked when another process has it, journal.io.
    """
    name = path.with_suffix(".lock")
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CallwardenError("journal.io", f"cannot be opened: {error.strerror}", where=str(name)) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise CallwardenError(
            "journal.locked",
            "another Callwarden process has this journal open",
            hint="stop the other daemon, or ask it through its socket",
            where=str(name),
        ) from None
    return fd


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints. Raises sqlite3.Error."""
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "wal_autocheckpoint=0",  # the writer checkpoints by size, at moments of its choosing
        "temp_store=MEMORY",  # nothing of a call in a temporary file
        "cache_size=-8000",
        "trusted_schema=OFF",
    ):
        conn.execute(f"PRAGMA {pragma}")
    return conn


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write and never checkpoints. Raises sqlite3.Error."""
    conn = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, timeout=5
    )
    conn.execute("PRAGMA query_only=ON")
    conn.execute("PRAGMA wal_autocheckpoint=0")
    conn.execute("PRAGMA temp_store=MEMORY")
    return conn


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def prepare(path: Path, edge_id: str) -> sqlite3.Connection:
    """Create or check the file (0600) and return the writer's connection.

    Raises CallwardenError journal.newer_schema, journal.foreign (another edge's), journal.corrupt, journal.io.
    """
    try:
        created = not path.exists()
        if created:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            sync_folder(str(path.parent))
        conn = connect_writer(path)
    except sqlite3.DatabaseError as error:
        raise _unreadable(path, error) from error
    except OSError as error:
        raise CallwardenError(
            "journal.io", f"the journal cannot be opened: {error.strerror}", where=str(path)
        ) from error
    try:
        _migrate(conn, path)
        _check(conn, path)
        _identify(conn, path, edge_id)
        with suppress(OSError):  # the next erasure tries again: no call may wait for this
            truncate_wal(conn, wait_ms=0)  # what an erasure that was killed meant to do
    except sqlite3.DatabaseError as error:
        conn.close()
        raise _unreadable(path, error) from error
    except CallwardenError:
        conn.close()
        raise
    return conn


def newer(path: Path, version: int) -> CallwardenError:
    """The error for a journal of a later program."""
    return CallwardenError(
        "journal.newer_schema",
        f"the journal has schema {version}, this program knows up to {SCHEMA}",
        hint="run the newer Callwarden again, or restore the backup made before the upgrade",
        where=str(path),
    )


def _unreadable(path: Path, error: sqlite3.Error) -> CallwardenError:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in _DISK:  # the file may be whole: a full or failing disk must not have anybody put an old backup back
        what, hint = _DISK[primary]
        return CallwardenError(
            what, f"the journal cannot be opened: {error}", hint=hint, retryable=True, where=str(path)
        )
    return CallwardenError(
        "journal.corrupt",
        f"the journal cannot be read: {error}",
        hint="put the newest backup of the journal in its place; see docs/spec/journal.md, 'When the journal is lost'",
        where=str(path),
    )


def _migrate(conn: sqlite3.Connection, path: Path) -> None:
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise newer(path, version)
    for number in range(version + 1, SCHEMA + 1):
        script = (_HERE / f"schema_{number}.sql").read_text(encoding="utf-8")
        conn.execute("BEGIN IMMEDIATE")
        hit("migrate.begun")
        for statement in statements(script):
            conn.execute(statement)
            if number > 1:
                hit("migrate.step")
        conn.execute(f"PRAGMA user_version={number}")
        hit("migrate.applied")
        conn.execute("COMMIT")
    if version < SCHEMA:
        hit("migrate.committed")


def statements(script: str) -> list[str]:
    """A script's statements: what ends with a semicolon at a line's end is one when SQLite finds it complete (a trigger has
    semicolons of its own)."""
    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


def _check(conn: sqlite3.Connection, path: Path) -> None:
    """A damaged page is found now, not by the call that needs it; a large journal is left to its backup's check."""
    if path.stat().st_size > CHECK_BYTES:
        return
    found = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _identify(conn: sqlite3.Connection, path: Path, edge_id: str) -> None:
    """A new file is a new incarnation: it gets a random instance_id that its audit log's origin carries."""
    conn.execute("BEGIN IMMEDIATE")
    for key, value in (("edge_id", edge_id), ("instance_id", secrets.token_hex(16)), ("epoch", "1")):
        conn.execute("INSERT OR IGNORE INTO meta(key, value) VALUES(?, ?)", (key, value))
    found = conn.execute("SELECT value FROM meta WHERE key='edge_id'").fetchone()[0]
    if found != edge_id:
        conn.execute("ROLLBACK")
        raise CallwardenError(
            "journal.foreign",
            f"the journal belongs to edge {found!r}, the configuration says {edge_id!r}",
            hint="correct [edge] id or [edge] journal",
            where=str(path),
        )
    conn.execute("COMMIT")
