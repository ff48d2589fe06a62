"""Central on PostgreSQL 15 and newer: as many transactions at once as there are connections, in any number of processes.

The schema is the text of schema_<n>.sql with its types respelt, so that the two engines cannot drift apart; `event`, which
grows without end, is partitioned by month. READ COMMITTED, and what must not meet another of its kind takes
`Conn.exclusive` first; a transaction that PostgreSQL ends all the same is run again.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, TypeVar

from central.conn import Conn, Cursor, Participant
from central.errors import CentralError
from central.sqlite import SCHEMA

try:
    import psycopg
    from psycopg.errors import DeadlockDetected, SerializationFailure
    from psycopg.types.numeric import IntLoader
except ImportError as error:
    raise CentralError(
        "environment.package",
        "the configuration wants PostgreSQL, and its driver is not installed",
        where="psycopg",
        hint="pip install 'callwarden[postgres]' into central's virtual environment",
    ) from error

T = TypeVar("T")

#: How often a transaction that PostgreSQL ended for another's sake is begun again.
TRIES: Final = 5
#: No statement takes so long, nor is a transaction idle so long, seconds: the keeper's sweep relies on that.
STATEMENT_S: Final = 20
#: Advisory locks of this program: two 32-bit numbers, the first of them fixed (the ASCII of "cwd1").
_LOCKS: Final = 0x63776431


class PgRow:
    """A row by number or name, as sqlite3.Row is."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: dict[str, int], values: Sequence[Any]) -> None:
        self._names, self._values = names, values

    def __getitem__(self, key: int | str) -> Any:
        return self._values[self._names[key] if isinstance(key, str) else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def keys(self) -> list[str]:
        """The columns' names, in order."""
        return list(self._names)


class PgFound:
    """See `central.conn.Cursor`: what a statement found, all of it, so that its cursor is free for the next one."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Iterator[PgRow], rowcount: int) -> None:
        self._rows, self.rowcount = rows, rowcount

    def fetchone(self) -> PgRow | None:
        """The next row."""
        return next(self._rows, None)

    def fetchall(self) -> list[PgRow]:
        """What is left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[PgRow]:
        return self._rows


@lru_cache(maxsize=1024)
def _spelt(sql: str) -> str:
    """`?` is what jobs write for a value; they have no `?` and no `%` of another meaning."""
    return sql.replace("%", "%%").replace("?", "%s")


class PgConn:
    """See `central.conn.Conn`."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        #: One for every statement: to make one anew costs a third of a statement.
        self._cursor = raw.cursor()
        self._names: dict[str, dict[str, int]] = {}

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> PgFound:
        """One statement."""
        cursor = self._cursor.execute(_spelt(sql), tuple(parameters))
        result = cursor.pgresult
        if result is None or not result.nfields:
            return PgFound(iter(()), cursor.rowcount)
        if (names := self._names.get(sql)) is None:  # the schema does not change while a connection is open
            names = self._names[sql] = {column.name: n for n, column in enumerate(cursor.description or ())}
        return PgFound(iter([PgRow(names, values) for values in cursor.fetchall()]), cursor.rowcount)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor:
        """One statement for each row of values."""
        cursor = self.raw.cursor()
        cursor.executemany(_spelt(sql), [tuple(values) for values in parameters])
        return cursor

    def exclusive(self, name: str, /) -> None:
        """An advisory lock to the end of the transaction. Two names may share one: then they wait for each other."""
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LOCKS, name))

    def bare(self, word: str) -> None:
        """BEGIN or COMMIT."""
        self._cursor.execute(word)


class PostgresDatabase:
    """See `central.db.Database`."""

    def __init__(
        self,
        conninfo: str,
        connections: int,
        keeper: Participant | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._keeper = keeper
        self._own = threading.local()
        self._open: list[psycopg.Connection[Any]] = []
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="central-db")
        with _connect(conninfo) as raw:
            prepare(raw)
        self.now(make_partitions)

    async def run(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.now, job)

    async def look(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._look, job)

    def _look(self, job: Callable[[Conn], T]) -> T:
        try:
            return job(self._connection())  # which commits each statement by itself
        except psycopg.Error as error:
            raise _failed(error) from error

    def now(self, job: Callable[[Conn], T]) -> T:
        """See `central.db.Database`."""
        for left in reversed(range(TRIES)):
            try:
                result = self._in_transaction(job)
            except (DeadlockDetected, SerializationFailure) as error:
                if not left:
                    raise _failed(error) from error
            except psycopg.Error as error:
                raise _failed(error) from error
            else:
                if self._keeper is not None:
                    self._keeper.commit()
                return result
        raise AssertionError("unreachable")

    def _in_transaction(self, job: Callable[[Conn], T]) -> T:
        conn = self._connection()
        raw = conn.raw
        try:
            conn.bare("BEGIN")
            result = job(conn)
        except BaseException:
            try:
                if not raw.closed:
                    raw.rollback()
            finally:
                if self._keeper is not None:
                    self._keeper.roll_back()
            raise
        try:
            conn.bare("COMMIT")
        except psycopg.Error:
            if self._keeper is not None:
                # Without an answer nobody knows whether it was carried out, and keys of committed rows must stay.
                (self._keeper.abandon if raw.closed or raw.broken else self._keeper.roll_back)()
            raise
        return result

    def _connection(self) -> PgConn:
        """This thread's own; a new one where the last was lost."""
        conn: PgConn | None = getattr(self._own, "conn", None)
        if conn is None or conn.raw.closed or conn.raw.broken:
            conn = self._own.conn = PgConn(_connect(self._conninfo))
            self._open.append(conn.raw)
        return conn

    async def close(self) -> None:
        """See `central.db.Database`."""
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._threads.shutdown(wait=True))
        for raw in self._open:
            raw.close()


