"""Uploads that are not whole yet: one file each, that only grows at its end, locked while it does."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from central.errors import CentralError
from central.media.folder import need_free, sync_folder
from central.media.store import PIECE, is_sha512


class Incoming:
    """Files `<edge>.<sha512>.part` in one folder, 0600. Every method blocks. Raises CentralError media.incoming (507). keep_free:
    bytes that stay free on its disk."""

    def __init__(self, folder: Path, keep_free: int) -> None:
        self._folder = folder
        self._keep_free = keep_free

    def path(self, edge_id: str, sha512: str) -> Path:
        """Where it lies, whether or not it is there."""
        return self._folder / f"{edge_id}.{sha512}.part"

    def length(self, edge_id: str, sha512: str) -> int:
        """Bytes so far; 0 where there is none."""
        with suppress(FileNotFoundError):
            return self.path(edge_id, sha512).stat().st_size
        return 0

    def append(self, edge_id: str, sha512: str, offset: int, piece: bytes, size: int) -> int:
        """Bytes at the file's end, durable; its length then. Raises CentralError media.offset (409) with the right `offset`,
        usage.too_large beyond `size`, media.full (507)."""
        path = self.path(edge_id, sha512)
        with _translated(path):
            if piece:  # without one, what is whole goes on from here
                need_free(self._folder, len(piece), self._keep_free)
            new = not path.exists()
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # against other processes of this central
                have = os.fstat(fd).st_size
                if have != offset:
                    why = f"{have} bytes are here, so the next one is not {offset}"
                    raise CentralError("media.offset", why, status=409, where="offset", extra={"offset": have})
                if have + len(piece) > size:
                    raise CentralError("usage.too_large", f"the manifest says {size} bytes", status=413, where="body")
                rest = memoryview(piece)
                while rest:
                    written = os.pwrite(fd, rest, have)
                    have, rest = have + written, rest[written:]
                os.fdatasync(fd)
            finally:
                os.close(fd)
            if new:
                sync_folder(self._folder)
            return have

    def sha512(self, edge_id: str, sha512: str) -> str:
        """The digest of what is here, hex."""
        digest, path = hashlib.sha512(), self.path(edge_id, sha512)
        with _translated(path), path.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def listing(self) -> list[tuple[str, str]]:
        """Edge and hash of every upload that is here."""
        with _translated(self._folder):
            names = [path.name.removesuffix(".part").rpartition(".") for path in self._folder.glob("*.part")]
        return sorted((edge_id, sha512) for edge_id, _, sha512 in names if edge_id and is_sha512(sha512))

    def remove(self, edge_id: str, sha512: str) -> None:
        """Repeats do nothing."""
        path = self.path(edge_id, sha512)
        with _translated(path):
            path.unlink(missing_ok=True)
            sync_folder(self._folder)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = f"what comes in cannot be kept: {error.strerror}"
        raise CentralError("media.incoming", why, status=507, where=str(path.parent)) from error
