"""The keeper's slot file: recovery copies of shred keys, on one disk, overwritten in place, never in a database.

Layout: a 64-byte head (magic, version), then 64-byte slots: state, version, 6 bytes zero, 32 bytes of key, the first 24
bytes of SHA-256 over what stands before. All methods block. A thread is in one transaction of the database at a time, and
what it writes and destroys here belongs to that: a slot is on disk before the row that names it commits, and `commit` or
`roll_back` follows each transaction, on its thread. A key whose row was not committed is destroyed at once, a destroyed
slot is free only once no row names it.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog

from central.errors import CentralError

_log = structlog.get_logger("central")


class _Mine(threading.local):
    """What one thread's transaction did. `fresh`: slots it wrote; `spent`: slots it destroyed; `unnamed`: slots that no row
    names once it is committed; `dirty`: not synced yet."""

    def __init__(self) -> None:
        self.fresh: list[int] = []
        self.spent: list[int] = []
        self.unnamed: list[int] = []
        self.dirty = False


SLOT = 64
_MAGIC = b"callwarden-keeper\0"
_HEAD = _MAGIC + struct.pack("<H", 1)
_LIVE, _DESTROYED = 1, 2
#: Slots added at a time; 4,096 slots are 256 KiB.
_GROW = 4096
#: f_type of file systems that write a changed block elsewhere (linux/magic.h): overwriting there destroys nothing.
_COPY_ON_WRITE = {0x9123683E: "btrfs", 0x2FC12FC1: "zfs", 0x794C7630: "overlayfs", 0xCA451A4E: "bcachefs"}


class SlotFile:
    """The open slot file. `allow_copy_on_write` waives, by name in the configuration, the check of the file system."""

    def __init__(self, path: Path, *, allow_copy_on_write: bool = False) -> None:
        self._path = path
        self._mine = _Mine()
        #: Held while the list of free slots or of strays is looked at or changed, and while the file grows.
        self._guard = threading.RLock()
        self._stray: list[int] = []  # written for rows that were not committed
        self._suspect: set[int] = set()  # live at the start; see `suspect`
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _io(path, error) from error
        try:
            self._lock()
            if not allow_copy_on_write:
                self._refuse_copy_on_write()
            self._count = self._prepare() // SLOT - 1
        except OSError as error:
            os.close(self._fd)
            raise _io(path, error) from error
        except CentralError:
            os.close(self._fd)
            raise
        self._free = [n for n in range(self._count - 1, -1, -1) if self._state(n) != _LIVE]

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A second central would sweep keys whose rows the first is about to commit.
            raise CentralError(
                "environment.locked", "another central uses this keeper", where=str(self._path), hint="stop it first"
            ) from None

    def _prepare(self) -> int:
        """Write the head of a new file; the file's length. Raises CentralError keeper.format."""
        head = os.pread(self._fd, len(_HEAD), 0)
        if head.strip(b"\0") == b"":  # new, or its maker was killed before the head was on disk
            os.posix_fallocate(self._fd, 0, SLOT * (1 + _GROW))
            os.pwrite(self._fd, _HEAD.ljust(SLOT, b"\0"), 0)
            os.fsync(self._fd)
            _sync_folder(self._path.parent)
        elif head != _HEAD:
            raise CentralError("keeper.format", "this is not a keeper's slot file of version 1", where=str(self._path))
        return os.fstat(self._fd).st_size

    def put(self, key: bytes) -> int:
        """Write a 32-byte key into a free slot; its number. `flush` must come before the row's commit.

        Raises CentralError keeper.io.
        """
        encoded = _encode(key)
        try:
            with self._guard:
                if not self._free:
                    self._grow()
                number = self._free.pop()
                self._suspect.discard(number)
            self._mine.fresh.append(number)
            self._mine.dirty = True
            os.pwrite(self._fd, encoded, _at(number))
        except OSError as error:
            raise _io(self._path, error) from error
        return number

    def flush(self) -> None:
        """Sync what `put` wrote, once for many. Raises CentralError keeper.io."""
        if self._mine.dirty:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                raise _io(self._path, error) from error
            self._mine.dirty = False

    def read(self, number: int) -> bytes:
        """The key in a slot. Raises CentralError keeper.shredded when it holds none (any more)."""
        raw = os.pread(self._fd, SLOT, _at(number))
        if len(raw) != SLOT or raw[0] != _LIVE or raw[40:] != hashlib.sha256(raw[:40]).digest()[:24]:
            raise CentralError("keeper.shredded", "the slot holds no key", status=410, where=f"slot {number}")
        return raw[8:40]

    def shred(self, numbers: Sequence[int]) -> None:
        """Overwrite with random bytes, sync, read back past the cache and compare; repeats are harmless.

        The slots are free after `commit`. Raises CentralError keeper.io when one does not read back as written.
        """
        self._overwrite(numbers)
        with self._guard:
            taken = set(self._free) | set(self._mine.spent)
        self._mine.spent += [number for number in dict.fromkeys(numbers) if number not in taken]

    def discard(self, numbers: Sequence[int]) -> None:
        """Destroy what the transaction's rows name no more, after its commit: others have taken their place, and until
        then these are the ones that count. A kill in between leaves slots that no row names, which `sweep` destroys."""
        self._mine.unnamed += numbers

    def _overwrite(self, numbers: Sequence[int]) -> None:
        wrote = {number: bytes([_DESTROYED]) + secrets.token_bytes(SLOT - 1) for number in numbers}
        try:
            for number, junk in wrote.items():
                os.pwrite(self._fd, junk, _at(number))
            os.fdatasync(self._fd)
            for number, junk in wrote.items():
                if self._read_back(_at(number)) != junk:
                    raise CentralError(
                        "keeper.io", "an overwritten slot does not read back", status=500, where=f"slot {number}"
                    )
        except OSError as error:
            raise _io(self._path, error) from error

    def commit(self) -> None:
        """The transaction is committed: what it destroyed may be used again."""
        with self._guard:
            if self._mine.spent:  # a repeat may have destroyed what is free already
                self._free.extend(set(self._mine.spent).difference(self._free))
            self._stray += self._mine.unnamed
        self._mine.fresh.clear()
        self._mine.spent.clear()
        self._mine.unnamed.clear()
        self._destroy_stray()

    def mark(self) -> tuple[int, int, int]:
        """A savepoint for `roll_back_to`."""
        return len(self._mine.fresh), len(self._mine.spent), len(self._mine.unnamed)

    def roll_back_to(self, mark: tuple[int, int, int]) -> None:
        """The rows since `mark` are not kept: the keys they named are destroyed, the slots they freed stay taken."""
        with self._guard:
            self._stray += self._mine.fresh[mark[0] :]
        del self._mine.fresh[mark[0] :], self._mine.spent[mark[1] :], self._mine.unnamed[mark[2] :]
        self._destroy_stray()

    def roll_back(self) -> None:
        """As `roll_back_to`, for the whole transaction."""
        self.roll_back_to((0, 0, 0))

    def abandon(self) -> None:
        """How this thread's transaction ended is not known: what it wrote and destroyed stays as it is, taken."""
        self._mine.fresh.clear()
        self._mine.spent.clear()
        self._mine.unnamed.clear()

    def live(self) -> frozenset[int]:
        """Every slot that holds a key."""
        return frozenset(n for n in range(self._count) if self._state(n) == _LIVE)

    def suspect(self) -> None:
        """What is live now may belong to nobody; `sweep_suspects` destroys of it what was not written anew since."""
        with self._guard:
            self._suspect = set(self.live())

    def sweep_suspects(self, in_use: Iterable[int]) -> int:
        """Shred suspects that no row names, while nobody can be given one; how many. Raises CentralError keeper.io."""
        named = set(in_use)
        with self._guard:
            stray = sorted(self._suspect - named)
            if stray:
                self.shred(stray)
                self.commit()
            self._suspect.clear()
        return len(stray)

    def reserve(self, in_use: Iterable[int]) -> None:
        """A destroyed slot that a row still names (a crash in the middle of an erase) is not free: the erase comes again."""
        named = set(in_use)
        with self._guard:
            self._free = [n for n in self._free if n not in named]

    def _destroy_stray(self) -> None:
        """What cannot be overwritten now is tried again after the next transaction, and by `sweep` at the next start."""
        with self._guard:
            if not self._stray:
                return
            try:
                self._overwrite(self._stray)
            except CentralError as error:
                _log.error("keys without a row are not destroyed yet", count=len(self._stray), why=str(error))
                return
            self._free.extend(self._stray)
            self._stray.clear()

    def sweep(self, in_use: Iterable[int]) -> int:
        """Shred live slots that no row names (a crash between slot and commit), before anybody writes; how many."""
        named = set(in_use)
        self.reserve(named)
        stray = sorted(self.live() - named)
        if stray:
            self.shred(stray)
        return len(stray)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)

    def _state(self, number: int) -> int:
        return os.pread(self._fd, 1, _at(number))[0]

    def _grow(self) -> None:
        os.posix_fallocate(self._fd, _at(self._count), SLOT * _GROW)
        os.fsync(self._fd)
        self._free[:0] = range(self._count + _GROW - 1, self._count - 1, -1)
        self._count += _GROW

    def _read_back(self, offset: int) -> bytes:
        """A slot from the disk, by O_DIRECT where the file system has it, else after the page was dropped."""
        try:
            direct = os.open(self._path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(self._fd, SLOT, offset)
        try:
            page = offset // mmap.PAGESIZE * mmap.PAGESIZE
            with mmap.mmap(-1, mmap.PAGESIZE) as aligned:  # O_DIRECT wants an aligned buffer
                os.preadv(direct, [aligned], page)
                return bytes(aligned[offset - page : offset - page + SLOT])
        except OSError:
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return os.pread(self._fd, SLOT, offset)
        finally:
            os.close(direct)

    def _refuse_copy_on_write(self) -> None:
        kind = _file_system(self._path)
        if kind in _COPY_ON_WRITE:
            raise CentralError(
                "keeper.copy_on_write",
                f"{_COPY_ON_WRITE[kind]} writes changed blocks elsewhere, so overwriting a key would not destroy it",
                where=str(self._path),
                hint="put the keeper on ext4, xfs or tmpfs, or set allow_copy_on_write = true and accept that",
            )


def _at(number: int) -> int:
    return SLOT * (1 + number)


def _encode(key: bytes) -> bytes:
    if len(key) != 32:
        raise CentralError("keeper.key", "a shred key has 32 bytes")
    front = bytes([_LIVE, 1]) + bytes(6) + key
    return front + hashlib.sha256(front).digest()[:24]


def _io(path: Path, error: OSError) -> CentralError:
    return CentralError("keeper.io", f"the slot file failed: {error}", status=503, where=str(path))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _file_system(path: Path) -> int:
    """f_type of statfs(2); Python's statvfs does not have it."""
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        raise OSError(ctypes.get_errno(), "statfs")
    return int(struct.unpack_from("l", buffer.raw)[0]) & 0xFFFFFFFF
