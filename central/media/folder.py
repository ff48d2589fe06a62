"""Payloads in a folder: `<folder>/<edge>/<aa>/<sha512>`, folders 0700, files 0600, every write synced before it counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from central.errors import CentralError
from central.failpoints import hit
from central.media.store import MARKER, PIECE, is_key

#: Files that are not whole yet end so; they are no keys.
_NEW: Final = ".new"


class FolderStore:
    """See `central.media.store.Store`. keep_free: bytes that stay free on its disk, else `put` raises media.full (507)."""

    def __init__(self, root: Path, keep_free: int = 0) -> None:
        self._root = root
        self._keep_free = keep_free

    @property
    def kind(self) -> str:
        """See `Store`."""
        return "folder"

    async def marker(self) -> str | None:
        """See `Store`."""
        with _translated(self._root):
            return await asyncio.to_thread(self._marker)

    def _marker(self) -> str | None:
        try:
            fd = os.open(self._root / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return os.read(fd, 100).decode("ascii", "replace").strip()
        finally:
            os.close(fd)

    async def mark(self, text: str) -> None:
        """See `Store`. Order: bytes under another name, synced; then the name, and the folder synced."""
        with _translated(self._root):
            await asyncio.to_thread(self._mark, text)

    def _mark(self, text: str) -> None:
        new = self._root / f"{MARKER}.{secrets.token_hex(4)}{_NEW}"
        with open(new, "xb", opener=_private) as writer:
            writer.write(f"{text}\n".encode())
            writer.flush()
            os.fsync(writer.fileno())
        new.rename(self._root / MARKER)
        sync_folder(self._root)

    async def check(self) -> None:
        """See `Store`."""
        await asyncio.to_thread(private_folder, self._root)

    async def put(self, key: str, source: Path, size: int) -> None:
        """See `Store`. Order: bytes under another name, synced; then the name, and the folder synced."""
        with _translated(self._root):
            await asyncio.to_thread(self._put, key, source, size)

    def _put(self, key: str, source: Path, size: int) -> None:
        target = self._path(key)
        made = self._root
        for part in target.relative_to(self._root).parts[:-1]:
            parent, made = made, made / part
            with contextlib.suppress(FileExistsError):
                made.mkdir(0o700)
                sync_folder(parent)
        for left in target.parent.glob(f"{target.name}.*{_NEW}"):  # of a try that was killed
            left.unlink(missing_ok=True)
        need_free(self._root, size, self._keep_free)
        new = target.with_name(f"{target.name}.{secrets.token_hex(4)}{_NEW}")
        try:
            with source.open("rb") as reader, open(new, "xb", opener=_private) as writer:
                shutil.copyfileobj(reader, writer, PIECE)
                if writer.tell() != size:
                    raise CentralError("media.store", "the upload changed its length", status=503, where=key)
                writer.flush()
                os.fsync(writer.fileno())
            hit("media.folder_written")
            new.rename(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)

    async def size(self, key: str) -> int | None:
        """See `Store`."""
        with _translated(self._root):
            try:
                return (await asyncio.to_thread(self._path(key).lstat)).st_size
            except FileNotFoundError:
                return None

    async def read(self, key: str, first: int, behind: int) -> AsyncGenerator[bytes, None]:
        """See `Store`."""
        with _translated(self._root):
            try:
                fd = os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                raise CentralError("media.missing", "the store has no such payload", status=404, where=key) from None
            try:
                while first < behind:
                    piece = await asyncio.to_thread(os.pread, fd, min(PIECE, behind - first), first)
                    if not piece:
                        raise CentralError("media.store", "the payload is shorter than it was", status=503, where=key)
                    first += len(piece)
                    yield piece
            finally:
                os.close(fd)

    async def remove(self, key: str) -> None:
        """See `Store`."""
        with _translated(self._root):
            await asyncio.to_thread(self._remove, key)

    def _remove(self, key: str) -> None:
        path = self._path(key)
        if not path.parent.is_dir():
            return
        for one in (path, *path.parent.glob(f"{path.name}.*{_NEW}")):
            one.unlink(missing_ok=True)
        sync_folder(path.parent)
        if os.path.lexists(path):
            raise CentralError("media.not_gone", "the payload is still there", status=503, where=key)

    async def listing(self) -> AsyncIterator[tuple[str, float]]:
        """See `Store`; sorted. What is not whole is not listed."""
        with _translated(self._root):
            found = await asyncio.to_thread(lambda: sorted(self._listed()))
        for one in found:
            yield one

    def _listed(self) -> Iterator[tuple[str, float]]:
        for path in self._root.glob("*/??/*"):
            key = str(path.relative_to(self._root))
            if is_key(key):
                with contextlib.suppress(FileNotFoundError):
                    yield key, path.lstat().st_mtime

    async def close(self) -> None:
        """Nothing is open."""

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise CentralError("usage.sha512", "this is no key of a payload", where=key[:200])
        return self._root / key


def private_folder(path: Path) -> None:
    """Make it (0700) where it is not there. Raises CentralError config.media where others may enter it."""
    with _translated(path):
        path.mkdir(0o700, parents=True, exist_ok=True)
        info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077:
        hint = f"chmod 700 {path}"
        raise CentralError("config.media", "must be a folder that only central may enter", where=str(path), hint=hint)


def need_free(folder: Path, more: int, keep: int) -> None:
    """Raises CentralError media.full (507) where `more` bytes would leave fewer than `keep` free; OSError."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free - more < keep:
        why = f"{free >> 20} MiB are free, and {keep >> 20} stay so"
        hint = "make room, or [central.media] keep_free"
        raise CentralError("media.full", why, status=507, where=str(folder), hint=hint)


def sync_folder(path: Path) -> None:
    """Names in it are durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"the media folder failed: {error.strerror}"
        raise CentralError("media.store", why, status=503, where=str(root)) from error
