"""What holds payloads, whichever kind it is. A key is `<edge>/<first two digits>/<sha512>`: content named by its hash."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from central.errors import CentralError
from central.media.settings import MediaConfig

#: Bytes read at once from a store.
PIECE: Final = 256 * 1024
MIB: Final = 1024 * 1024
#: Name of the marker (central/media/place.py), in the root or below the prefix. No edge has such a name.
MARKER: Final = "STORE-ID"
_SHA512: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}/[0-9a-f]{2}/[0-9a-f]{128}", re.ASCII)


class Store(Protocol):
    """Every method may be repeated. Raises CentralError media.store (503) where the store fails."""

    @property
    def kind(self) -> str:
        """What its places begin with: "folder" or "s3/BUCKET"."""
        ...

    async def marker(self) -> str | None:
        """What the marker says now; None where there is none."""
        ...

    async def mark(self, text: str) -> None:
        """Make the marker, durable."""
        ...

    async def check(self) -> None:
        """At start: reachable, ours, and nothing in it outlives its deletion undeclared. Raises CentralError config.media."""
        ...

    async def put(self, key: str, source: Path, size: int) -> None:
        """The file's `size` bytes under `key`, durable and whole or not at all; what is there is replaced."""
        ...

    async def size(self, key: str) -> int | None:
        """Bytes under `key`; None where there is nothing."""
        ...

    def read(self, key: str, first: int, behind: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `first` up to `behind`. Raises CentralError media.missing (404)."""
        ...

    async def remove(self, key: str) -> None:
        """Nothing is under `key` any more, in no version, and that was looked at. Raises CentralError media.not_gone."""
        ...

    def listing(self) -> AsyncIterator[tuple[str, float]]:
        """Everything that is here, with its time (seconds since 1970)."""
        ...

    async def close(self) -> None: ...


def key_of(edge_id: str, sha512: str) -> str:
    """The key of a payload. Raises CentralError usage.sha512."""
    key = f"{edge_id}/{sha512[:2]}/{sha512}"
    if not is_key(key):
        raise CentralError("usage.sha512", "a payload is named by 128 lower-case hex digits", where=sha512[:128])
    return key


def is_key(text: str) -> bool:
    """Whether `text` is a key of ours."""
    return _KEY.fullmatch(text) is not None and text[-128:-126] == text[-131:-129]


def is_sha512(text: str) -> bool:
    """Whether `text` is the hex of a SHA-512."""
    return _SHA512.fullmatch(text) is not None


def open_store(config: MediaConfig) -> Store | None:
    """The store that the configuration names; None for "none". Raises CentralError config.media."""
    if config.store == "none":
        return None
    if config.store == "folder":
        from central.media.folder import FolderStore

        return FolderStore(config.folder, config.keep_free * MIB)
    from central.media.s3 import S3Store

    return S3Store(config)
