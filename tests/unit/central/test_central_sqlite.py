"""Jobs that wait together share a transaction, and nothing else."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from central.conn import Conn
from central.errors import CentralError
from central.slotfile import SlotFile
from central.sqlite import SqliteDatabase


@pytest.fixture
def keeper(tmp_path: Path) -> SlotFile:
    return SlotFile(tmp_path / "keeper.keys")


@pytest.fixture
def database(tmp_path: Path, keeper: SlotFile) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "central.db", keeper)


def note(name: str) -> Callable[[Conn], str]:
    def job(conn: Conn) -> str:
        conn.execute("INSERT INTO meta(key, value) VALUES (?, ?)", (name, "x"))
        return name

    return job


def names(conn: Conn) -> set[str]:
    return {row[0] for row in conn.execute("SELECT key FROM meta WHERE value='x'")}


async def together(database: SqliteDatabase, *jobs: Callable[[Conn], object]) -> list[object]:
    """Have all of them wait behind one that is busy."""
    busy, go_on = threading.Event(), threading.Event()

    def wait(conn: Conn) -> None:
        busy.set()
        go_on.wait(10)

    first = asyncio.create_task(database.run(wait))
    await asyncio.to_thread(busy.wait, 10)
    rest = [asyncio.create_task(database.run(job)) for job in jobs]
    await asyncio.sleep(0.05)
    go_on.set()
    await first
    return list(await asyncio.gather(*rest, return_exceptions=True))


async def test_those_that_wait_are_one_transaction(database: SqliteDatabase, tmp_path: Path) -> None:
    def version(conn: Conn) -> int:
        """Of the file: changes with each commit of another connection."""
        return int(other.execute("PRAGMA data_version").fetchone()[0])

    other = sqlite3.connect(tmp_path / "central.db", check_same_thread=False)
    before = version(other)  # type: ignore[arg-type]
    answers = await together(database, *(note(str(n)) for n in range(40)), version)
    assert answers[:40] == [str(n) for n in range(40)]
    assert answers[40] == before  # none of the forty was committed when the last of them ran
    assert await database.run(names) == {str(n) for n in range(40)}
    await database.close()
    other.close()


async def test_one_that_fails_fails_alone(database: SqliteDatabase, keeper: SlotFile) -> None:
    kept: list[int] = []

    def refuse(conn: Conn) -> None:
        note("refused")(conn)
        keeper.put(secrets.token_bytes(32))
        raise CentralError("usage.field", "no")

    def keep(conn: Conn) -> None:
        note("kept")(conn)
        kept.append(keeper.put(secrets.token_bytes(32)))
        keeper.flush()

    answers = await together(database, note("a"), refuse, keep, note("b"))
    assert isinstance(answers[1], CentralError)
    assert await database.run(names) == {"a", "kept", "b"}
    assert keeper.live() == frozenset(kept)
    await database.close()


async def test_a_database_that_fails_under_one_fails_only_that_one(database: SqliteDatabase, keeper: SlotFile) -> None:
    def full(conn: Conn) -> None:
        note("lost")(conn)
        keeper.put(secrets.token_bytes(32))
        raise sqlite3.OperationalError("database or disk is full")

    answers = await together(database, note("a"), full, note("b"))
    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], CentralError)
    assert answers[1].code == "central.database"
    assert await database.run(names) == {"a", "b"}
    assert keeper.live() == frozenset()
    await database.close()


async def test_closing_finishes_what_waits(database: SqliteDatabase) -> None:
    waiting = [asyncio.create_task(database.run(note(str(n)))) for n in range(200)]
    await asyncio.sleep(0)
    await database.close()
    assert [await one for one in waiting] == [str(n) for n in range(200)]


async def test_a_thread_that_meets_anything_goes_on_and_a_closed_one_says_so(
    database: SqliteDatabase, keeper: SlotFile
) -> None:
    def corrupt(conn: Conn) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    def bug(conn: Conn) -> None:
        raise RuntimeError("a bug")

    answers = await together(database, note("a"), corrupt, bug, note("b"))
    assert (answers[0], answers[3]) == ("a", "b")
    assert isinstance(answers[1], CentralError)
    assert isinstance(answers[2], RuntimeError)
    assert await database.run(names) == {"a", "b"}
    await database.close()
    with pytest.raises(CentralError, match="closed"):
        await database.run(names)
    with pytest.raises(CentralError, match="closed"):
        database.now(names)
