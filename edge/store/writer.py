"""The journal's one writer: a thread with its own connection that turns queued jobs into group commits.

A job is a function of the connection. All jobs that wait are one batch: one BEGIN IMMEDIATE … COMMIT, each job in its
own SAVEPOINT, so a failing job takes back only what it did itself. Futures resolve after the COMMIT, on the event loop
that asked. Only this thread ever waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.store import schema
from edge.store.wal import truncate_wal

#: Commits after which the writer checkpoints (PASSIVE): the WAL then begins again inside its own file, about 4 MiB.
#: Overwriting it costs an fsync without a new file length: measured 0.27 ms a commit against 1.6 ms when truncating.
CHECKPOINT_COMMITS: Final = 100
#: WAL size from which it is truncated, bytes: a reader once stood in the way for long.
TRUNCATE_BYTES: Final = 64 << 20
#: How long a job that nothing waits for may wait for the company of others, seconds: it then costs no commit of its own.
COMPANY_SECONDS: Final = 0.25
#: How often a journal that cannot be written is tried again, seconds.
PROBE_SECONDS: Final = 2.0

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Item:
    job: Job[Any]
    future: asyncio.Future[Any] | None
    loop: asyncio.AbstractEventLoop | None
    wakes: bool
    outside: bool
    patient: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the connection and the thread. `close` must be awaited before the process ends, or jobs may go unanswered."""

    def __init__(self, path: Path, conn: sqlite3.Connection) -> None:
        self._path = path
        self._wal = f"{path}-wal"
        self._conn: sqlite3.Connection | None = conn
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._wakers: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self._commits = 0
        self._closed = False
        self.writable = True
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def do(self, job: Job[T], *, wakes: bool = True, patient: bool = False) -> asyncio.Future[T]:
        """Queue `job`; the future has its result once it is durable. `wakes`: tell the listeners of on_new afterwards.

        patient: it may wait COMPANY_SECONDS for other jobs; those queued later still run after it. A job whose awaiting
        task is cancelled still runs. Raises CallwardenError journal.* through the future.
        """
        return self._put(job, wakes, False, patient)

    def outside(self, job: Job[T]) -> asyncio.Future[T]:
        """Queue a job that runs after the batch it came with, outside any transaction (checkpoints)."""
        return self._put(job, False, True)

    def _put(self, job: Job[T], wakes: bool, outside: bool, patient: bool = False) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._closed:
            future.set_exception(CallwardenError("journal.closed", "the journal is closed", where=str(self._path)))
        else:
            self._queue.put(_Item(job, future, loop, wakes, outside, patient))
        return future

    def on_new(self, wake: Callable[[], None]) -> None:
        """Call `wake` on the running loop after each batch with a job that wakes."""
        self._wakers.append((asyncio.get_running_loop(), wake))

    async def close(self) -> None:
        """Finish what is queued, checkpoint, close the connection. Repeats do nothing."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._batch()
            if not batch and going:
                # A journal that could not be written tells nobody when it can: try a write of our own now and then.
                self._commit([_Item(_probe, None, None, False, False)])
                continue
            inside = [item for item in batch if not item.outside]
            if inside:
                self._commit(inside)
            for item in batch:
                if item.outside:
                    self._outside(item)
            self._settle(batch)
            self._checkpoint()
        if self._conn is not None:
            try:
                truncate_wal(self._conn, wait_ms=0)  # else its old pages stay in freed blocks
                self._conn.close()  # the last connection: SQLite checkpoints and removes the WAL
            except (sqlite3.Error, OSError):
                pass  # a WAL left behind is read at the next start

    def _batch(self) -> tuple[list[_Item], bool]:
        """What is to be committed now, and whether to go on afterwards. Empty: it is time to probe."""
        batch: list[_Item] = []
        until = 0.0
        while True:
            try:
                if not batch:
                    item = self._queue.get(timeout=None if self.writable else PROBE_SECONDS)
                    until = time.monotonic() + COMPANY_SECONDS
                elif all(item.patient for item in batch):
                    item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                else:
                    item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
            if item is None:
                return batch, False
            batch.append(item)

    def _commit(self, batch: list[_Item]) -> None:
        """Run `batch` as one transaction; results and errors are put into its items."""
        try:
            conn = self._conn
            if conn is None:
                conn = self._conn = schema.connect_writer(self._path)
            conn.execute("BEGIN IMMEDIATE")
            if len(batch) == 1:
                self._alone(conn, batch[0])
            else:
                for item in batch:
                    self._in_savepoint(conn, item)
            if conn.in_transaction:
                hit("journal.before_commit")
                conn.execute("COMMIT")
                hit("journal.after_commit")
                self._commits += 1
                self.writable = True
        except (sqlite3.Error, OSError) as error:
            self._all_failed(batch, translate(error, str(self._path)))

    def _alone(self, conn: sqlite3.Connection, item: _Item) -> None:
        try:
            item.result = item.job(conn)
        except Exception as error:
            self._refused(conn, item, error)
            conn.execute("ROLLBACK")

    def _in_savepoint(self, conn: sqlite3.Connection, item: _Item) -> None:
        conn.execute("SAVEPOINT job")
        try:
            item.result = item.job(conn)
        except Exception as error:
            self._refused(conn, item, error)
            conn.execute("ROLLBACK TO job")
        conn.execute("RELEASE job")

    def _refused(self, conn: sqlite3.Connection, item: _Item, error: Exception) -> None:
        """Note a job's own failure. SQLite drops the whole transaction when the disk failed: then all jobs failed."""
        if _disk_failed(error) or not conn.in_transaction:
            raise error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError(str(error)) from error
        item.error = translate(error, str(self._path))

    def _all_failed(self, batch: list[_Item], error: CallwardenError) -> None:
        self.writable = False
        for item in batch:
            item.error = item.error or error
        conn, self._conn = self._conn, None
        if conn is not None:
            # After a failed fsync the page cache proves nothing: the next attempt starts from what is on the disk.
            try:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                conn.close()
            except sqlite3.Error:
                pass  # nothing of this batch counts, and the connection is given up

    def _outside(self, item: _Item) -> None:
        try:
            if self._conn is None:
                self._conn = schema.connect_writer(self._path)
            item.result = item.job(self._conn)
        except Exception as error:
            item.error = translate(error, str(self._path))

    def _settle(self, batch: list[_Item]) -> None:
        woken = any(item.wakes and item.error is None for item in batch)
        wakers = list(self._wakers) if woken else []
        for loop in {item.loop for item in batch} | {loop for loop, _ in wakers}:
            if loop is not None:  # a probe's
                items = [item for item in batch if item.loop is loop]
                _call(loop, partial(_resolve, items, [wake for of, wake in wakers if of is loop]))

    def _checkpoint(self) -> None:
        if self._conn is None or self._commits < CHECKPOINT_COMMITS:
            return
        self._commits = 0
        try:
            if os.stat(self._wal).st_size >= TRUNCATE_BYTES:
                truncate_wal(self._conn, wait_ms=0)
            else:
                self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            hit("journal.checkpointed")
        except (OSError, sqlite3.Error):
            pass  # the next commit meets the same disk and reports it


