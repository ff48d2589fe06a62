"""The bytes of `shred.keys`: a header slot, then 64-byte slots that are overwritten in place. Blocking; one thread.

Slot: state (1 byte: 0 free, 1 live, 2 destroyed), version (1), 6 zero bytes, 32-byte secret, 16 bytes of SHA-256 over
number, state and secret, 8 zero bytes. 64 divides every sector, so a slot is never torn. Slot 0 is the header: magic
(16), version (4), slot count (8), owner (16, the journal's instance), checksum. All numbers big-endian.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections import deque
from collections.abc import Sequence
from typing import Final

from edge.durable import sync_folder, write_all
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.vault.disk import read_uncached, refuse_copy_on_write

SLOT: Final = 64
SECRET: Final = 32
#: Slots of a new file: 4 MiB, a busy edge's keys of some months; the file doubles when they are used up.
FIRST_COUNT: Final = 65_536
MAGIC: Final = b"callwarden-slots"
VERSION: Final = 1
FREE, LIVE, DESTROYED = 0, 1, 2


def encode_slot(number: int, state: int, secret: bytes) -> bytes:
    """The 64 bytes of a slot."""
    check = hashlib.sha256(number.to_bytes(8, "big") + bytes((state,)) + secret).digest()[:16]
    return bytes((state, VERSION)) + bytes(6) + secret + check + bytes(8)


def _header(count: int, owner: bytes) -> bytes:
    text = MAGIC + VERSION.to_bytes(4, "big") + count.to_bytes(8, "big") + owner
    return text + hashlib.sha256(text).digest()[:16] + bytes(4)


class SlotFile:
    """An open slot file. `states` is the picture in memory, one byte a slot."""

    def __init__(self, path: str, fd: int, count: int) -> None:
        self.path = path
        self._fd = fd
        self.count = count
        self.states = bytearray()
        # First in, first out: a number that was freed comes back as late as possible.
        self.free: deque[int] = deque()

    @classmethod
    def open(cls, path: str, *, owner: str, count: int = FIRST_COUNT, allow_copy_on_write: bool = False) -> SlotFile:
        """Open or create (0600). `owner`: the journal's instance_id, so that another journal cannot sweep these keys.

        Raises CallwardenError vault.locked, vault.foreign, vault.damaged, vault.copy_on_write, vault.rights, vault.io.
        """
        try:
            if not os.path.lexists(path):
                cls._create(path, bytes.fromhex(owner), count, allow_copy_on_write)
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _io(path, error) from error
        try:
            return cls._opened(path, fd, bytes.fromhex(owner), allow_copy_on_write)
        except OSError as error:
            os.close(fd)
            raise _io(path, error) from error
        except BaseException:
            os.close(fd)
            raise

    @staticmethod
    def _create(path: str, owner: bytes, count: int, allow_copy_on_write: bool) -> None:
        # Made under another name: a kill in between must not leave a short file that looks like a damaged one.
        temp = f"{path}.new"
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not allow_copy_on_write:
                refuse_copy_on_write(fd, path)
            os.posix_fallocate(fd, 0, count * SLOT)
            # Real zeros: a write into allocated but unwritten space changes the file's map, one into zeros does not.
            write_all(fd, bytes(count * SLOT), 0)
            write_all(fd, _header(count, owner), 0)
            os.fsync(fd)
        except BaseException:
            os.unlink(temp)
            raise
        finally:
            os.close(fd)
        hit("slots.created")
        os.rename(temp, path)
        sync_folder(os.path.dirname(os.path.abspath(path)))

    @classmethod
    def _opened(cls, path: str, fd: int, owner: bytes, allow_copy_on_write: bool) -> SlotFile:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_mode & 0o077 or info.st_uid != os.geteuid():
            raise CallwardenError(
                "vault.rights", "the slot file must be a regular file of ours, mode 0600, with one name",
                hint=f"chown and chmod 600 {path}", where=path,
            )  # fmt: skip
        if not allow_copy_on_write:
            refuse_copy_on_write(fd, path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CallwardenError("vault.locked", "another process has the slot file open", where=path) from None
        head = os.pread(fd, SLOT, 0)
        count = int.from_bytes(head[20:28], "big")
        if head != _header(count, head[28:44]) or info.st_size < count * SLOT:
            raise CallwardenError(
                "vault.damaged", "the slot file's header is damaged: its keys cannot be trusted",
                hint="no backup has these keys; central's keeper may hold copies of them", where=path,
            )  # fmt: skip
        if head[28:44] != owner:
            raise CallwardenError(
                "vault.foreign", "the slot file belongs to another journal",
                hint="put its journal back, or move the slot file away: its keys would be destroyed as unused",
                where=path,
            )  # fmt: skip
        made = cls(path, fd, count)
        made._load()
        return made

    def _load(self) -> None:
        data = bytearray()
        while len(data) < self.count * SLOT:
            piece = os.pread(self._fd, 1 << 20, len(data))
            if not piece:
                raise OSError(errno.EIO, "the slot file is shorter than its header says")
            data += piece
        self.states = data[0 : self.count * SLOT : SLOT]
        self.states[0] = DESTROYED  # the header's own place is never given out
        numbers = [n for n in range(1, self.count) if self.states[n] == FREE]
        # Begin behind the last one in use, so that restarts do not bring freed numbers back at once.
        last = max((n for n in range(1, self.count) if self.states[n] != FREE), default=0)
        self.free = deque([n for n in numbers if n > last] + [n for n in numbers if n < last])

    def take(self) -> int:
        """A free number, growing the file when there is none. Raises CallwardenError vault.slots_full."""
        if not self.free:
            self._grow()
        return self.free.popleft()

    def _grow(self) -> None:
        before, after = self.count, self.count * 2
        try:
            os.posix_fallocate(self._fd, before * SLOT, (after - before) * SLOT)
            write_all(self._fd, bytes((after - before) * SLOT), before * SLOT)
            os.fsync(self._fd)
            owner = os.pread(self._fd, 16, 28)
            hit("slots.grown")
            write_all(self._fd, _header(after, owner), 0)
            os.fdatasync(self._fd)
        except OSError as error:
            raise CallwardenError(
                "vault.slots_full", "no free key slot is left and the slot file cannot grow",
                hint="free space on its disk", retryable=True, where=self.path,
            ) from error  # fmt: skip
        self.count = after
        self.states += bytes(after - before)
        self.free.extend(range(before, after))

    def write(self, number: int, state: int, secret: bytes) -> None:
        """Overwrite one slot; durable after `sync`. Raises OSError."""
        self.states[number] = state
        write_all(self._fd, encode_slot(number, state, secret), number * SLOT)

    def sync(self) -> None:
        """Make every write durable. Raises OSError."""
        os.fdatasync(self._fd)

    def check(self, number: int) -> None:
        """Raises CallwardenError vault.slot for a number that is no slot."""
        if not 0 < number < self.count:
            raise CallwardenError("vault.slot", f"there is no slot {number}", where=self.path)

    def read(self, number: int) -> bytes:
        """The secret of a live slot. Raises CallwardenError vault.slot_shredded, vault.damaged, vault.slot; OSError."""
        self.check(number)
        data = os.pread(self._fd, SLOT, number * SLOT)
        secret = data[8 : 8 + SECRET]
        if self.states[number] != LIVE:
            raise CallwardenError("vault.slot_shredded", f"the key in slot {number} was destroyed", where=self.path)
        if data != encode_slot(number, LIVE, secret):
            raise CallwardenError("vault.damaged", f"slot {number} is damaged", where=self.path)
        return secret

    def destroy(self, numbers: Sequence[int], *, free: bool) -> None:
        """Overwrite with fresh random bytes, sync, read back past the cache, compare; then mark free if asked.

        Raises CallwardenError vault.shred when the device gives back anything else; OSError.
        """
        written = {}
        for number in dict.fromkeys(numbers):
            self.check(number)
            if self.states[number] == FREE:
                continue  # it holds no key, and it waits in the list of free numbers
            noise = secrets.token_bytes(SECRET)
            written[number] = encode_slot(number, DESTROYED, noise)
            self.write(number, DESTROYED, noise)
        hit("slots.shred_written")
        self.sync()
        hit("slots.shred_synced")
        for number, expected in written.items():
            if read_uncached(self.path, self._fd, number * SLOT, SLOT) != expected:
                raise CallwardenError(
                    "vault.shred", f"slot {number} did not keep what was written over it",
                    hint="the disk lies or fails: the recording stays `erasing` until this succeeds",
                    retryable=True, where=self.path,
                )  # fmt: skip
        hit("slots.shred_checked")
        if free and written:
            for number in written:
                self.write(number, FREE, bytes(SECRET))
            self.sync()
            self.free.extend(written)

    def reserve(self, numbers: set[int]) -> None:
        """Make free slots destroyed ones, so that `take` does not give them out. Raises OSError."""
        if numbers:
            for number in numbers:
                self.write(number, DESTROYED, secrets.token_bytes(SECRET))
            self.sync()
            self.free = deque(n for n in self.free if n not in numbers)

    def close(self) -> None:
        """Give the descriptor and the lock back."""
        os.close(self._fd)


def _io(path: str, error: OSError) -> CallwardenError:
    return CallwardenError("vault.io", f"the slot file cannot be used: {error}", retryable=True, where=path)
