"""A base backup of PostgreSQL with its archived WAL, made before an erasure and put back after it, opens nothing erased."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from central import setup
from central.config import CentralConfig
from central.errors import CentralError
from formats.errors import FormatError
from formats.keys import SigningKey, b64url
from formats.shred import unseal_header
from rig.postgres import Postgres, a_folder, postgres, program, programs, served
from tests.unit.central.central_kit import TestCentral, a_central
from tests.unit.cli.cli_makers import acommand
from tests.unit.retention.restore_kit import RestoredEdge

KEY = SigningKey.from_seed(b"\x27" * 32)
NEEDED = "no PostgreSQL server of version 15 or newer on this host (Debian: apt-get install postgresql-15)"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """Where WAL goes; the server's user may write there."""
    if programs() is None:
        pytest.skip(NEEDED)
    with a_folder() as folder:
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def archiving(archive: Path) -> Iterator[Postgres]:
    """A server that archives its WAL."""
    settings = ("wal_level=replica", "archive_mode=on", f"archive_command=cp %p {archive}/%f", "full_page_writes=on")
    with postgres(settings=settings) as server:
        yield server


async def erased(central: TestCentral, edge: RestoredEdge, recording_id: str) -> None:
    order = await central.signed_order(recording_id)
    assert (await central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    assert edge.sync is not None
    await edge.sync._inbox.poll(0)
    await edge.executor.once()
    await edge.sync.flush()


def switch_wal(server: Postgres, conninfo: str) -> None:
    """Have everything that was committed archived, and wait for it."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        row = conn.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        for _ in range(600):
            done = conn.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", (row[0],)).fetchone()
            if done is not None and done[0]:
                return
            conn.execute("SELECT pg_sleep(0.05)")
    raise AssertionError(f"WAL {row[0]} was not archived: {(server.folder / 'log').read_text()[-2000:]}")


def opens(central: TestCentral, rows: list[tuple[object, ...]]) -> dict[str, bool]:
    """By recording: whether any key that the keeper's file holds opens its header as it lies in the database."""
    raw = central.config.keeper.read_bytes()
    keys = [raw[at : at + 32] for at in range(64, len(raw) - 31, 4)]
    found = {}
    for recording_id, segment_id, version, sealed in rows:
        found[str(recording_id)] = False
        for key in keys:
            try:
                unseal_header(bytes(sealed), key, str(recording_id), str(segment_id), int(str(version)))  # type: ignore[call-overload]
            except (FormatError, CentralError):
                continue
            found[str(recording_id)] = True
            break
    return found


HEADERS = "SELECT recording_id, segment_id, version, sealed_header FROM header WHERE sealed_header IS NOT NULL"


@pytest.mark.parametrize("upto", ["before", "end"])
async def test_65_a_base_backup_with_its_wal_opens_no_erased_recording(
    archiving: Postgres, archive: Path, tmp_path: Path, upto: str
) -> None:
    conninfo = archiving.database()
    (tmp_path / "edge").mkdir()
    async with a_central(tmp_path / "central", postgres=conninfo) as central:
        setup.register_edge(central.config, "edge-1", KEY.verify_key)
        edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
        assert edge.sync is not None
        gone, kept = await edge.record(), await edge.record()
        secret = await edge.slots.read(gone.segment.header.slot)
        await edge.sync.flush()
        assert secret in central.config.keeper.read_bytes(), "the keeper really held it"
        base = archiving.folder / "base"
        program("pg_basebackup", "-D", str(base), "-d", conninfo, "-c", "fast", "-X", "none", folder=archiving.folder)
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("SELECT pg_create_restore_point('before')")
        await erased(central, edge, gone.recording_id)
        later = await edge.record()
        await edge.sync.flush()
        await asyncio.to_thread(switch_wal, archiving, conninfo)
        await central.stop()

        with a_folder() as folder:
            shutil.move(base, folder / "data")
            (folder / "data" / "recovery.signal").touch(0o644)
            target = ("recovery_target_name=before", "recovery_target_action=promote") if upto == "before" else ()
            settings = (f"restore_command=cp {archive}/%f %p", *target)
            with served(folder, settings=settings) as restored:
                central.config = await put_back(central, conninfo, restored)
                await central.start()
                rows = await central.rows(HEADERS)
                assert upto == "end" or gone.recording_id not in {row[0] for row in rows}, (
                    "forgotten when it was marked"
                )
                assert not opens(central, rows).get(gone.recording_id)
                status, problem = await central.admin("GET", f"/v1/recordings/{gone.recording_id}")
                assert (status, problem["code"]) == (503, "central.restored"), (
                    "nothing is given out before the edge is heard"
                )
                await heard_by(edge, central)
                status, found = await central.admin("GET", f"/v1/recordings/{gone.recording_id}")
                assert (status, found["tombstone"] is not None, [h["kept"] for h in found["headers"]]) == (
                    200,
                    True,
                    [False],
                )
                _, other = await central.admin("GET", f"/v1/recordings/{kept.recording_id}")
                assert [h["kept"] for h in other["headers"]] == [True]
                status, _ = await central.admin("GET", f"/v1/recordings/{later.recording_id}")
                assert status == (404 if upto == "before" else 200)
                await central.stop()
            remains = {"base and its WAL": folder / "data", "archive": archive, "central": central.folder}
            for name, place in remains.items():
                for path in place.rglob("*"):
                    if path.is_file():
                        content = path.read_bytes()
                        assert secret not in content, (name, path)
                        assert b64url(secret).encode() not in content, (name, path)
                        assert secret.hex().encode() not in content.lower(), (name, path)
        await edge.close()


async def test_without_the_mark_the_very_rows_of_the_backup_open_nothing_either(
    archiving: Postgres, tmp_path: Path
) -> None:
    """The header lies in the old copy as ciphertext; no key that is left opens it, and the one of another recording does."""
    conninfo = archiving.database()
    (tmp_path / "edge").mkdir()
    async with a_central(tmp_path / "central", postgres=conninfo) as central:
        setup.register_edge(central.config, "edge-1", KEY.verify_key)
        edge = await RestoredEdge.open(tmp_path / "edge", KEY, central)
        assert edge.sync is not None
        gone, kept = await edge.record(), await edge.record()
        await edge.sync.flush()
        before = await central.rows(HEADERS)
        assert opens(central, before) == {gone.recording_id: True, kept.recording_id: True}, "the search finds keys"
        await erased(central, edge, gone.recording_id)
        assert opens(central, before) == {gone.recording_id: False, kept.recording_id: True}
        await edge.close()


async def test_the_mark_wants_a_reason_and_a_stopped_central(archiving: Postgres, tmp_path: Path) -> None:
    async with a_central(tmp_path / "central", postgres=archiving.database()) as central:
        toml = ["--central-config", central.folder / "central.toml"]
        running = await acommand("central", "restore", "--mark", "--reason", "pg_restore of 3 May", *toml)
        assert (running.code, "environment.locked" in running.err) == (8, True), running.err
        await central.stop()
        vague = await acommand("central", "restore", "--mark", *toml)
        assert (vague.code, "usage.reason" in vague.err) == (2, True)
        both = await acommand("central", "restore", tmp_path, "--mark", "--reason", "x", *toml)
        assert (both.code, "--mark" in both.err) == (2, True)
        by_folder = await acommand("central", "restore", tmp_path, *toml)
        assert ("backup.engine" in by_folder.err, "--mark" in by_folder.err) == (True, True)
        await central.start()


async def put_back(central: TestCentral, conninfo: str, restored: Postgres) -> CentralConfig:
    """The configuration of central on the server that was put back, marked by the command."""
    name = conninfo.split("?")[0].rsplit("/", 1)[1]
    toml = central.folder / "central.toml"
    toml.write_text(toml.read_text().replace(conninfo, restored.conninfo(name)))
    done = await acommand(
        "central", "restore", "--mark", "--reason", "base backup of today", "--central-config", toml, "--json"
    )
    assert done.code == 0, done.err
    assert done.json["edges"] == ["edge-1"]
    return replace(central.config, postgres=restored.conninfo(name))


async def heard_by(edge: RestoredEdge, central: TestCentral) -> None:
    """The edge polls, as it does all the time, and so tells what it erased."""
    assert edge.sync is not None
    edge.sync._uplink._base = central.url
    await edge.sync._inbox.poll(0)