def _probe(conn: sqlite3.Connection) -> None:
    conn.execute("INSERT INTO meta(key, value) VALUES('probe', '1') ON CONFLICT(key) DO UPDATE SET value = value + 1")


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def _resolve(items: list[_Item], wakers: list[Callable[[], None]]) -> None:
    for item in items:
        future = item.future
        if future is None or future.done():
            continue
        if item.error is not None:
            future.set_exception(item.error)
        else:
            future.set_result(item.result)
    for wake in wakers:
        wake()


def _disk_failed(error: BaseException) -> bool:
    """Whether this is about the disk or the file, not about one job's rows."""
    if isinstance(error, OSError):
        return True
    return isinstance(error, sqlite3.DatabaseError) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DISK


#: SQLITE_IOERR, CORRUPT, FULL, CANTOPEN, NOTADB, READONLY (sqlite.org/rescode.html).
_DISK: Final = frozenset((10, 11, 13, 14, 26, 8))


def translate(error: BaseException, where: str) -> CallwardenError:
    """Any failure of a job or a commit as a CallwardenError journal.* (itself when it is one already)."""
    if isinstance(error, CallwardenError):
        return error
    made: CallwardenError
    if isinstance(error, sqlite3.IntegrityError):
        made = CallwardenError("journal.conflict", f"the journal refuses this row: {error}", where=where)
    elif isinstance(error, sqlite3.DatabaseError):
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary == 13:
            made = CallwardenError(
                "journal.full", "no room for the journal", hint="free space on its disk", retryable=True, where=where
            )
        elif primary in (11, 26):
            made = CallwardenError(
                "journal.corrupt", f"the journal is damaged: {error}", hint="restore its newest backup", where=where
            )
        else:
            made = CallwardenError("journal.io", f"the journal cannot be written: {error}", retryable=True, where=where)
    elif isinstance(error, OSError):
        made = CallwardenError("journal.io", f"the journal's disk failed: {error}", retryable=True, where=where)
    elif isinstance(error, ValueError):
        made = CallwardenError("journal.transition", str(error), where=where)
    else:
        made = CallwardenError("journal.bug", f"{type(error).__name__}: {error}", where=where)
    made.__cause__ = error
    return made
