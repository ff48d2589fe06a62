"""`callwarden central backup|restore`: central's database and configuration; never the keeper's keys or key files."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from callwarden.backup.database import copy_database
from callwarden.backup.edge import Done, Say, Work, listed, take
from callwarden.backup.folder import BackupFolder, refuse_place
from callwarden.backup.restore import copied, set_aside
from central.config import CentralConfig
from central.conn import Conn
from central.db import locally
from central.errors import CentralError
from central.keyfiles import read_key
from central.log import OwnLog
from central.restored import forget_lost_keys, heard, mark
from central.revocations import Again
from central.slotfile import SlotFile
from central.sqlite import SCHEMA, open_connection
from central.state import utc_now
from edge.durable import sync_folder
from edge.errors import CallwardenError
from edge.failpoints import hit
from formats.backup import BackupList
from formats.ids import format_time
from formats.keyset import KeySet, entry

_NOFOLLOW: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class CentralBack:
    """What a restore of central did.

    made: the backup's list, None where another program put it back. edges: those that are to be heard. keys: headers whose key
    was destroyed since. again: what was revoked since, and is so again.
    """

    made: BackupList | None
    edges: list[str]
    keys: int
    set_aside: Path | None
    again: Again


def store_keys(config: CentralConfig) -> KeySet:
    """A key set of central's store key alone."""
    return KeySet.of([entry(read_key(config.store_key).verify_key, "store", "central")])


def make(config: CentralConfig, path: Path, root: Path, say: Say) -> Done:
    """Bring the backup in `root` up to date, whether central runs or not; `path`: its central.toml.

    Raises CallwardenError backup.*, journal.io, backup.engine.
    """
    _refuse_postgres(config)
    refuse_place(root, config, path)
    folder = BackupFolder(root)
    with folder.locked(), _translated():
        before = listed(folder, store_keys(config))
        backup_id, now = secrets.token_hex(16), format_time(utc_now())
        work = Work(folder, before, say)
        snapshot = root / f".{backup_id}.db.part"
        source = sqlite3.connect(config.database, isolation_level=None, timeout=5)
        try:
            source.execute("PRAGMA query_only=ON")
            copy_database(source, snapshot, lambda done, of: say("database", done, of))
        finally:
            source.close()
        with sqlite3.connect(snapshot) as copy:
            size = int(copy.execute("SELECT coalesce(max(idx) + 1, 0) FROM log").fetchone()[0])
        copy.close()
        fd = os.open(snapshot, _NOFOLLOW)
        try:
            work.put("central.db", "database", fd, str(config.database))
        finally:
            os.close(fd)
        snapshot.unlink()
        for one in (path, config.ca, config.certificate):
            if one.is_file():
                take(work, f"configuration/{one.name}", "configuration", one)
        files = tuple(sorted(work.files, key=lambda one: one.path))
        made = BackupList(backup_id, "central", config.fleet, "", SCHEMA, size, now, files)
        folder.write(made, read_key(config.store_key))
        removed = folder.prune(made)
    return Done(made, work.copied, work.kept, removed)


def restore(config: CentralConfig, root: Path) -> CentralBack:
    """Put it back, while central is stopped: every edge is asked what it erased before its recordings are given out.

    Raises CallwardenError backup.*, restore.*; environment.locked while central runs.
    """
    _refuse_postgres(config)
    folder = BackupFolder(root)
    with _translated():
        made = folder.read(store_keys(config))
        if made.kind != "central" or made.owner != config.fleet:
            raise CallwardenError("restore.foreign", f"this is a backup of {made.owner}", where=str(root))
        keeper = SlotFile(config.keeper, allow_copy_on_write=config.allow_copy_on_write)  # whoever has it is central
        try:
            path = config.database
            fresh = path.with_name(f".{path.name}.restoring")
            for tail in ("", "-journal", "-wal", "-shm"):
                Path(f"{fresh}{tail}").unlink(missing_ok=True)
            with folder.opened(made.database.path) as source:
                copied(source, made.database, fresh)
            edges, keys, again = _marked(fresh, made, keeper, config.keeper)
            hit("restore.central_marked")
            aside = set_aside(path, open_connection)
            os.rename(fresh, path)
            sync_folder(str(path.parent))
            hit("restore.central_placed")
        finally:
            keeper.close()
    return CentralBack(made, edges, keys, aside, again)


def mark_restored(config: CentralConfig, what: str) -> CentralBack:
    """Say that the database was put back by its engine's own means, while central is stopped; `what`: of when, in words.

    In one transaction keys that were destroyed since are forgotten and every edge is to be heard, as after `restore`.
    Raises CallwardenError usage.reason; environment.locked while central or its keeper runs.
    """
    _refuse_vague(what)
    with _translated():
        keeper = SlotFile(config.keeper, allow_copy_on_write=config.allow_copy_on_write)
        try:

            def job(conn: Conn) -> tuple[list[str], int, Again]:
                keys = forget_lost_keys(conn, keeper)
                now = format_time(utc_now())
                edges, again = mark(conn, OwnLog(), now, secrets.token_hex(16), "", what, config.keeper)
                return edges, keys, again

            edges, keys, again = locally(config, job)
        finally:
            keeper.close()
    return CentralBack(None, edges, keys, None, again)


def _marked(fresh: Path, made: BackupList, keeper: SlotFile, slots: Path) -> tuple[list[str], int, Again]:
    conn = open_connection(fresh)
    try:
        conn.execute("BEGIN IMMEDIATE")
        keys = forget_lost_keys(conn, keeper)
        now, restore_id = format_time(utc_now()), secrets.token_hex(16)
        edges, again = mark(conn, OwnLog(), now, restore_id, made.backup_id, made.made_at, slots)
        conn.execute("COMMIT")
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.execute("PRAGMA journal_mode=DELETE")
    finally:
        conn.close()
    fd = os.open(fresh, _NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    return edges, keys, again


def accept(config: CentralConfig, edge_id: str, reason: str) -> None:
    """Do not wait for an edge that will never say what it erased; in central's log. Raises not_found.edge, usage.reason."""
    _refuse_vague(reason)
    facts = {"accepted": True, "reason": reason, "uid": os.getuid()}
    with _translated():
        done = locally(config, lambda conn: heard(conn, OwnLog(), format_time(utc_now()), edge_id, facts))
    if not done:
        raise CallwardenError("not_found.edge", "no such edge is waited for", where=edge_id)


def _refuse_vague(reason: str) -> None:
    if not 3 <= len(reason.strip()) <= 200 or not reason.isprintable():
        raise CallwardenError("usage.reason", "say why, in 3 to 200 characters", where="reason")


def _refuse_postgres(config: CentralConfig) -> None:
    if config.postgres:
        raise CallwardenError(
            "backup.engine", "this central keeps its rows in PostgreSQL", hint="PostgreSQL's own means back it up and put"
            " it back; then `callwarden central restore --mark`: see docs/ops/backup.md", where=config.postgres,
        )  # fmt: skip


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except CentralError as error:
        raise CallwardenError(error.code, error.message, hint=error.hint, where=error.where) from error
    except sqlite3.Error as error:
        raise CallwardenError("journal.io", f"central's database cannot be used: {error}") from error
    except OSError as error:
        raise CallwardenError("restore.place", f"central's files cannot be used: {error}") from error
