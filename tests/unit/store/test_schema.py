"""Opening: the words, the lock, the version, the identity."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import CallwardenError, Exit
from edge.model import lifecycle, live
from edge.store import schema
from edge.store.journal import Journal, offline
from tests.unit.store.store_makers import open_journal

SQL = (Path(schema.__file__).parent / "schema_1.sql").read_text()


def words(table: str, column: str) -> set[str]:
    body = re.search(rf"CREATE TABLE {table}\((.*?)\) STRICT", SQL, re.S)
    assert body is not None
    found = re.search(rf"\b{column} TEXT[^,]*?CHECK\({column} IN \((.*?)\)\)", body[1], re.S)
    assert found is not None, (table, column)
    return set(re.findall(r"'(\w+)'", found[1]))


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("call", "state", set(lifecycle.CALL.values())),
        ("call", "outcome", set(lifecycle.OUTCOMES)),
        ("call", "mode", set(lifecycle.MODES)),
        ("consent_event", "kind", set(lifecycle.EVENT_KINDS)),
        ("recording", "state", set(lifecycle.RECORDING_STATES)),
        ("recording", "ending", set(lifecycle.ENDINGS)),
        ("segment", "state", set(lifecycle.SEGMENT_STATES)),
        ("segment", "end_reason", set(lifecycle.END_REASONS)),
        ("inbox", "state", set(lifecycle.ORDER_STATES)),
        ("pause", "reason", set(live.PAUSE_REASONS)),
        ("recording_flag", "flag", set(live.FLAGS)),
        ("notice", "when_", {"start", "end"}),
        ("notice", "state", {"waiting", "sent", "dropped"}),
        ("answer", "outcome", {"given", "notified", "refused", "objected"}),
    ],
)
def test_checks_have_the_words_of_the_lifecycle(table: str, column: str, expected: set[str]) -> None:
    assert words(table, column) == expected


async def test_settings_and_rights(journal: Journal, tmp_path: Path) -> None:
    def settings(conn: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "wal_autocheckpoint")
        return [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await journal._writer.outside(settings) == ["wal", 2, 1, 1, 0]
    for name in ("journal.db", "journal.db-wal", "journal.lock"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    reader = await journal._readers.read(lambda conn: conn.execute("PRAGMA query_only").fetchone()[0])
    assert reader == 1
    with pytest.raises(CallwardenError) as refused:
        await journal._readers.read(lambda conn: conn.execute("DELETE FROM meta"))
    assert refused.value.code == "journal.io"


async def test_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await open_journal(path)).close()
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA user_version={schema.SCHEMA + 1}")
    conn.close()
    before = path.read_bytes()
    with pytest.raises(CallwardenError) as refused:
        await open_journal(path)
    assert refused.value.code == "journal.newer_schema"
    assert refused.value.exit_code is Exit.ENVIRONMENT
    assert "restore" in refused.value.hint
    assert path.read_bytes() == before
    with pytest.raises(CallwardenError, match="newer_schema"), offline(path):
        pass


async def test_the_wrong_edge_and_garbage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await open_journal(path)).close()
    conn = sqlite3.connect(path)
    conn.execute("UPDATE meta SET value='other' WHERE key='edge_id'")
    conn.commit()
    conn.close()
    with pytest.raises(CallwardenError) as foreign:
        await open_journal(path)
    assert foreign.value.code == "journal.foreign"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(CallwardenError) as corrupt:
        await open_journal(path)
    assert corrupt.value.code == "journal.corrupt"


async def test_row_60_second_daemon_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(path)
    code = (
        "import sys; from edge.store.journal import offline\n"
        "from edge.errors import CallwardenError\n"
        "try:\n"
        "    with offline(sys.argv[1]): print('opened')\n"
        "except CallwardenError as error: print(error.code)\n"
    )
    run = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(run, capture_output=True, text=True).stdout.strip() == "journal.locked"
    with pytest.raises(CallwardenError) as refused:
        await open_journal(path)
    assert refused.value.code == "journal.locked"
    await journal.close()
    assert subprocess.run(run, capture_output=True, text=True).stdout.strip() == "opened"


async def test_instance_is_kept_and_new_with_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(path)
    first = journal.instance_id
    await journal.close()
    journal = await open_journal(path)
    assert journal.instance_id == first
    await journal.close()
    path.unlink()
    journal = await open_journal(path)
    assert journal.instance_id != first
    await journal.close()


async def test_row_54_a_damaged_page_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await open_journal(path)
    for _ in range(50):
        await journal.note_audit("padding", body={"text": "x" * 2000})
    await journal.close()
    good = path.read_bytes()
    codes = []
    for page in range(1, len(good) // 4096):
        data = bytearray(good)
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
        path.write_bytes(data)
        try:
            await (await open_journal(path)).close()
        except CallwardenError as error:
            codes.append(error.code)
    assert set(codes) == {"journal.corrupt"}
    assert len(codes) > 0.5 * len(good) // 4096  # overflow pages hold bytes that mean nothing to SQLite
