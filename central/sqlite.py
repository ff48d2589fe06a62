"""Central on SQLite: one connection on one thread, so every request's rows are one serial transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from central.conn import Conn
from central.errors import CentralError

#: The newest schema this program knows; each has its file schema_<n>.sql.
SCHEMA = 1

#: In `meta`: the rows went elsewhere (`central.move`), and what is written here now would be lost.
MOVED = "moved_to"

T = TypeVar("T")


class SqliteConn(sqlite3.Connection):
    """A connection that `central.conn.Conn` describes."""

    def exclusive(self, name: str) -> None:
        """BEGIN IMMEDIATE has the whole database already."""


def open_connection(path: Path) -> SqliteConn:
    """Open or create the database. Raises CentralError config.newer_schema, config.database."""
    try:
        fresh = not path.exists()
        conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SqliteConn)
        if fresh:
            path.chmod(0o600)
        conn.row_factory = sqlite3.Row
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "busy_timeout=5000",
        ):
            conn.execute(f"PRAGMA {pragma}")
        version = int(conn.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            conn.close()
            raise CentralError(
                "config.newer_schema",
                f"the database has schema {version}, this program knows {SCHEMA}",
                where=str(path),
                hint="install the newer version again; nothing was changed",
            )
        if version == 0:
            # Two starters may race here: the version is asked again inside the write transaction.
            script = (files("central") / f"schema_{SCHEMA}.sql").read_text("utf-8")
            conn.execute("BEGIN IMMEDIATE")
            if int(conn.execute("PRAGMA user_version").fetchone()[0]) == 0:
                for statement in script.split(";\n"):
                    if statement.strip():
                        conn.execute(statement)
                conn.execute(f"PRAGMA user_version={SCHEMA}")
            conn.execute("COMMIT")
        elif conn.execute("SELECT 1 FROM meta WHERE key=?", (MOVED,)).fetchone():
            conn.close()
            raise CentralError(
                "config.moved",
                "this central was moved to PostgreSQL",
                where=str(path),
                hint="name it in central.toml (postgres = …), and remove this file once you trust the move",
            )
    except sqlite3.Error as error:
        raise CentralError("config.database", str(error), where=str(path)) from error
    return conn


class SqliteDatabase:
    """See `central.db.Database`: a serial executor over one connection.

    committed, rolled_back: called on the database thread after each transaction, for what is not in the database.
    """

    def __init__(
        self,
        path: Path,
        *,
        committed: Callable[[], None] = lambda: None,
        rolled_back: Callable[[], None] = lambda: None,
    ) -> None:
        self._conn = open_connection(path)
        self._committed, self._rolled_back = committed, rolled_back
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="central-db")

    async def run(self, job: Callable[[Conn], T]) -> T:
        """Run `job` in BEGIN IMMEDIATE … COMMIT on the database thread; any exception rolls back and is raised.

        Raises CentralError central.database (503) when SQLite fails.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_transaction, job)

    def now(self, job: Callable[[Conn], T]) -> T:
        """As `run`, on the calling thread, before anybody else uses this database."""
        return self._in_transaction(job)

    async def close(self) -> None:
        """Finish queued jobs, checkpoint and close."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._conn.close)
        self._thread.shutdown(wait=True)

    def _in_transaction(self, job: Callable[[Conn], T]) -> T:
        try:
            result = transaction(self._conn, job)
        except BaseException:
            self._rolled_back()
            raise
        self._committed()
        return result


def transaction(conn: SqliteConn, job: Callable[[Conn], T]) -> T:
    """`job(conn)` in one write transaction. Raises what the job raises; CentralError central.database for SQLite's own."""
    try:
        conn.execute("BEGIN IMMEDIATE")
        try:
            result = job(conn)
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
    except sqlite3.OperationalError as error:
        raise CentralError(
            "central.database",
            f"the database failed: {error}",
            status=503,
            hint="look at central's disk, then try again",
        ) from error
    return result
