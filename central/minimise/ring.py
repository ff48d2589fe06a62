"""The fleet's search keys: a secret file of 0600, one key a line in hex, the newest last.

Edges hash with the newest; numbers that were hashed under an older one are found while it is in the file. Several processes of
central read the same file, as they do the store's key, and see by themselves that it is another one.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from central.errors import CentralError
from central.keyfiles import write_new
from formats.credentials import is_away, too_open
from formats.errors import FormatError
from formats.search import KEY, SearchKey


@dataclass(frozen=True, slots=True)
class Ring:
    """All keys of the fleet, the newest last; never empty."""

    keys: tuple[SearchKey, ...]

    @property
    def newest(self) -> SearchKey:
        """What edges hash with."""
        return self.keys[-1]


class RingFile:
    """The ring as the file has it now; read again when the file is another one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._ring: Ring | None = None

    def now(self) -> Ring | None:
        """None where there is no file. Raises CentralError config.key."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CentralError("config.key", str(error), status=500, where=str(self._path)) from error
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._ring, self._seen = read_ring(self._path), seen
        return self._ring


def read_ring(path: Path) -> Ring:
    """Raises CentralError config.key."""
    try:
        if too_open(path, path.stat().st_mode, os.environ):
            raise CentralError("config.key", "others may read this secret", where=str(path), hint=f"chmod 600 {path}")
        keys = tuple(SearchKey(bytes.fromhex(line)) for line in path.read_text("ascii").split())
    except (OSError, ValueError, FormatError) as error:
        # Not the error's words: they could quote a line.
        raise CentralError("config.key", "search keys cannot be read", status=500, where=str(path)) from error
    if not keys:
        raise CentralError("config.key", "there is no search key in it", status=500, where=str(path))
    return Ring(keys)


def make_ring(path: Path) -> bool:
    """A first key, unless the file is there or systemd brings it; whether it was made."""
    return not is_away(path) and write_new(path, _text((_new(),)))


def rotate(path: Path, *, retire: bool) -> Ring:
    """A new newest key; with `retire` the older ones are destroyed. Raises CentralError config.key."""
    if is_away(path):
        raise CentralError(
            "config.key", "systemd brings the search keys: rotate them where they come from", where=str(path)
        )
    kept = () if retire or not path.exists() else read_ring(path).keys
    made = (*kept, _new())
    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    if not write_new(temp, _text(made)):
        raise CentralError("config.key", "cannot write beside it", where=str(path))
    if retire and path.exists():
        _overwrite(path)
    os.replace(temp, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return Ring(made)


def _overwrite(path: Path) -> None:
    """What the keys were goes from their blocks before the name is another file's."""
    with path.open("r+b") as file:
        file.write(secrets.token_bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())


def _new() -> SearchKey:
    return SearchKey(secrets.token_bytes(KEY))


def _text(keys: tuple[SearchKey, ...]) -> bytes:
    return b"".join(one.key.hex().encode() + b"\n" for one in keys)
