"""A backup's folder: files that are whole or not there, one signed list that is replaced last, one backup at a time.

A file is written under a name that begins with a dot, synced, read back past the cache and renamed; its name holds the first
digits of its hash, so that a file with the right name and length that an earlier run left is the same file. What the list does
not name is removed after the list is durable, of files that a backup made: nothing else in the folder is ever touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Final

import msgspec

from edge.durable import sync_folder, write_all, write_file
from edge.errors import CallwardenError
from edge.failpoints import hit
from formats.backup import BackupFile, BackupList, FileKind, check_path, read_list, sign_list
from formats.errors import FormatError
from formats.keys import SigningKey
from formats.keyset import KeySet

LIST: Final = "backup.json"
_LOCK: Final = ".lock"
_PART: Final = ".part"
_PIECE: Final = 1 << 20
#: Digits of a hash in a name: enough that two files of one recording never share a name.
DIGITS: Final = 16
#: Folders that a backup makes, and the names of its files: beside the list, and below those folders.
_FOLDERS: Final = ("vault", "configuration", "prompts")
_TOP: Final = re.compile(
    r"(journal|central)\.db@[0-9a-f]{16}|\.(journal|central)\.db\.part|\.[0-9a-f]{32}\.db\.part(-journal|-wal|-shm)?"
    r"|\.backup\.json\.[0-9a-f]{16}\.tmp|\.lock|backup\.json"
)
_BELOW: Final = re.compile(r".+@[0-9a-f]{16}|\..+\.part", re.DOTALL)


def _made_here(path: str) -> bool:
    """Whether a backup makes files of this name (below its folder)."""
    top, *below = path.split("/")
    return bool(_BELOW.fullmatch(below[-1])) and top in _FOLDERS if below else bool(_TOP.fullmatch(top))


def refuse_place(root: Path, config: object, *more: Path) -> None:
    """A backup's folder may lie in nothing that `config` (or `more`) names, and hold nothing of it. Raises backup.place."""
    place = root.resolve()
    for path in (*_paths(config), *more):
        if not path.is_absolute():
            continue  # a credential of a service that this process does not belong to
        named = path.resolve()
        if place.is_relative_to(named) or named.is_relative_to(place):
            raise CallwardenError(
                "backup.place", f"a backup must lie apart from what the configuration names: {path}",
                hint="name a new folder, best on another disk", where=str(root),
            )  # fmt: skip