def once(conninfo: str, job: Callable[[Conn], T]) -> T:
    """One job in a connection of its own. Raises CentralError as `PostgresDatabase.now`."""
    database = PostgresDatabase(conninfo, 1)
    try:
        return database.now(job)
    finally:
        for raw in database._open:
            raw.close()


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    try:
        raw = psycopg.connect(conninfo, autocommit=True, application_name="callwarden-central")
        raw.execute(f"SET statement_timeout='{STATEMENT_S}s'; SET idle_in_transaction_session_timeout='{STATEMENT_S}s'")
    except psycopg.Error as error:
        raise CentralError(
            "central.database",
            f"PostgreSQL cannot be reached: {str(error).strip()}",
            status=503,
            where="[central] postgres",
            hint="is it running, and may this user connect?",
        ) from error
    raw.adapters.register_loader("numeric", IntLoader)  # sums of counts; nothing here has decimals
    return raw


def _failed(error: psycopg.Error) -> CentralError:
    return CentralError(
        "central.database",
        f"the database failed: {str(error).strip()}",
        status=503,
        hint="look at PostgreSQL's log, then try again",
    )


# ------------------------------------------------------------ schema


def prepare(raw: psycopg.Connection[Any]) -> None:
    """Make the tables, or check their version. Raises CentralError config.newer_schema, config.database."""
    try:
        with raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(%s, 0)", (_LOCKS,))  # two starters may race here
            version = _version(raw)
            for number in range(version + 1, SCHEMA + 1):
                for statement in statements(number):
                    raw.execute(statement)
            if version < SCHEMA:
                raw.execute(
                    "INSERT INTO meta(key, value) VALUES ('schema', %s) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                    (str(SCHEMA),),
                )
    except psycopg.Error as error:
        raise CentralError("config.database", str(error).strip(), where="[central] postgres") from error


def known(conninfo: str) -> int:
    """The schema of a database that is only read; 0 where it has no tables yet. Raises CentralError central.database, and as
    `prepare`."""
    with _connect(conninfo) as raw:
        try:
            return _version(raw)
        except psycopg.Error as error:
            raise CentralError("config.database", str(error).strip(), where="[central] postgres") from error


def _version(raw: psycopg.Connection[Any]) -> int:
    if raw.info.server_version < 150000:
        raise CentralError(
            "config.database", f"PostgreSQL 15 or newer is needed, this is {raw.info.server_version // 10000}"
        )
    there = raw.execute("SELECT to_regclass('meta')").fetchone()
    if there is None or there[0] is None:
        return 0
    row = raw.execute("SELECT value FROM meta WHERE key='schema'").fetchone()
    version = int(row[0]) if row else 0
    if version > SCHEMA:
        raise CentralError(
            "config.newer_schema",
            f"the database has schema {version}, this program knows {SCHEMA}",
            where="[central] postgres",
            hint="install the newer version again; nothing was changed",
        )
    return version


def statements(number: int) -> list[str]:
    """The statements of schema_<number>.sql as PostgreSQL spells them."""
    script = (files("central") / f"schema_{number}.sql").read_text("utf-8")
    script = re.sub(r"^\s*--.*$", "", script, flags=re.MULTILINE)
    return [_translated(one.strip()) for one in script.split(";\n") if one.strip()]


def _translated(statement: str) -> str:
    text = re.sub(r"\)\s*STRICT(,\s*WITHOUT ROWID)?$", ")", statement)
    text = text.replace("INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY")
    text = re.sub(r"\bINTEGER\b", "BIGINT", text)
    text = re.sub(r"\bBLOB\b", "BYTEA", text)
    if text.startswith("CREATE TABLE event("):
        # A unique key would have to name the month; that an event comes once is held by the lock of its edge.
        text = text.replace(", PRIMARY KEY (edge_id, event_id))", ")")
        text += ' PARTITION BY RANGE (received_at COLLATE "C")'
    if text.startswith("CREATE UNIQUE INDEX event_seq"):
        text = text.replace("UNIQUE ", "") + "; CREATE INDEX event_id ON event(edge_id, event_id)"
    return text


def make_partitions(conn: Conn, now: datetime | None = None) -> None:
    """Job: the partitions of this month and the next two, each made once. A running central repeats it daily."""
    now = now or datetime.now(UTC)
    for ahead in range(3):
        year, month = divmod(now.year * 12 + now.month - 1 + ahead, 12)
        make_month(conn, f"{year:04}-{month + 1:02}")


def make_month(conn: Conn, begin: str) -> None:
    """Job: the partition of one month, "YYYY-MM", unless it is there."""
    year, month = int(begin[:4]), int(begin[5:7])
    end = f"{year + month // 12:04}-{month % 12 + 1:02}"
    table = f"event_{year:04}_{month:02}"
    conn.exclusive("partitions")
    if conn.execute("SELECT to_regclass(?)", (table,)).fetchone()[0] is None:
        conn.execute(f"CREATE TABLE {table} PARTITION OF event FOR VALUES FROM ('{begin[:7]}') TO ('{end}')")


def identities(conn: Conn) -> None:
    """Job: after rows came with numbers of their own, the next number is behind them."""
    found = conn.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema=current_schema() AND is_identity='YES' ORDER BY table_name"
    ).fetchall()
    for table, column in found:
        conn.execute(
            f"SELECT setval(pg_get_serial_sequence(?, ?), coalesce(max({column}), 0) + 1, false) FROM {table}",  # noqa: S608
            (table, column),
        )


__all__ = [
    "PgConn",
    "PostgresDatabase",
    "identities",
    "known",
    "make_month",
    "make_partitions",
    "once",
    "prepare",
    "statements",
]
