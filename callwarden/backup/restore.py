"""`callwarden restore FOLDER`: payloads and journal of a backup put back, while the daemon is stopped.

The journal that comes back is marked before it gets its name: it gives nothing out until its daemon has asked central what was
erased since. Write order `restore` in docs/invariants.md. Slots are in no backup: they stay as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from callwarden.backup.folder import BackupFolder, hash_fd, hash_of
from callwarden.keyfiles import read_signing_key
from callwarden.offline import acting_as
from central.errors import CentralError
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import EdgeConfig
from edge.durable import sync_folder, write_all
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports.restores import RestoreMark
from edge.store import schema
from edge.store.restores import COUNT, mark_restored
from edge.store.wal import truncate_wal
from edge.sync.elsewhere import Elsewhere
from edge.sync.tlskey import NAME, read_certificate
from edge.sync.uplink import Uplink
from formats.backup import BackupFile, BackupList
from formats.keys import SigningKey
from formats.keyset import KeySet

Say = Callable[[str, int, int], None]
#: How long central may take to say what it witnessed, seconds; the restore goes on without it.
_ASK_S: Final = 10
_PIECE: Final = 1 << 20


@dataclass
class PutBack:
    """What a restore did. `payloads`: files written; `there`: that lay in the vault already; `set_aside`: the journal of
    before; `witnessed`: entries of this edge's log that central has, None where it was not reached."""

    made: BackupList
    payloads: int
    there: int
    set_aside: Path | None
    incarnation: int
    witnessed: int | None


def restore(config: EdgeConfig, root: Path, trust: KeySet, uid: int, say: Say) -> PutBack:
    """Raises CallwardenError journal.locked while a daemon runs, backup.*, restore.*, auth.*."""
    folder = BackupFolder(root)
    key = read_signing_key(config.edge.signing_key_file)
    made = folder.read(trust)
    if made.kind != "edge" or made.owner != config.edge.id:
        raise CallwardenError(
            "restore.foreign", f"this is a backup of {made.owner}, not of {config.edge.id}", where=str(root)
        )
    if made.schema > schema.SCHEMA:
        raise schema.newer(root, made.schema)
    owner = _owner(config)
    with acting_as(owner):
        lock = schema.lock(config.edge.journal)
    try:
        payloads, there = _payloads(config.edge.vault, folder, made, owner, say)
        witnessed = asyncio.run(_witnessed(config, key))
        # What is read is whoever's who runs this: the daemon's user may not even enter the backup's folder.
        with folder.opened(made.database.path) as source, acting_as(owner):
            count, aside = _journal(config.edge.journal, source, made, uid, witnessed)
    finally:
        os.close(lock)
    size = max(witnessed.values(), default=0) if witnessed is not None else None
    return PutBack(made, payloads, there, aside, count, size)


def _owner(config: EdgeConfig) -> tuple[int, int]:
    """Whose files they are: the state folder's owner is the daemon, also on a host where nothing else is left."""
    for path in (config.edge.journal, config.edge.state, config.edge.journal.parent):
        if path.exists():
            info = path.stat()
            return info.st_uid, info.st_gid
    raise CallwardenError(
        "restore.place", "the folder of the journal is not there", where=str(config.edge.journal.parent),
        hint="callwarden init makes an edge's folders",
    )  # fmt: skip


def _payloads(vault: Path, folder: BackupFolder, made: BackupList, owner: tuple[int, int], say: Say) -> tuple[int, int]:
    """Files of the vault that are not there; how many were written, and how many were there.

    A file that is there stays when it is the same, or longer: a segment that was open then has grown since, and the journal of
    then cuts it at its last chunk itself. Another one is damaged, and is replaced.
    """
    files = [one for one in made.files if one.kind == "vault"]
    written = 0
    with acting_as(owner):
        vault.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, one in enumerate(files, 1):
        target = vault / one.source
        with acting_as(owner):
            there = _is_there(target, one)
        if not there:
            with folder.opened(one.path) as source, acting_as(owner):
                _put(source, one, vault, target)
            written += 1
            hit("restore.payload_placed")
        say("payloads", number, len(files))
    return written, len(files) - written


def _is_there(target: Path, one: BackupFile) -> bool:
    try:
        if os.lstat(target).st_size > one.bytes:
            return True
        return hash_of(target) == (one.bytes, one.sha512)
    except OSError:
        return False


