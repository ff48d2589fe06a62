"""What the books of the journal share: the writer, the readers and their gate, JSON, outbox rows, transitions."""

from __future__ import annotations

import asyncio
import queue
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from edge.errors import CallwardenError
from edge.model.lifecycle import Table
from edge.ports import AuditSink, Clock
from edge.store import schema
from edge.store.writer import Job, Writer, translate

T = TypeVar("T")

#: Short readers at work at the same time.
READERS: Final = 2
#: How long `read_gate` waits for them, seconds.
GATE_SECONDS: Final = 10.0

encode_json: Final = msgspec.json.Encoder().encode
decode_json: Final = msgspec.json.Decoder().decode


def text_json(value: Any) -> str:
    """Compact JSON text."""
    return encode_json(value).decode()


class Readers:
    """A few read-only connections in a small thread pool, behind a gate that a checkpoint can close."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="journal-reader")
        self._free: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._active = 0
        self._closed_by = 0
        self._changed = asyncio.Condition()

    async def read(self, job: Job[T]) -> T:
        """Run `job` in one read transaction. Raises CallwardenError journal.*."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed_by == 0)
            self._active += 1
        try:
            # Shielded: a cancelled caller must not open the gate while its thread still reads.
            return await asyncio.shield(self._work(job))
        except (sqlite3.Error, OSError) as error:
            raise translate(error, str(self._path)) from error

    async def _work(self, job: Job[T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, job)
        finally:
            async with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def _run(self, job: Job[T]) -> T:
        try:
            conn = self._free.get_nowait()
        except queue.Empty:
            conn = schema.connect_reader(self._path)
        try:
            conn.execute("BEGIN")
            try:
                return job(conn)
            finally:
                conn.execute("ROLLBACK")
        finally:
            self._free.put(conn)

    async def alone(self, work: Callable[[], asyncio.Future[T]]) -> T:
        """Run `work` while nobody reads. Raises CallwardenError journal.readers when they do not end in time."""
        self._closed_by += 1
        try:
            async with self._changed:
                try:
                    await asyncio.wait_for(self._changed.wait_for(lambda: self._active == 0), GATE_SECONDS)
                except TimeoutError:
                    raise CallwardenError(
                        "journal.readers", "a reader of the journal does not end", retryable=True
                    ) from None
            return await work()
        finally:
            self._closed_by -= 1
            async with self._changed:
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for readers and close their connections."""
        self._pool.shutdown(wait=True)
        while True:
            try:
                self._free.get_nowait().close()
            except queue.Empty:
                return


class Base:
    """The parts every book works with. Built by `edge.store.journal.Journal.open`."""

    def __init__(
        self, writer: Writer, readers: Readers, audit: AuditSink, clock: Clock, identity: Mapping[str, str]
    ) -> None:
        self._writer = writer
        self._readers = readers
        self._audit = audit
        self._clock = clock
        self._identity = identity


def emit(conn: sqlite3.Connection, kind: str, subject: str, body: Mapping[str, Any]) -> None:
    """An outbox row in the transaction of what it reports."""
    conn.execute(
        "INSERT INTO outbox(event_id, type, subject, body) VALUES(?, ?, ?, ?)",
        (secrets.token_hex(16), kind, subject, text_json(body)),
    )


def _pairs(table: Table) -> frozenset[tuple[str, str]]:
    return frozenset((before, after) for (before, _), after in table.items())


_PAIRS: dict[int, frozenset[tuple[str, str]]] = {}


def check_move(table: Table, before: str, after: str, what: str) -> None:
    """Raises ValueError unless some event of `table` leads from `before` to `after`."""
    pairs = _PAIRS.get(id(table))
    if pairs is None:
        pairs = _PAIRS[id(table)] = _pairs(table)
    if (before, after) not in pairs:
        raise ValueError(f"{what} cannot go from {before or 'nothing'!r} to {after!r}")


def missing(what: str, identifier: str) -> CallwardenError:
    """The error for a row that is not there."""
    return CallwardenError("journal.unknown", f"the journal has no {what} {identifier}", where=identifier)
