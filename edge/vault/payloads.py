"""Payload files: `<vault>/<aa>/<recording_id>/<segment_id>.payload`, folders 0700, files 0600.

Every name is an id that was checked, every step goes through a folder's descriptor with O_NOFOLLOW: nothing that
somebody planted in the vault is followed. Methods block and fsync.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final

from edge.durable import write_all
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.vault.beside import NEW, PAYLOAD, WAVEFORM, Beside
from formats.ids import is_id

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE: Final = 1 << 20


class PayloadVault(Beside):
    """Implements `edge.ports.Vault` below one folder, which is made (0700) when it is not there."""

    def __init__(self, root: str) -> None:
        """Raises CallwardenError vault.rights when others may enter the folder, vault.io."""
        self.root = os.path.abspath(root)
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            info = os.lstat(self.root)
        except OSError as error:
            raise _io(self.root, error) from error
        if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077:
            raise CallwardenError(
                "vault.rights", "the vault must be a folder that only the daemon may enter",
                hint=f"chmod 700 {self.root}", where=self.root,
            )  # fmt: skip

    def create(self, recording_id: str, segment_id: str) -> None:
        """See `edge.ports.Vault`. Raises CallwardenError vault.exists, vault.io."""
        with self._folder(recording_id, make=True) as folder:
            try:
                fd = os.open(
                    _name(segment_id),
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                    0o600,
                    dir_fd=folder,
                )
            except FileExistsError as error:
                raise CallwardenError(
                    "vault.exists", "the payload file is there already", where=self.path(recording_id, segment_id)
                ) from error
            os.close(fd)
            hit("vault.created")
            os.fsync(folder)
            hit("vault.create_synced")

    def append(self, recording_id: str, segment_id: str, offset: int, data: bytes) -> None:
        """See `edge.ports.Vault`. Raises CallwardenError vault.differs, vault.short (a gap before `offset`), vault.io."""
        with self._file(recording_id, segment_id, os.O_RDWR) as fd:
            size = os.fstat(fd).st_size
            where = self.path(recording_id, segment_id)
            if size < offset:
                raise CallwardenError(
                    "vault.short", f"the payload has {size} bytes, {offset} were sealed before", where=where
                )
            there = min(size - offset, len(data))
            if there and _read(fd, offset, there) != data[:there]:
                raise CallwardenError("vault.differs", "the payload has other bytes than would be written", where=where)
            if there < len(data):
                write_all(fd, memoryview(data)[there:], offset + there)
            hit("vault.appended")
            os.fdatasync(fd)  # with the new length: a length that is needed to read counts as data
            hit("vault.synced")

    def truncate(self, recording_id: str, segment_id: str, length: int) -> None:
        """Cut the payload to `length` bytes and fsync; longer than it is does nothing. Raises CallwardenError vault.io."""
        with self._file(recording_id, segment_id, os.O_RDWR) as fd:
            if os.fstat(fd).st_size > length:
                os.ftruncate(fd, length)
                hit("vault.truncated")
            os.fsync(fd)

    def length(self, recording_id: str, segment_id: str) -> int:
        """See `edge.ports.Vault`."""
        try:
            with self._file(recording_id, segment_id, os.O_RDONLY) as fd:
                return os.fstat(fd).st_size
        except CallwardenError as error:
            if error.code == "vault.missing":
                return 0
            raise

    def sha512(self, recording_id: str, segment_id: str) -> bytes:
        """The digest of the whole payload. Raises CallwardenError vault.missing, vault.io."""
        digest = hashlib.sha512()
        with self._file(recording_id, segment_id, os.O_RDONLY) as fd:
            while piece := os.read(fd, _PIECE):
                digest.update(piece)
        return digest.digest()

    def open(self, recording_id: str, segment_id: str) -> BinaryIO:
        """See `edge.ports.Vault`. Raises CallwardenError vault.missing, vault.planted, vault.io."""
        with self._file(recording_id, segment_id, os.O_RDONLY) as fd:
            return os.fdopen(os.dup(fd), "rb")

    def path(self, recording_id: str, segment_id: str) -> str:
        """Where the payload lies, whether or not it is there."""
        _check(recording_id)
        return os.path.join(self.root, recording_id[:2], recording_id, _name(segment_id))

    def unlink(self, recording_id: str) -> int:
        """See `edge.ports.Vault`. Repeats return 0. Raises CallwardenError vault.io."""
        gone = 0
        try:
            with self._folder(recording_id) as folder:
                for name in os.listdir(folder):
                    os.unlink(name, dir_fd=folder)
                    gone += 1
                    hit("vault.unlinked")
                os.fsync(folder)
        except CallwardenError as error:
            if error.code != "vault.missing":
                raise
        with self._open(self.root) as root:
            try:
                parent = os.open(recording_id[:2], _FOLDER, dir_fd=root)
            except FileNotFoundError:
                return gone
            except OSError as error:
                raise _io(self.root, error) from error
            with _closing(parent, self.root):
                try:
                    os.rmdir(recording_id, dir_fd=parent)
                except FileNotFoundError:
                    pass  # an earlier try got this far; the sync below is what it may have missed
                os.fsync(parent)
                hit("vault.unlink_synced")
        return gone

    def unlink_segment(self, recording_id: str, segment_id: str) -> bool:
        """See `edge.ports.Vault`. Repeats return False. Raises CallwardenError vault.io."""
        names, gone = (_name(segment_id), segment_id + WAVEFORM, segment_id + WAVEFORM + NEW), False
        try:
            with self._folder(recording_id) as folder:
                for name in names:
                    try:
                        os.unlink(name, dir_fd=folder)
                        gone = True
                    except FileNotFoundError:
                        continue
                os.fsync(folder)
        except CallwardenError as error:
            if error.code != "vault.missing":
                raise
            return False
        return gone

    def listing(self) -> Sequence[tuple[str, str, int]]:
        """See `edge.ports.Vault`; sorted. Names that are no payload are left out."""
        found = []
        try:
            for prefix in os.scandir(self.root):
                if not prefix.is_dir(follow_symlinks=False):
                    continue
                for folder in os.scandir(prefix.path):
                    if not (is_id(folder.name) and folder.is_dir(follow_symlinks=False)):
                        continue
                    for entry in os.scandir(folder.path):
                        segment_id = entry.name.removesuffix(PAYLOAD)
                        if is_id(segment_id) and entry.is_file(follow_symlinks=False):
                            found.append((folder.name, segment_id, entry.stat(follow_symlinks=False).st_size))
        except OSError as error:
            raise _io(self.root, error) from error
        return sorted(found)

    # ------------------------------------------------------------ descriptors

    @contextmanager
    def _open(self, path: str) -> Iterator[int]:
        try:
            fd = os.open(path, _FOLDER)
        except OSError as error:
            raise _io(path, error) from error
        with _closing(fd, path):
            yield fd

    @contextmanager
    def _folder(self, recording_id: str, *, make: bool = False) -> Iterator[int]:
        """The recording's folder; made with its parent and synced when `make`."""
        _check(recording_id)
        where = os.path.join(self.root, recording_id[:2], recording_id)
        with (
            self._open(self.root) as root,
            _step(root, recording_id[:2], make, where) as parent,
            _step(parent, recording_id, make, where) as folder,
        ):
            yield folder

    @contextmanager
    def _file(self, recording_id: str, segment_id: str, flags: int) -> Iterator[int]:
        where = self.path(recording_id, segment_id)
        with self._folder(recording_id) as folder:
            try:
                # O_NONBLOCK: a planted FIFO must not hold the daemon.
                fd = os.open(_name(segment_id), flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
            except OSError as error:
                raise _io(where, error) from error
            with _closing(fd, where):
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
                    raise CallwardenError("vault.planted", "the payload is not a plain file with one name", where=where)
                yield fd


@contextmanager
def _closing(fd: int, where: str) -> Iterator[None]:
    """Close `fd` afterwards; an OSError within becomes a CallwardenError."""
    try:
        yield
    except OSError as error:
        raise _io(where, error) from error
    finally:
        os.close(fd)


@contextmanager
def _step(parent: int, name: str, make: bool, where: str) -> Iterator[int]:
    try:
        if make:
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
                os.fsync(parent)
            except FileExistsError:
                pass  # whatever has the name is looked at by the open below
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        raise _io(where, error) from error
    with _closing(fd, where):
        yield fd


def _check(identifier: str) -> str:
    if not is_id(identifier):
        raise CallwardenError("vault.name", "a payload is named by ids of 32 hex digits")
    return identifier


def _name(segment_id: str) -> str:
    return _check(segment_id) + PAYLOAD


def _read(fd: int, offset: int, length: int) -> bytes:
    pieces = []
    while length and (piece := os.pread(fd, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _io(where: str, error: OSError) -> CallwardenError:
    if isinstance(error, FileNotFoundError):
        return CallwardenError("vault.missing", "the payload is not there", where=where)
    if error.errno == errno.ELOOP:
        return CallwardenError("vault.planted", "the payload is not a plain file with one name", where=where)
    return CallwardenError("vault.io", f"the vault's disk failed: {error.strerror}", retryable=True, where=where)
