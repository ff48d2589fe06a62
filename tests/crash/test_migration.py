"""Row 70: a journal of schema 1 with live data, killed at every step of its migration: either version whole, and then the new one."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge.store import schema
from tests.unit.retention.retention_kit import Place

ROOT = Path(__file__).parents[2]
SQL = Path(schema.__file__).parent
#: The file opened, each step of the script behind its statement, the version set, the commit.
POINTS = ["migrate.begun", "migrate.applied", "migrate.committed"]
OPEN = (
    "import sys; from pathlib import Path; from edge.store import schema\n"
    "schema.prepare(Path(sys.argv[1]), 'edge-1').close()\n"
)

pytestmark = pytest.mark.crash


def migrate(path: Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN, str(path)],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip


async def old_journal(folder: Path) -> dict[str, int]:
    """A journal as schema 1 had it, with the rows of two calls (made under the newest schema, copied column by column)."""
    place = await Place.open(folder)
    await place.record()
    await place.record(ended=False)
    await place.close()
    new = sqlite3.connect(folder / "journal.db")
    old = sqlite3.connect(folder / "old.db", isolation_level=None)
    old.executescript(f"{(SQL / 'schema_1.sql').read_text()}\nPRAGMA user_version=1;")
    old.execute("PRAGMA journal_mode=WAL")
    counts = {}
    for (table,) in old.execute(
        "SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite%'"
    ).fetchall():
        names = [row[1] for row in old.execute(f"PRAGMA table_info({table})")]
        rows = new.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
        old.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", rows)
        counts[table] = len(rows)
    new.close()
    old.close()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (folder / name).unlink(missing_ok=True)
    os.rename(folder / "old.db", folder / "journal.db")
    os.chmod(folder / "journal.db", 0o600)
    return counts


def looked_at(path: Path) -> tuple[int, dict[str, int], set[str]]:
    """(version, rows of each table, tables that schema 1 did not have); checked on the way."""
    conn = sqlite3.connect(path)
    assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    tables = [
        r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite%'")
    ]
    counts = {t: conn.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
    conn.close()
    return version, counts, set(tables)


def steps() -> list[str]:
    """A kill behind each statement of each script."""
    script = (SQL / f"schema_{schema.SCHEMA}.sql").read_text()
    return [f"migrate.step:{n}" for n in range(1, len(schema.statements(script)) + 1)]


async def test_row_70_killed_at_every_step_of_the_migration(tmp_path: Path) -> None:
    before = await old_journal(tmp_path)
    assert before["call"] == before["recording"] == 2
    assert min(before[name] for name in ("segment", "header", "audit", "outbox", "consent_event", "permit")) >= 2
    old = (tmp_path / "journal.db").read_bytes()
    first_tables = looked_at(tmp_path / "journal.db")[2]
    points = [*POINTS, *steps()]
    assert len(points) > 5
    for point in points:
        for tail in ("-wal", "-shm"):
            (tmp_path / f"journal.db{tail}").unlink(missing_ok=True)
        (tmp_path / "journal.db").write_bytes(old)
        killed = migrate(tmp_path / "journal.db", point)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
        version, counts, tables = looked_at(tmp_path / "journal.db")
        assert version == (schema.SCHEMA if point == "migrate.committed" else 1), point
        assert {name: counts[name] for name in before} == before, point
        if version == 1:
            assert tables == first_tables, point
        assert migrate(tmp_path / "journal.db").returncode == 0
        version, counts, _ = looked_at(tmp_path / "journal.db")
        assert (version, {n: counts[n] for n in before} | {"meta": 0}) == (schema.SCHEMA, before | {"meta": 0}), point
    place = await Place.open(tmp_path)  # and the program works on it
    try:
        rows = await place.journal.recordings()
        assert sorted(row.state for row in rows) == ["sealed", "sealed"]
        more, _ = await place.record()
        await place.journal.begin_erase(more.recording_id, None, "command")
        await place.executor().once()
        assert await place.state(more.recording_id) == "erased"
        assert sum(row.state == "sealed" for row in await place.journal.recordings()) == 2
    finally:
        await place.close()
