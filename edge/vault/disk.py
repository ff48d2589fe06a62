"""What a file system is, and reading a file past its page cache."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Final

from edge.errors import CallwardenError

#: f_type of file systems on which overwriting in place does not overwrite (linux/magic.h; bcachefs: fs/bcachefs).
COPY_ON_WRITE: Final = {
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0x794C7630: "overlayfs",
    0xCA451A4E: "bcachefs",
    0x3434: "nilfs2",
    0xF2F52010: "f2fs",
}
PAGE: Final = 4096


def file_system(fd: int) -> int:
    """The magic number of the file system that `fd` lies on. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    # struct statfs begins with a word-sized f_type on every Linux ABI; the rest only needs room.
    buffer = (ctypes.c_ulong * 64)()
    if libc.fstatfs(fd, ctypes.byref(buffer)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(buffer[0]) & 0xFFFFFFFF


def refuse_copy_on_write(fd: int, path: str) -> None:
    """Raises CallwardenError vault.copy_on_write where old blocks outlive an overwrite."""
    name = COPY_ON_WRITE.get(file_system(fd))
    if name is not None:
        raise CallwardenError(
            "vault.copy_on_write",
            f"{name} keeps the old bytes when a key is overwritten: erasing could not be proved",
            hint="put the slot file on ext4 or XFS, or waive this by name in [edge] if the risk is accepted",
            where=path,
        )


def read_uncached(path: str, fd: int, offset: int, length: int) -> bytes:
    """`length` bytes at `offset` as the device has them: O_DIRECT, or where that is not supported, after the page
    cache was told to forget them. The bytes must be synced before. Raises OSError."""
    begin = offset - offset % PAGE
    end = -(-(offset + length) // PAGE) * PAGE
    try:
        direct = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        direct = -1
    if direct >= 0:
        # Anonymous maps are page-aligned, which is what O_DIRECT asks of its buffer.
        buffer = mmap.mmap(-1, end - begin)
        try:
            if os.preadv(direct, [buffer], begin) >= offset + length - begin:
                return buffer[offset - begin : offset - begin + length]
        except OSError:
            pass  # the file system opened with O_DIRECT but does not read so: fall back
        finally:
            buffer.close()
            os.close(direct)
    os.posix_fadvise(fd, begin, end - begin, os.POSIX_FADV_DONTNEED)
    return os.pread(fd, length, offset)
