"""The capture spool's files: the memory-backed folder that Asterisk writes plaintext into, every system call on it.

Files are made here before Asterisk is told their name (O_EXCL, 0660, group of Asterisk, 128-bit random name): no
collision, never world-readable, and writability is proven before anything is promised. Asterisk truncates and fills
them; sealed bytes are punched out behind it. All functions block briefly; on a tmpfs they touch memory only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import signal
import stat
import threading
from pathlib import Path
from typing import Final

from edge.errors import CallwardenError
from edge.failpoints import hit
from formats.pcm import SILENCE

_FALLOC_FL_KEEP_SIZE: Final = 0x01  # linux/falloc.h
_FALLOC_FL_PUNCH_HOLE: Final = 0x02
#: Asterisk's stdio buffer for a file it writes, bytes (main/file.c, setvbuf of 32 KiB).
BUFFER: Final = 32768
_PAGE: Final = 4096
_BLOCK: Final = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


#: What the name of a capture ends with whose two sides are two files (`edge.recorder.spool`).
PAIR: Final = ".pair"


def codec_of(name: str) -> str:
    """The codec in a capture's name, as Asterisk spells it."""
    return name.removesuffix(PAIR).rpartition(".")[2]


def silence_of(name: str) -> bytes:
    """The byte that a muted monitor writes into a capture of this name."""
    return bytes([SILENCE.get(codec_of(name), 0)])


class Files:
    """One folder of capture files. `group`: gid that Asterisk runs with, or None to leave the group alone."""

    def __init__(self, folder: Path, group: int | None) -> None:
        self.folder = folder
        self._group = group
        # A lease break would otherwise end the process; our leases are held for microseconds and need no notice. The daemon
        # is built in its main thread; whoever only looks, in another one, takes no lease.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGIO, signal.SIG_IGN)

    def path(self, name: str) -> str:
        """Where the file `name` lies."""
        return str(self.folder / name)

    def prove(self) -> None:
        """At start-up: make and remove a file as every recording will. Raises CallwardenError spool.unwritable."""
        name = f"{secrets.token_hex(16)}.proof"
        self._make(name)
        os.unlink(self.path(name))

    def create(self, name: str) -> int:
        """Make an empty file, return its inode. Raises CallwardenError spool.unwritable."""
        inode = self._make(name)
        hit("spool.created")
        return inode

    def _make(self, name: str) -> int:
        path = self.path(name)
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
            try:
                if self._group is not None:
                    os.fchown(fd, -1, self._group)
                os.fchmod(fd, 0o660)
                inode = os.fstat(fd).st_ino
            finally:
                os.close(fd)
        except OSError as error:
            raise CallwardenError(
                "spool.unwritable",
                f"the capture file cannot be made: {error.strerror}",
                where=path,
                hint="the spool must be writable by the daemon, in a group it belongs to, with room left",
            ) from error
        return inode

    def status(self, name: str) -> tuple[int, int] | None:
        """(inode, bytes) of a regular file with one link; None when there is none.

        Raises CallwardenError spool.foreign for anything else under that name (symlink, FIFO, hard link).
        """
        try:
            st = os.lstat(self.path(name))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(st.st_mode) or st.st_nlink != 1:
            raise CallwardenError(
                "spool.foreign",
                "this is not a plain file with one link",
                where=self.path(name),
                hint="somebody planted it; it was not touched",
            )
        return st.st_ino, st.st_size

    def open(self, name: str) -> int:
        """A read-only descriptor."""
        return os.open(self.path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def writer_gone(self, name: str) -> bool:
        """Whether nobody has the file open for writing any more.

        The kernel grants a read lease only then (fcntl(2), F_SETLEASE), so this is true knowledge even when the daemon
        slept through the hang-up or Asterisk was killed. It says nothing about a writer that has not come yet: ask only
        after the file grew or its channel is gone.
        """
        fd = self.open(name)
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            return False
        else:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return True
        finally:
            os.close(fd)

    def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes of [start, end); fewer where the file is shorter."""
        fd = self.open(name)
        try:
            return os.pread(fd, end - start, start)
        finally:
            os.close(fd)

    def take(self, name: str, start: int, end: int) -> bytes | None:
        """The bytes of [start, end) for sealing; None where a page of them was freed before."""
        fd = self.open(name)
        try:
            return None if self.has_hole(fd, start, end) else os.pread(fd, end - start, start)
        finally:
            os.close(fd)

    def first_sound(self, name: str, start: int, end: int) -> int | None:
        """The offset of the first byte of [start, end) that is not digital silence, None when there is none. Holes cost
        nothing."""
        at, silence = start, silence_of(name)
        while (at := self.next_data(name, at)) < end:
            block = self.read(name, at, min(end, at + _BLOCK))
            if not block:
                return None
            if quiet := len(block) - len(block.lstrip(silence)):
                if quiet < len(block):
                    return at + quiet
            else:
                return at
            at += len(block)
        return None

    def last_sound(self, name: str, start: int, end: int) -> int:
        """The offset behind the last byte of [start, end) that is not digital silence; `start` when there is none."""
        at, silence = end, silence_of(name)
        while at > start:
            low = max(start, at - _BLOCK)
            if loud := len(self.read(name, low, at).rstrip(silence)):
                return low + loud
            at = low
        return start

    def has_hole(self, fd: int, start: int, end: int) -> bool:
        """Whether a page of [start, end) was punched out or never written: to seal it again would give the speech away."""
        try:
            return os.lseek(fd, start, os.SEEK_HOLE) < end
        except OSError as error:
            if error.errno == errno.ENXIO:  # start is at or behind the end of the file
                return True
            raise

    def next_data(self, name: str, offset: int) -> int:
        """The first offset from `offset` on whose page holds bytes, or where the next byte will come. Raises OSError."""
        fd = self.open(name)
        try:
            return os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return max(offset, os.fstat(fd).st_size)
            raise
        finally:
            os.close(fd)

    def punch(self, name: str, end: int, *, whole: bool = True) -> None:
        """Free all whole pages before `end`; with `whole` false the kernel also zeroes the part of a page before it.

        Raises CallwardenError spool.punch.
        """
        length = end // _PAGE * _PAGE if whole else end
        if length <= 0:
            return
        fd = os.open(self.path(name), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if _libc.fallocate(fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, 0, length) != 0:
                code = ctypes.get_errno()
                raise CallwardenError(
                    "spool.punch",
                    f"sealed bytes cannot be freed: {os.strerror(code)}",
                    where=self.path(name),
                    hint="the spool must be a tmpfs",
                )
        finally:
            os.close(fd)
        hit("seal.punched")

    def unlink(self, name: str) -> None:
        """Remove the file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))
        hit("spool.unlinked")

    def names(self) -> list[str]:
        """Every name in the folder."""
        return os.listdir(self.folder)

    def resident(self, name: str) -> int:
        """Bytes of memory the file holds now."""
        try:
            return os.lstat(self.path(name)).st_blocks * 512
        except FileNotFoundError:
            return 0
