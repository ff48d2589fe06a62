"""A zip archive that exists only inside an age file: it is written front to back, each 64 KiB sealed before it reaches the disk.

Nothing of it lies in the clear anywhere: what zip would go back and correct stands behind each entry instead (data
descriptors, APPNOTE.TXT 4.3.9).
"""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Final

from formats.age import CHUNK, FILE_KEY, NONCE, ChunkSealer, Recipient, ScryptRecipient, make_header

#: Letters of a passphrase: none that people confuse (i l o 0 1). 31 of them, 4.95 bits each.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 6, 5
#: An archive tells nothing about when it was made; its cover does.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def new_passphrase() -> str:
    """30 letters in groups of 5: 148 bits, read over the telephone without doubt."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


class _Sealed:
    """A file object for `zipfile`, which only writes: bytes in, age out."""

    def __init__(self, file: IO[bytes], recipient: Recipient) -> None:
        self._file, self._waiting, self._index = file, bytearray(), 0
        file_key = secrets.token_bytes(FILE_KEY)
        file.write(make_header(file_key, [recipient], randbytes=secrets.token_bytes))
        self._sealer = ChunkSealer(file_key, secrets.token_bytes(NONCE))
        file.write(self._sealer.prefix)

    def write(self, data: bytes, /) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK:  # a whole chunk is not the last one only where a byte follows it
            self._file.write(self._sealer.seal(self._index, bytes(self._waiting[:CHUNK]), last=False))
            del self._waiting[:CHUNK]
            self._index += 1
        return len(data)

    def flush(self) -> None:
        """Nothing: a chunk is written when it is whole."""

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""

    def finish(self) -> None:
        """The last chunk, which says that it is the last."""
        self._file.write(self._sealer.seal(self._index, bytes(self._waiting), last=True))


class Archive:
    """The open archive. Entries come one after another and are never changed."""

    def __init__(self, made: zipfile.ZipFile) -> None:
        self._zip = made
        self.names: list[str] = []
        #: An entry was begun and not ended: the archive cannot be used.
        self.broken = False

    def add(self, name: str, data: bytes) -> None:
        """A small file."""
        self.stream(name, [data], packed=True)

    def stream(self, name: str, pieces: Iterable[bytes], *, packed: bool = False) -> int:
        """A file that comes in pieces; its size in bytes."""
        info = zipfile.ZipInfo(name, _EPOCH)
        info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        info.external_attr = 0o600 << 16
        size, self.broken = 0, True
        with self._zip.open(info, "w", force_zip64=True) as entry:
            for piece in pieces:
                size += entry.write(piece)
        self.names.append(name)
        self.broken = False
        return size


@contextmanager
def sealed_archive(file: IO[bytes], passphrase: str, *, work_factor: int) -> Iterator[Archive]:
    """An archive that goes into `file` as one age file under `passphrase`; whole when the block ends well."""
    sink = _Sealed(file, ScryptRecipient(passphrase, work_factor))
    with zipfile.ZipFile(sink, "w") as made:
        yield Archive(made)
    sink.finish()
