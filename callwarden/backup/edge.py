"""`callwarden backup FOLDER`: journal, payloads, configuration and prompts of an edge, while it is at work.

Never in a backup: `shred.keys`, resume keys, the spool, key files. Write order `backup` in docs/invariants.md.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from callwarden.backup.database import copy_database, open_beside
from callwarden.backup.folder import BackupFolder, hash_fd, refuse_place
from callwarden.door import Door
from callwarden.keyfiles import read_signing_key, read_trust
from callwarden.offline import acting_as
from edge.config import EdgeConfig
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.store import schema
from formats.backup import BackupFile, BackupGap, BackupList
from formats.keys import SigningKey
from formats.keyset import KeySet, entry

_NOFOLLOW: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Names of files beside a payload that belong to its recording.
_NAME: Final = re.compile(r"[0-9a-z][0-9a-z._-]{0,120}")

Say = Callable[[str, int, int], None]


@dataclass
class Done:
    """What a backup did. `copied`: files written now; `kept`: files that were there."""

    made: BackupList
    copied: int
    kept: int
    removed: int


@dataclass
class Work:
    """One run: what the list is going to name, and how much of it was copied."""

    folder: BackupFolder
    before: Mapping[str, BackupFile]
    say: Say
    files: list[BackupFile] = field(default_factory=list)
    gaps: list[BackupGap] = field(default_factory=list)
    copied: int = 0
    kept: int = 0

    def put(self, stem: str, kind: str, fd: int, origin: str, length: int | None = None) -> None:
        """Copy unless the same bytes are there."""
        size, sha512 = hash_fd(fd, length)
        path = self.folder.name(stem, sha512)
        if any(one.path == path for one in self.files[-3:]):
            return  # the configuration names one file twice
        if self.folder.has(path, size, sha512, self.before):
            self.files.append(BackupFile(path, kind, size, sha512, origin))  # type: ignore[arg-type]
            self.kept += 1
            return
        self.files.append(self.folder.put(stem, kind, fd, origin, length))  # type: ignore[arg-type]
        self.copied += 1


def own_keys(key: SigningKey, edge_id: str, trust_file: Path) -> KeySet:
    """A key set of this edge's key, and of those it had before where the trust file names them: what its own list is held
    against."""
    try:
        former = [
            one for one in read_trust(trust_file).with_role("edge") if one.edge_id == edge_id and one.kid != key.kid
        ]
    except CallwardenError:
        former = []
    return KeySet.of([entry(key.verify_key, "edge", edge_id, edge_id=edge_id), *former])


def make(config: EdgeConfig, door: Door | None, root: Path, expires_at: str | None, say: Say) -> Done:
    """Bring the backup in `root` up to date. `door`: the daemon's, or None to use the journal under the daemon's lock.

    Interrupted, it is begun again and goes on: what was copied is kept, the list of before stands until the new one is whole.
    Raises CallwardenError backup.*, journal.*, restore.pending.
    """
    folder = BackupFolder(root)
    key = read_signing_key(config.edge.signing_key_file)
    refuse_place(root, config)
    with folder.locked():
        before = listed(folder, own_keys(key, config.edge.id, config.edge.trust_file))
        backup_id = secrets.token_hex(16)
        with _told(config, door) as told:
            told.backup_begun(backup_id, str(root.absolute()), expires_at)
        hit("backup.begun")
        work = Work(folder, before, say)
        snapshot = root / f".{backup_id}.db.part"
        with _reading(config, door) as conn:
            copy_database(conn, snapshot, lambda done, of: say("journal", done, of))
        hit("backup.journal_copied")
        made = _from_snapshot(config, work, backup_id, snapshot)
        _configuration(config, work)
        made = BackupList(
            backup_id, "edge", config.edge.id, made.instance_id, made.schema, made.log_size, made.made_at,
            tuple(sorted(work.files, key=lambda one: one.path)), tuple(work.gaps),
        )  # fmt: skip
        folder.write(made, key)
        removed = folder.prune(made)
        with _told(config, door) as told:
            told.backup_made(backup_id)
        hit("backup.finished")
    return Done(made, work.copied, work.kept, removed)


def listed(folder: BackupFolder, trust: KeySet) -> Mapping[str, BackupFile]:
    """What the last backup in this folder holds; nothing where there is none. Raises for one of somebody else."""
    try:
        return {one.path: one for one in folder.read(trust).files}
    except CallwardenError as error:
        if error.code == "not_found.backup":
            return {}
        raise


@contextmanager
def _told(config: EdgeConfig, door: Door | None) -> Iterator[Door]:
    if door is not None:
        yield door
        return
    from callwarden.offline import open_offline

    with open_offline(config) as offline:
        yield offline


@contextmanager
def _reading(config: EdgeConfig, door: Door | None) -> Iterator[sqlite3.Connection]:
    """Beside the daemon; or, without one, under its lock for as long as the journal itself is copied."""
    path = config.edge.journal
    with ExitStack() as stack:
        if door is None:
            info = path.stat()
            with acting_as((info.st_uid, info.st_gid)):
                lock = schema.lock(path)
                stack.callback(os.close, lock)
                conn = schema.connect_reader(path)
        else:
            conn = open_beside(path)
        stack.callback(conn.close)
        yield conn


def _from_snapshot(config: EdgeConfig, work: Work, backup_id: str, snapshot: Path) -> BackupList:
    """The database into the list, then each payload that its rows name; facts of the list that is to be made."""
    conn = sqlite3.connect(snapshot, isolation_level=None)
    try:
        meta = dict(conn.execute("SELECT key, value FROM meta"))
        version = int(conn.execute("PRAGMA user_version").fetchone()[0])
        size = int(conn.execute("SELECT ifnull(max(idx) + 1, 0) FROM audit").fetchone()[0])
        at = conn.execute("SELECT begun_at FROM backup WHERE backup_id=?", (backup_id,)).fetchone()[0]
        rows = conn.execute(
            "SELECT recording_id, segment_id, s.state, payload_bytes, payload_sha512, staged FROM segment s JOIN recording r"
            " USING(recording_id) WHERE r.state NOT IN ('erasing', 'erased') AND s.state<>'shredded' AND payload_bytes>0"
            " ORDER BY recording_id, number"
        ).fetchall()
    finally:
        conn.close()
    fd = os.open(snapshot, _NOFOLLOW)
    try:
        work.put("journal.db", "database", fd, str(config.edge.journal))
    finally:
        os.close(fd)
    snapshot.unlink()
    recordings: dict[str, set[str]] = {}
    for number, (recording_id, segment_id, state, length, sha512, staged) in enumerate(rows, 1):
        digest = sha512 if state != "open" else None
        _payload(config.edge.vault, work, recording_id, segment_id, length, digest, staged)
        recordings.setdefault(recording_id, set()).add(f"{segment_id}.payload")
        work.say("payloads", number, len(rows))
    for recording_id, payloads in recordings.items():
        _beside(config.edge.vault, work, recording_id, payloads)
    return BackupList(backup_id, "edge", config.edge.id, meta["instance_id"], version, size, at, ())


def _payload(
    vault: Path, work: Work, recording_id: str, segment_id: str, length: int, sha512: bytes | None, staged: str
) -> None:
    """One payload, up to its committed length. `sha512`: what its row says; None while the segment is open. `staged`: the
    name a compacted one still lies under, unless it was renamed since."""
    relative = f"{recording_id[:2]}/{recording_id}/{segment_id}.payload"
    stem = f"vault/{relative}"
    if sha512 is not None:
        path = work.folder.name(stem, sha512.hex())
        if work.folder.has(path, length, sha512.hex(), work.before):
            work.files.append(BackupFile(path, "vault", length, sha512.hex(), relative))
            work.kept += 1
            return
    try:
        fd = _one_of(vault / recording_id[:2] / recording_id, staged, segment_id)
    except FileNotFoundError:
        work.gaps.append(BackupGap(recording_id, segment_id, "missing"))  # erased since, perhaps
        return
    try:
        size, found = hash_fd(fd, length)
        if size != length or (sha512 is not None and found != sha512.hex()):
            work.gaps.append(BackupGap(recording_id, segment_id, "damaged"))
            return
        work.put(stem, "vault", fd, relative, length)
    finally:
        os.close(fd)


def _one_of(folder: Path, staged: str, segment_id: str) -> int:
    """The payload under its staged name, if it has one, or under its own."""
    if staged:
        with suppress(FileNotFoundError):
            return os.open(folder / f"{staged}.payload", _NOFOLLOW)
    return os.open(folder / f"{segment_id}.payload", _NOFOLLOW)


def _beside(vault: Path, work: Work, recording_id: str, payloads: set[str]) -> None:
    """What else lies in a recording's folder and dies with it."""
    folder = vault / recording_id[:2] / recording_id
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        if name in payloads or name.endswith((".payload", ".part", ".tmp")) or not _NAME.fullmatch(name):
            continue
        try:
            fd = os.open(folder / name, _NOFOLLOW)
        except OSError:
            continue
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                relative = f"{recording_id[:2]}/{recording_id}/{name}"
                work.put(f"vault/{relative}", "vault", fd, relative)
        finally:
            os.close(fd)


