"""From SQLite to PostgreSQL: every row, in one transaction of the target, checked, and then the old file says where they are.

Order: the target is filled and committed; the SQLite file is marked. A kill before the commit leaves an empty target, one
before the mark a full one whose rows say which file they came from: the repeat compares, and marks. A marked file is not
opened by central any more. The keeper's slot file stays where it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from central.config import CentralConfig
from central.conn import Conn
from central.errors import CentralError
from central.log import OwnLog
from central.postgres import identities, make_month, once
from central.slotfile import SlotFile
from central.sqlite import MOVED, SqliteConn, open_connection

#: Rows of one statement's worth.
BATCH: Final = 1000
#: In the target's `meta`: the SQLite file these rows came from; in that file's: its own name for this.
ORIGIN: Final = "moved_from"


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows per table, in the order in which they went. `before`: they were there from an earlier, interrupted run."""

    rows: dict[str, int]
    before: bool


def move(config: CentralConfig, conninfo: str, said: Callable[[str, int], None] = lambda table, count: None) -> Moved:
    """Move what central keeps in SQLite to an empty PostgreSQL database. `said(table, rows)` after each table.

    Raises CentralError environment.locked while a central runs, config.database, central.not_empty, central.differs.
    """
    if config.postgres:
        raise CentralError("config.database", "this central is on PostgreSQL already", where="[central] postgres")
    if not config.database.exists():
        raise CentralError("config.database", "there is no such file", where=str(config.database))
    keeper = SlotFile(config.keeper, allow_copy_on_write=config.allow_copy_on_write)  # nobody else runs meanwhile
    source = open_connection(config.database)
    try:
        source.execute("BEGIN IMMEDIATE")
        origin = _origin(source)
        counts = {table: _count(source, table) for table in tables(source)}

        def job(target: Conn) -> bool:
            there = target.execute("SELECT value FROM meta WHERE key=?", (ORIGIN,)).fetchone()
            if there is not None and there[0] == origin:
                return True
            if any(_count(target, table) for table in counts if table != "meta"):
                raise CentralError(
                    "central.not_empty",
                    "the target holds rows of another central",
                    where="postgres",
                    hint="make an empty database: createdb callwarden",
                )
            for (month,) in source.execute("SELECT DISTINCT substr(received_at, 1, 7) FROM event ORDER BY 1"):
                make_month(target, month)
            for table in counts:
                _copy(source, target, table)
                said(table, counts[table])
            identities(target)
            return False

        before = once(conninfo, job)
        _compare(source, conninfo, counts)
        source.execute("INSERT INTO meta(key, value) VALUES (?, ?)", (MOVED, "PostgreSQL"))
        source.execute("COMMIT")
        return Moved(counts, before)
    finally:
        source.close()
        keeper.close()


def tables(conn: SqliteConn) -> list[str]:
    """All tables, those that are referred to first: the order in which the schema makes them."""
    rows = conn.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
    return [str(row[0]) for row in rows]


def _origin(source: SqliteConn) -> str:
    """This file's own name, made at the first attempt so that a repeat is known for one."""
    row = source.execute("SELECT value FROM meta WHERE key=?", (ORIGIN,)).fetchone()
    if row is not None:
        return str(row[0])
    name = secrets.token_hex(16)
    source.execute("INSERT INTO meta(key, value) VALUES (?, ?)", (ORIGIN, name))
    source.execute("COMMIT")
    source.execute("BEGIN IMMEDIATE")
    return name


def _count(conn: Conn, table: str) -> int:
    return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a name of the schema


def _copy(source: SqliteConn, target: Conn, table: str) -> None:
    cursor = source.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of the schema
    names = [column[0] for column in cursor.description]
    sql = f"INSERT INTO {table}({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
    if table == "meta":
        sql += " ON CONFLICT(key) DO NOTHING"  # the target knows its own schema
    while rows := cursor.fetchmany(BATCH):
        target.executemany(sql, [tuple(row) for row in rows])


def _compare(source: SqliteConn, conninfo: str, counts: dict[str, int]) -> None:
    """The target as it is on disk now: as many rows, and the same head of central's own log."""
    log = OwnLog()

    def job(target: Conn) -> tuple[dict[str, int], bytes]:
        size = log.size(target)
        return {table: _count(target, table) for table in counts}, log.root(target, size) if size else b""

    found, root = once(conninfo, job)
    size = log.size(source)
    mine = log.root(source, size) if size else b""
    differing = [table for table in counts if table != "meta" and found[table] != counts[table]]
    if differing or root != mine:
        raise CentralError(
            "central.differs",
            f"the target is not what was moved: {', '.join(differing) or 'the log'}",
            where="postgres",
            hint="central goes on with the SQLite file; empty the target and move again",
        )