def _paths(value: object) -> Iterable[Path]:
    """Every file and folder in a configuration."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _paths(getattr(value, name))
    elif is_dataclass(value):
        for one in fields(value):
            yield from _paths(getattr(value, one.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _paths(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


class BackupFolder:
    """One backup's folder. Raises CallwardenError backup.*."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder (0700) and keep others from it. Raises backup.busy, backup.place."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = os.lstat(self.root)
            if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077:
                raise CallwardenError(
                    "backup.place", "a backup's folder is one that only its owner may enter: it holds callers' numbers",
                    hint=f"chmod 700 {self.root}", where=str(self.root),
                )  # fmt: skip
            self._refuse_strange()
            fd = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _io(self.root, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise CallwardenError(
                "backup.busy", "another backup is being written there", where=str(self.root), retryable=True
            ) from None
        finally:
            os.close(fd)

    def _refuse_strange(self) -> None:
        """A first backup wants a folder of its own, new or with what a run that broke off left. (A list that is there is
        verified before anything is written.)"""
        if (self.root / LIST).is_file():
            return
        for top, _, files in os.walk(self.root):
            for name in files:
                path = os.path.relpath(os.path.join(top, name), self.root)
                if not _made_here(path):
                    raise CallwardenError(
                        "backup.place", f"no backup is in this folder, and something else is: {path[:200]!r}",
                        hint="name a new or an empty folder", where=str(self.root),
                    )  # fmt: skip

    def read(self, trust: KeySet) -> BackupList:
        """The list. Raises not_found.backup, backup.list, auth.*."""
        path = self.root / LIST
        try:
            return read_list(path.read_bytes(), trust)
        except FileNotFoundError as error:
            raise CallwardenError("not_found.backup", "no finished backup is there", where=str(path)) from error
        except OSError as error:
            raise _io(path, error) from error
        except FormatError as error:
            raise CallwardenError(
                error.code, error.message, where=str(path), hint="--trust names the key set with the key that signed it"
            ) from error

    def name(self, stem: str, sha512: str) -> str:
        """The path of a file whose hash is known."""
        return f"{stem}@{sha512[:DIGITS]}"

    def has(self, path: str, size: int, sha512: str, listed: Mapping[str, BackupFile]) -> bool:
        """Whether the file is there already: as the last list says, or, of a run that broke off, by its hash."""
        check_path(path)
        try:
            info = os.lstat(self.root / path)
        except OSError:
            return False
        if not stat.S_ISREG(info.st_mode) or info.st_size != size:
            return False
        before = listed.get(path)
        if before is not None and (before.bytes, before.sha512) == (size, sha512):
            return True
        return hash_of(self.root / path) == (size, sha512)

    def put(self, stem: str, kind: FileKind, source: int, origin: str, length: int | None = None) -> BackupFile:
        """Copy `source` (a descriptor; its first `length` bytes) to `<stem>@<hash>`. Raises backup.io, backup.damaged."""
        check_path(stem)
        target = self.root / stem
        part = target.parent / f".{target.name}{_PART}"
        try:
            self._folders(target.parent)
            digest = hashlib.sha512()
            done = 0
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                while piece := os.pread(source, _PIECE if length is None else min(_PIECE, length - done), done):
                    write_all(fd, piece)
                    digest.update(piece)
                    done += len(piece)
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
            found = digest.hexdigest()
            if hash_of(part) != (done, found):
                raise CallwardenError(
                    "backup.damaged", "the disk gave back something else than was written", where=str(part)
                )
            hit("backup.file_written")
            path = self.name(stem, found)
            os.replace(part, self.root / path)
            sync_folder(str(target.parent))
        except OSError as error:
            raise _io(target, error) from error
        hit("backup.file_placed")
        return BackupFile(path, kind, done, found, origin)

    def _folders(self, folder: Path) -> None:
        """Make the folders down to `folder`, each synced into its parent."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            sync_folder(str(one.parent))

    def write(self, made: BackupList, key: SigningKey) -> None:
        """Replace the list: from here on this is the backup. Raises backup.io."""
        try:
            write_file(str(self.root / LIST), sign_list(made, key))
        except OSError as error:
            raise _io(self.root / LIST, error) from error
        hit("backup.listed")

    def prune(self, made: BackupList) -> int:
        """Remove what the list does not name: what the edge forgot, and the parts of runs that broke off. A file of a name
        that no backup gives is somebody else's and stays."""
        named = {LIST, _LOCK, *(one.path for one in made.files)}
        gone = 0
        try:
            for top, folders, files in os.walk(self.root, topdown=False):
                for name in files:
                    path = os.path.join(top, name)
                    relative = os.path.relpath(path, self.root)
                    if relative not in named and _made_here(relative):
                        os.unlink(path)
                        gone += 1
                        hit("backup.pruned")
                for name in folders:
                    path = os.path.join(top, name)
                    ours = os.path.relpath(path, self.root).split("/")[0] in _FOLDERS
                    if ours and not os.path.islink(path) and not os.listdir(path):
                        os.rmdir(path)
        except OSError as error:
            raise _io(self.root, error) from error
        return gone

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """A listed file for reading; nothing planted is followed. Raises backup.io, backup.missing."""
        check_path(path)
        try:
            fd = os.open(self.root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise CallwardenError("backup.missing", "a file of the backup is not there", where=path) from error
        except OSError as error:
            raise _io(self.root / path, error) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CallwardenError("backup.damaged", "not a plain file", where=path)
            yield fd
        except OSError as error:
            raise _io(self.root / path, error) from error
        finally:
            os.close(fd)


def hash_of(path: Path) -> tuple[int, str]:
    """Bytes and SHA-512 (hex) of a file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return hash_fd(fd)
    finally:
        os.close(fd)


def hash_fd(fd: int, length: int | None = None) -> tuple[int, str]:
    """The same of a descriptor, of its first `length` bytes. Raises OSError."""
    digest, done = hashlib.sha512(), 0
    while piece := os.pread(fd, _PIECE if length is None else min(_PIECE, length - done), done):
        digest.update(piece)
        done += len(piece)
    return done, digest.hexdigest()


def _io(where: Path, error: OSError) -> CallwardenError:
    return CallwardenError(
        "backup.place", f"the backup's disk failed: {error.strerror}", retryable=True, where=str(where)
    )
