"""The one helper for files that must survive a power cut: temp, fsync, rename, fsync the folder.

These functions block; call them at start-up or in a worker thread. They raise OSError as it comes: the adapter that
calls them knows what the file meant.
"""

from __future__ import annotations

import os
import secrets

from edge.failpoints import hit


def sync_folder(path: str) -> None:
    """Make names created, renamed or removed in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: str, data: bytes, *, mode: int = 0o600) -> None:
    """`path` holds `data` or what it held before, never something between; `mode` is exact, whatever the umask."""
    folder = os.path.dirname(os.path.abspath(path))
    temp = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(8)}.tmp")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)
            write_all(fd, data)
            hit("durable.written")
            os.fsync(fd)
        finally:
            os.close(fd)
        hit("durable.synced")
        os.replace(temp, path)
    except BaseException:
        try:
            os.unlink(temp)
        except FileNotFoundError:
            pass  # the rename had happened, or the file was never made
        raise
    hit("durable.renamed")
    sync_folder(folder)


def write_all(fd: int, data: bytes | memoryview, offset: int | None = None) -> None:
    """Write every byte, at `offset` or at the file's position; a short write goes on where it stopped."""
    view = memoryview(data)
    while view:
        n = os.write(fd, view) if offset is None else os.pwrite(fd, view, offset)
        view = view[n:]
        if offset is not None:
            offset += n