def _put(source: int, one: BackupFile, vault: Path, target: Path) -> None:
    """Copy a descriptor, hash on the way, sync, rename. Raises backup.damaged: nothing of a damaged file gets a name."""
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    try:
        for parent in (vault / one.source.split("/")[0], target.parent):
            if not parent.is_dir():
                parent.mkdir(mode=0o700)
                sync_folder(str(parent.parent))
        for left in target.parent.glob(f".{target.name}.*.part"):
            left.unlink()
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size, digest = 0, hashlib.sha512()
            while piece := os.pread(source, _PIECE, size):
                write_all(fd, piece)
                digest.update(piece)
                size += len(piece)
            os.fsync(fd)
        finally:
            os.close(fd)
        if (size, digest.hexdigest()) != (one.bytes, one.sha512):
            raise CallwardenError(
                "backup.damaged", "a payload of the backup is not what its list says", where=one.path,
                hint="callwarden backup verify names all that are; without it the restore cannot go on",
            )  # fmt: skip
        os.rename(part, target)
        sync_folder(str(target.parent))
    except OSError as error:
        raise CallwardenError(
            "restore.place", f"the vault cannot be written: {error.strerror}", where=str(target)
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


async def _witnessed(config: EdgeConfig, key: SigningKey) -> dict[str, int] | None:
    """What central mirrors of this edge's log; None where there is no central to ask."""
    central = config.central
    if not central.url or not central.enabled:
        return None
    pem = central.ca_file.read_bytes() if central.ca_file else None
    uplink = Uplink(central.url, config.edge.id, key, ca_pem=pem, clock=SystemClock(), random_bytes=os.urandom)
    try:
        uplink.offer(read_certificate(config.edge.state / NAME))
        async with asyncio.timeout(_ASK_S):
            return dict(await Elsewhere(uplink).witnessed())
    except (CallwardenError, TimeoutError):
        return None
    finally:
        await uplink.close()


def _journal(
    path: Path, source: int, made: BackupList, uid: int, witnessed: dict[str, int] | None
) -> tuple[int, Path | None]:
    """The copy made and marked beside, then put in the journal's place; its incarnation, and where the old one is."""
    fresh = path.with_name(f".{path.name}.restoring")
    for tail in ("", "-journal", "-wal", "-shm"):
        Path(f"{fresh}{tail}").unlink(missing_ok=True)
    try:
        copied(source, made.database, fresh)
        count = _marked(fresh, path, made, uid, witnessed)
        hit("restore.journal_marked")
        aside = set_aside(path, schema.connect_writer)
        hit("restore.old_set_aside")
        os.rename(fresh, path)
        sync_folder(str(path.parent))
        hit("restore.journal_placed")
    except OSError as error:
        raise CallwardenError(
            "restore.place", f"the journal cannot be written: {error.strerror}", where=str(path)
        ) from error
    except sqlite3.Error as error:
        raise CallwardenError("backup.damaged", f"the backup's journal cannot be used: {error}") from error
    return count, aside


def copied(source: int, one: BackupFile, target: Path) -> None:
    """The backup's database (a descriptor) as a new file, hashed again. Raises backup.damaged, OSError."""
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while piece := os.pread(source, _PIECE, done):
            write_all(fd, piece)
            done += len(piece)
        if hash_fd(fd) != (one.bytes, one.sha512):
            raise CallwardenError("backup.damaged", "the backup's journal is not what its list says", where=one.path)
    finally:
        os.close(fd)


def _marked(fresh: Path, path: Path, made: BackupList, uid: int, witnessed: dict[str, int] | None) -> int:
    """Migrate the copy and mark it; the number of the incarnation, one more than any that is known of."""
    conn = schema.prepare(fresh, made.owner)
    try:
        at = SystemClock().wall_text()
        count = 1 + max(_count(conn), _count_of(path), _count_at_central(made, witnessed))
        mark = RestoreMark(made.backup_id, made.made_at, at, uid)
        told: Any = None if witnessed is None else [{"origin": o, "entries": n} for o, n in sorted(witnessed.items())]
        mark_restored(conn, AuditLog(), mark, count, told)
        truncate_wal(conn, wait_ms=0)
        conn.execute("PRAGMA journal_mode=DELETE")  # one file, so that one rename puts it in its place
    finally:
        conn.close()
    _sync(fresh)
    return count


def _count(conn: sqlite3.Connection) -> int:
    row = conn.execute("SELECT value FROM meta WHERE key=?", (COUNT,)).fetchone()
    return int(row[0]) if row else 0


def _count_of(path: Path) -> int:
    """Of the journal that is replaced: the backup may be older than the restore of before."""
    if not path.exists():
        return 0
    try:
        conn = schema.connect_reader(path)
        try:
            return _count(conn)
        finally:
            conn.close()
    except (sqlite3.Error, ValueError):
        return 0  # it is damaged, which may be why it is replaced


def _count_at_central(made: BackupList, witnessed: dict[str, int] | None) -> int:
    """Highest incarnation that central has heard of: the journal that knew may be lost."""
    numbers = [0]
    for origin in witnessed or {}:
        parts = origin.split("/")
        if len(parts) == 4 and parts[2] == made.instance_id and parts[3].isdecimal():
            numbers.append(int(parts[3]))
    return max(numbers)


def set_aside(path: Path, opened: Callable[[Path], sqlite3.Connection]) -> Path | None:
    """Fold the old database's WAL into it, and give it a second name, so that there is one at every moment. `opened`: how a
    connection that may checkpoint is made. Raises OSError, CentralError."""
    if not path.exists():
        return None
    try:
        conn = opened(path)
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        conn.execute("PRAGMA journal_mode=DELETE")
        conn.close()
    except sqlite3.Error:
        pass  # damaged, which may be why it is replaced: its WAL goes aside as it is
    except CentralError as error:
        if error.code != "config.database":  # else the same, as central says it
            raise
    aside = path.with_name(f"{path.name}.before-{hash_of(path)[1][:12]}")
    for tail in ("-wal", "-shm", "-journal"):
        # A WAL beside another database would be played back into it.
        if (left := Path(f"{path}{tail}")).exists():
            os.rename(left, f"{aside}{tail}")
    if not aside.exists():
        os.link(path, aside)
    sync_folder(str(path.parent))
    return aside


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