def _configuration(config: EdgeConfig, work: Work) -> None:
    """What a person wrote: TOML files (secrets are files of their own and stay away), public keys, prompts."""
    edge = config.edge
    main = config.path.parent
    for path in (config.path, *sorted((main / "conf.d").glob("*.toml"))):
        take(work, f"configuration/{path.relative_to(main)}", "configuration", path)
    for named in (edge.trust_file, config.central.ca_file, edge.jurisdictions):
        if named is not None and named.is_file():
            take(work, f"configuration/{_plain(named.name)}", "configuration", named)
    if edge.prompts.is_dir():
        for path in sorted(edge.prompts.rglob("*")):
            relative = "/".join(_plain(part) for part in path.relative_to(edge.prompts).parts)
            if path.is_file() and not path.is_symlink():
                take(work, f"prompts/{relative}", "prompt", path)


def _plain(name: str) -> str:
    """A name as a list may have it."""
    return re.sub(r"[^A-Za-z0-9._@+-]", "_", name).lstrip(".") or "_"


def take(work: Work, stem: str, kind: str, path: Path) -> None:
    """A file of the configuration or of the prompts. Raises environment.file."""
    try:
        fd = os.open(path, _NOFOLLOW & ~os.O_NOFOLLOW)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        work.put(stem, kind, fd, str(path))
    finally:
        os.close(fd)
