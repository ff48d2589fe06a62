"""Central's database, whichever engine holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from central.config import CentralConfig
from central.conn import Conn, Participant
from central.sqlite import SqliteDatabase

T = TypeVar("T")


class Database(Protocol):
    """Jobs are functions of a connection; each is one transaction, whole or not at all."""

    async def run(self, job: Callable[[Conn], T]) -> T:
        """Run `job` off the event loop; any exception rolls back and is raised. On PostgreSQL a job that met another one
        may run again, so it changes nothing but the database and the keeper.

        Raises CentralError central.database (503) when the database fails.
        """
        ...

    async def look(self, job: Callable[[Conn], T]) -> T:
        """As `run`, for a job of one SELECT: where a transaction would cost more than the statement, there is none."""
        ...

    def now(self, job: Callable[[Conn], T]) -> T:
        """As `run`, blocking, on the calling thread."""
        ...

    async def close(self) -> None:
        """Finish what was begun and close."""
        ...


def open_database(config: CentralConfig, keeper: Participant) -> Database:
    """SQLite at `database`, or PostgreSQL where `postgres` names one; its tables are made or checked.

    Raises CentralError config.newer_schema, config.moved, config.database, environment.package.
    """
    if not config.postgres:
        return SqliteDatabase(config.database, keeper)
    from central.postgres import PostgresDatabase  # its driver is installed where it is wanted

    return PostgresDatabase(config.postgres, config.connections, keeper)


def locally(config: CentralConfig, job: Callable[[Conn], T]) -> T:
    """One job on a database that a running central may have open too (a command on the same host). Raises CentralError."""
    if not config.postgres:
        from central.sqlite import open_connection, transaction

        conn = open_connection(config.database)
        try:
            return transaction(conn, job)
        finally:
            conn.close()
    from central.postgres import once

    return once(config.postgres, job)
