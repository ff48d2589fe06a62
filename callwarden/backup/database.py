"""A consistent copy of a SQLite database that somebody else is writing, as one file without a WAL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.durable import sync_folder
from edge.errors import CallwardenError

#: Pages copied between two looks at the progress.
_PAGES: Final = 2048


def open_beside(path: Path) -> sqlite3.Connection:
    """A connection that reads a database whose one process is at work: it cannot write and cannot checkpoint.

    Raises CallwardenError journal.io.
    """
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        conn = sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, isolation_level=None, timeout=5)
        conn.execute("PRAGMA query_only=ON")
        conn.execute("PRAGMA temp_store=MEMORY")
    except sqlite3.Error as error:
        raise CallwardenError("journal.io", f"the database cannot be read: {error}", where=str(path)) from error
    return conn


def copy_database(source: sqlite3.Connection, target: Path, progress: Callable[[int, int], None]) -> None:
    """The state of one moment, whatever is written meanwhile, checked and synced. `progress`: pages done, pages in all.

    Raises CallwardenError backup.damaged, journal.io.
    """
    for name in (target, *(Path(f"{target}{tail}") for tail in ("-journal", "-wal", "-shm"))):
        name.unlink(missing_ok=True)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM meta").fetchone()  # from here on the picture stands still
            try:
                source.backup(copy, pages=_PAGES, progress=lambda _, left, all_: progress(all_ - left, all_))
            finally:
                source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")
            found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            wrong = copy.execute("PRAGMA foreign_key_check").fetchone()
        finally:
            copy.close()
    except sqlite3.Error as error:
        raise CallwardenError("journal.io", f"the database cannot be copied: {error}", where=str(target)) from error
    if found != "ok" or wrong is not None:
        raise CallwardenError(
            "backup.damaged", f"the database is damaged: {found if found != 'ok' else 'a row names one that is missing'}",
            hint="an older backup is whole; see docs/ops/backup.md", where=str(target),
        )  # fmt: skip
    fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(str(target.parent))
