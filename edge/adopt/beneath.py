"""One folder of foreign files, and nothing outside it: who can write there may have planted anything.

Opened with openat2 (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS; linux/openat2.h, Linux 5.6); where the
kernel or a filter lacks it, name by name with O_NOFOLLOW, which refuses the same. Only regular files with one link are
read. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.errors import CallwardenError

_SYS_OPENAT2: Final = 437  # the same on every architecture
_NO_MAGICLINKS: Final = 0x02
_NO_SYMLINKS: Final = 0x04
_BENEATH: Final = 0x08
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: opening a FIFO must not wait for its writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Deepest tree that is walked; FreePBX has year, month and day.
MOST_DEPTH: Final = 16
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that may be read. `mark` changes when it becomes another file or other bytes."""

    fd: int
    size: int
    mtime: float
    mark: tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk met: a file's path below the folder, or (`why`) something that is not taken, and why."""

    path: str
    why: str = ""


class Beneath:
    """A folder held by its descriptor: a rename of it changes nothing. `openat2` False: as on a kernel without it."""

    def __init__(self, root: str, *, openat2: bool = True) -> None:
        """Raises CallwardenError adopt.folder."""
        self.root = os.path.abspath(root)
        try:
            self._fd = os.open(self.root, _FOLDER)
        except OSError as error:
            why = "it is a symbolic link" if error.errno in (errno.ELOOP,) else str(error.strerror)
            raise CallwardenError(
                "adopt.folder", f"this folder cannot be read: {why}", where=self.root,
                hint="name the folder itself, and run as a user who may read it",
            ) from error  # fmt: skip
        self._openat2 = openat2

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._fd)

    def __enter__(self) -> Beneath:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def walk(self) -> Iterator[Found]:
        """Everything beneath, in order of name; links and what is no file are named and not followed."""
        yield from self._walk("", 0)

    def _walk(self, path: str, depth: int) -> Iterator[Found]:
        try:
            fd = self._open(path, _FOLDER) if path else os.dup(self._fd)
        except OSError as error:
            yield Found(path, f"the folder cannot be read: {error.strerror}")
            return
        try:
            with os.scandir(fd) as entries:
                seen = sorted((e.name, _kind(e)) for e in entries)
        except OSError as error:
            yield Found(path, f"the folder cannot be read: {error.strerror}")
            return
        finally:
            os.close(fd)
        for name, kind in seen:
            below = f"{path}/{name}" if path else name
            if kind == "folder":
                if depth + 1 >= MOST_DEPTH:
                    yield Found(below, f"folders are walked {MOST_DEPTH} deep")
                else:
                    yield from self._walk(below, depth + 1)
            else:
                yield Found(below, "" if kind == "file" else f"it is {kind}")

    @contextlib.contextmanager
    def open(self, path: str, *, largest: int) -> Iterator[Opened]:
        """A regular file with one link of at most `largest` bytes. Raises CallwardenError adopt.file."""
        try:
            fd = self._open(path, _FILE)
        except OSError as error:
            raise _not(path, _why(error)) from error
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise _not(path, "it is no regular file")
            if info.st_nlink != 1:
                raise _not(path, f"it has {info.st_nlink} names (hard links)")
            if info.st_size > largest:
                raise _not(path, f"it is larger than {largest} bytes")
            yield Opened(fd, info.st_size, info.st_mtime, _mark(info))
        finally:
            os.close(fd)

    def unlink(self, path: str, mark: tuple[int, int, int, int, int]) -> None:
        """Remove the file that is still the one that was read, and sync its folder.

        Raises CallwardenError adopt.changed when it is another one, adopt.remove when it cannot be removed.
        """
        parent, _, name = path.rpartition("/")
        try:
            folder = self._open(parent, _FOLDER) if parent else os.dup(self._fd)
            try:
                if _mark(os.stat(name, dir_fd=folder, follow_symlinks=False)) != mark:
                    raise CallwardenError("adopt.changed", "the file changed after it was read", where=path)
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise CallwardenError(
                "adopt.remove", f"the file is sealed and cannot be removed: {error.strerror}", where=path,
                hint="give the user write permission on its folder, and run again",
            ) from error  # fmt: skip

    def there(self, path: str) -> bool:
        """Whether something has this name."""
        parent, _, name = path.rpartition("/")
        try:
            folder = self._open(parent, _FOLDER) if parent else os.dup(self._fd)
        except OSError:
            return False
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        finally:
            os.close(folder)
        return True

    def _open(self, path: str, flags: int) -> int:
        """Raises OSError: ELOOP or EXDEV for what leads outside."""
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts):
            raise OSError(errno.EXDEV, "it leads out of the folder")
        if self._openat2:
            how = _How(flags, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
            raw = os.fsencode(path)
            fd = _libc.syscall(_SYS_OPENAT2, self._fd, raw, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
            if fd >= 0:
                return int(fd)
            number = ctypes.get_errno()
            if number not in (errno.ENOSYS, errno.EPERM):  # EPERM: what container filters answer for it
                raise OSError(number, os.strerror(number))
        return self._step_by_step(parts, flags)

    def _step_by_step(self, parts: list[str], flags: int) -> int:
        at = os.dup(self._fd)
        for part in parts[:-1]:
            try:
                below = os.open(part, _FOLDER, dir_fd=at)
            finally:
                os.close(at)
            at = below
        try:
            return os.open(parts[-1], flags, dir_fd=at)
        finally:
            os.close(at)


def written_to(fd: int) -> bool | None:
    """Whether somebody has the file open for writing; None where the kernel does not tell us (not the file's owner).

    A read lease is granted only when nobody has (fcntl(2), F_SETLEASE).
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a symbolic link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if entry.is_file(follow_symlinks=False):
        return "file"
    return "no regular file"


def _mark(info: os.stat_result) -> tuple[int, int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_nlink


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return "it leads out of the folder"
    return error.strerror or str(error)


def _not(path: str, why: str) -> CallwardenError:
    return CallwardenError("adopt.file", why, where=path, hint="look at it yourself; it was not touched")
