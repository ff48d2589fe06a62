"""The journal: all books over one SQLite file with one writer, and what opens it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from edge.errors import CallwardenError
from edge.ports import AuditSink, Clock
from edge.store import dossier, queries, schema
from edge.store.adoptions import Adoptions
from edge.store.afterwork import Afterwork
from edge.store.audit import Audits
from edge.store.base import Readers
from edge.store.calls import Calls
from edge.store.evidence import Evidence
from edge.store.finds import Finds
from edge.store.holds import Holds
from edge.store.incidents import Incidents
from edge.store.integrity import Integrity
from edge.store.keys import Keys
from edge.store.live import Live
from edge.store.media import MediaDue
from edge.store.memory import SLOT_META, Memory
from edge.store.notices import Notices
from edge.store.ordered import Ordered
from edge.store.orders import Orders
from edge.store.outbox import Outbox
from edge.store.policies import PolicyReports
from edge.store.recordings import Recordings
from edge.store.rectify import Rectify
from edge.store.restores import Restores, incarnation
from edge.store.retention import Retaining
from edge.store.wal import truncate_wal
from edge.store.writer import Writer, translate

T = TypeVar("T")
#: How long a checkpoint waits for a reader outside our gate, milliseconds.
TRUNCATE_WAIT_MS = 2000


class Journal(
    Adoptions,
    Calls,
    Recordings,
    Afterwork,
    Incidents,
    Keys,
    Live,
    Memory,
    Notices,
    Orders,
    MediaDue,
    Ordered,
    Holds,
    Finds,
    Retaining,
    Evidence,
    Outbox,
    Audits,
    Restores,
    Integrity,
    Rectify,
    PolicyReports,
):
    """Implements `edge.ports.Journal`. Made with `open`, ended with `close`."""

    _lock: int
    views: Views

    @classmethod
    def open(cls, path: Path | str, *, audit: AuditSink, clock: Clock, edge_id: str) -> Journal:
        """Lock, check or create, start the writer. Blocks: call it before the daemon serves anybody.

        Raises CallwardenError journal.locked, newer_schema, foreign, corrupt, io.
        """
        path = Path(path)
        lock = schema.lock(path)
        try:
            conn = schema.prepare(path, edge_id)
            identity = dict(conn.execute("SELECT key, value FROM meta WHERE key IN ('edge_id', 'instance_id')"))
            identity["incarnation"] = incarnation(conn)
        except BaseException:
            os.close(lock)
            raise
        readers = Readers(path)
        journal = cls(Writer(path, conn), readers, audit, clock, identity)
        journal._lock = lock
        journal.views = Views(readers)
        return journal

    async def close(self) -> None:
        """Finish what is queued, close all connections, give the lock back. Repeats do nothing."""
        await asyncio.to_thread(self._readers.close)
        await self._writer.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def writable(self) -> bool:
        """See `edge.ports.Journal`."""
        return self._writer.writable

    @property
    def edge_id(self) -> str:
        """The edge whose journal this is."""
        return self._identity["edge_id"]

    @property
    def instance_id(self) -> str:
        """See `edge.ports.Journal`."""
        return self._identity["instance_id"]

    @property
    def incarnation(self) -> str:
        """See `edge.ports.Journal`."""
        return self._identity["incarnation"]

    async def slots_in_use(self) -> Sequence[int]:
        """See `edge.ports.Journal`. Read through the writer, so that nothing committed before is missed."""

        def job(conn: sqlite3.Connection) -> Sequence[int]:
            rows = conn.execute(
                "SELECT slot FROM header WHERE slot > 0 UNION SELECT slot FROM order_target WHERE slot > 0"
                " UNION SELECT CAST(value AS INTEGER) FROM meta"
                " WHERE key IN ('audit_slot', ?)",
                (SLOT_META,),
            )
            return [row[0] for row in rows]

        return await self._writer.do(job, wakes=False)

    async def meta(self, key: str) -> str | None:
        """A value of the meta table."""

        def job(conn: sqlite3.Connection) -> str | None:
            row = conn.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return await self._readers.read(job)

    async def set_meta(self, key: str, value: str) -> None:
        """Set a value; edge_id and instance_id are fixed with the file."""
        if key in ("edge_id", "instance_id", "anonymising"):
            raise ValueError(f"meta {key!r} is not for setting")

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (key, value),
            )

        await self._writer.do(job, wakes=False)

    async def read_gate(self) -> None:
        """See `edge.ports.Journal`. Raises CallwardenError journal.readers, journal.busy (both retryable), journal.io."""

        def job(conn: sqlite3.Connection) -> None:
            if not truncate_wal(conn, wait_ms=TRUNCATE_WAIT_MS):
                raise CallwardenError(
                    "journal.busy", "somebody reads the journal and does not end", retryable=True,
                    hint="close every other program that has the journal open",
                )  # fmt: skip

        await self._readers.alone(lambda: self._writer.outside(job))


class Views:
    """The read models over the journal's gated readers, each in one short transaction (the local door's `Reader`)."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def _run(self, query: Callable[..., T], *args: Any) -> T:
        return await self._readers.read(lambda conn: query(conn, *args))

    async def calls(self) -> Sequence[queries.Json]:
        """See `queries.calls`."""
        return await self._run(queries.calls)

    async def recordings(self) -> Sequence[queries.Json]:
        """See `queries.recordings`."""
        return await self._run(queries.recordings)

    async def why(self, call_id: str) -> queries.Json | None:
        """See `queries.why`."""
        return await self._run(queries.why, call_id)

    async def reads(self, recording_id: str) -> Sequence[queries.Json]:
        """See `queries.reads`."""
        return await self._run(queries.reads, recording_id)

    async def receipts(self, subject: str) -> Sequence[queries.Json]:
        """See `queries.receipts`."""
        return await self._run(queries.receipts, subject)

    async def find_call(self, text: str) -> Sequence[str]:
        """See `queries.find_call`."""
        return await self._run(queries.find_call, text)

    async def outages(self) -> Sequence[queries.Json]:
        """See `dossier.outages`."""
        return await self._run(dossier.outages)

    async def status(self) -> queries.Json:
        """See `queries.status`."""
        return await self._run(queries.status)


@contextmanager
def offline(path: Path | str) -> Iterator[sqlite3.Connection]:
    """A reading connection for the command while the daemon is stopped; holds the daemon's lock meanwhile.

    Raises CallwardenError journal.locked, journal.newer_schema, journal.corrupt, not_found.journal.
    """
    path = Path(path)
    if not path.is_file():
        raise CallwardenError(
            "not_found.journal", "there is no journal", hint="check [edge] journal in the configuration",
            where=str(path),
        )  # fmt: skip
    lock = schema.lock(path)
    try:
        try:
            conn = schema.connect_reader(path)
            version = conn.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise translate(error, str(path)) from error
        try:
            if version > schema.SCHEMA:
                raise schema.newer(path, version)
            yield conn
        finally:
            conn.close()
    finally:
        os.close(lock)
