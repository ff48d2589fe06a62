"""Central on SQLite: one connection on one thread, so jobs follow one another; those that wait together are one transaction."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import structlog

from central.conn import Conn, Participant
from central.errors import CentralError

#: The newest schema this program knows; each has its file schema_<n>.sql.
SCHEMA = 1

#: In `meta`: the rows went elsewhere (`central.move`), and what is written here now would be lost.
MOVED = "moved_to"

#: So many jobs share a transaction at most: the last of them waits for the first.
TOGETHER = 64

_log = structlog.get_logger("central")

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
        try:
            version = _version(conn, path)
        except CentralError:
            conn.close()
            raise
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
    except sqlite3.Error as error:
        raise CentralError("config.database", str(error), where=str(path)) from error
    return conn


def known(path: Path) -> int:
    """The schema of a database that is only read; 0 where it has no tables yet. Raises CentralError as `open_connection`."""
    try:
        if not path.is_file():
            raise CentralError(
                "config.database", "there is no such file", where=str(path), hint="run `callwarden central init`"
            )
        # Even a reader makes the files of the WAL; where there are none, nobody has it open, and it can be read without them.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as conn:
            return _version(conn, path)
    except (sqlite3.Error, OSError) as error:
        raise CentralError("config.database", str(error), where=str(path)) from error


def _version(conn: sqlite3.Connection, path: Path) -> int:
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA:
        raise CentralError(
            "config.newer_schema",
            f"the database has schema {version}, this program knows {SCHEMA}",
            where=str(path),
            hint="install the newer version again; nothing was changed",
        )
    if version and conn.execute("SELECT 1 FROM meta WHERE key=?", (MOVED,)).fetchone():
        raise CentralError(
            "config.moved",
            "this central was moved to PostgreSQL",
            where=str(path),
            hint="name it in central.toml (postgres = …), and remove this file once you trust the move",
        )
    return version


class _Waiting(Generic[T]):
    """A job in the queue and who waits for it. `answer`: called on the database thread, once, behind the commit."""

    def __init__(self, job: Callable[[Conn], T], answer: Callable[[T | None, BaseException | None], None]) -> None:
        self.job, self.answer = job, answer
        self.result: T | None = None
        self.error: BaseException | None = None


class SqliteDatabase:
    """See `central.db.Database`: one thread, one connection. Jobs that wait at the same time share a transaction, each in a
    savepoint of its own, so that many edges cost one sync of the disk; nobody hears of a result before that."""

    def __init__(self, path: Path, keeper: Participant) -> None:
        self._conn = open_connection(path)
        self._keeper = keeper
        self._queue: queue.SimpleQueue[_Waiting[Any] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="central-db", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`."""
        self._refuse_closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if future.done():  # who asked went away
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._queue.put(_Waiting(job, lambda result, error: _on(loop, tell, result, error)))
        return await future

    async def look(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`. Among other jobs it costs no transaction here either."""
        return await self.run(job)

    def now(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`."""
        self._refuse_closed()
        done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._queue.put(_Waiting(job, lambda result, error: done.put((result, error))))
        result, error = done.get()
        if error is not None:
            raise error
        return cast("T", result)

    async def close(self) -> None:
        """Finish queued jobs, checkpoint and close."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise CentralError("central.database", "the database is closed", status=503)

    # ------------------------------------------------------------ the database thread

    def _serve(self) -> None:
        going = True
        while going:
            batch: list[_Waiting[Any]] = []
            one = self._queue.get()
            while one is not None and len(batch) < TOGETHER:
                batch.append(one)
                if len(batch) == TOGETHER or self._queue.empty():
                    break
                one = self._queue.get()
            going = one is not None
            if batch:
                self._together(batch)
        self._conn.close()

    def _together(self, batch: list[_Waiting[Any]]) -> None:
        """All in one transaction; where the database itself fails, each in one of its own, so that one failure is one's."""
        if len(batch) > 1:
            try:
                self._whole(lambda conn: self._in_savepoints(conn, batch))
            except BaseException as error:
                _log.warning("jobs are done one by one", why=str(error))
            else:
                for one in batch:
                    one.answer(one.result, one.error)
                return
        for one in batch:
            try:
                result = self._whole(one.job)
            except BaseException as error:  # whatever it is, who waits hears of it, and the thread goes on
                one.answer(None, error)
            else:
                one.answer(result, None)

    def _whole(self, job: Callable[[SqliteConn], T]) -> T:
        """A transaction of database and keeper."""
        try:
            result = transaction(self._conn, job)
        except BaseException:
            self._keeper.roll_back()
            raise
        self._keeper.commit()
        return result

    def _in_savepoints(self, conn: SqliteConn, batch: list[_Waiting[Any]]) -> None:
        for one in batch:
            conn.execute("SAVEPOINT job")
            mark = self._keeper.mark()
            try:
                one.result, one.error = one.job(conn), None
            except sqlite3.DatabaseError:  # SQLite may have rolled back everything: whoever called begins again
                raise
            except BaseException as error:
                one.result, one.error = None, error
                conn.execute("ROLLBACK TO job")
                self._keeper.roll_back_to(mark)
            conn.execute("RELEASE job")


def _on(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], result: Any, error: BaseException | None) -> None:
    try:
        loop.call_soon_threadsafe(tell, result, error)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def transaction(conn: SqliteConn, job: Callable[[SqliteConn], T]) -> T:
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
    except sqlite3.DatabaseError as error:
        raise CentralError(
            "central.database",
            f"the database failed: {error}",
            status=503,
            hint="look at central's disk, then try again",
        ) from error
    return result
