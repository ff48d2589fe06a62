"""The age payload: a 16-byte nonce, then ChaCha20-Poly1305 chunks of 64 KiB (C2SP age, "Payload").

Chunk k starts at `16 + k * 65552` of the payload file. A chunk is sealed as not last only when a byte after it exists,
because an empty last chunk is refused by every age; after the last chunk the stream takes no more bytes. One
(file key, index, last) seals one plaintext only: the caller holds this rule (docs/spec/age-detached.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age.primitives import FILE_KEY, TAG, hkdf
from formats.errors import HeaderError, PayloadError, SealError

#: Plaintext bytes of a whole chunk.
CHUNK = 65536
#: Bytes of a whole sealed chunk.
ENC_CHUNK = CHUNK + TAG
#: Bytes of the payload's nonce, in front of its chunks.
NONCE = 16

#: Bytes of any kind (a view of bytes, not of longer items), as the AEAD takes them without a copy.
Buffer = bytes | bytearray | memoryview


class Reader(Protocol):
    """What a payload is read from: any binary file object."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def payload_key(file_key: bytes, nonce16: bytes) -> bytes:
    """The 32-byte key of a payload. Raises ValueError where the file key or the nonce is not 16 bytes."""
    if len(file_key) != FILE_KEY or len(nonce16) != NONCE:
        raise ValueError("a file key and a payload nonce are 16 bytes each")
    return hkdf(file_key, nonce16, b"payload")


def chunk_nonce(index: int, last: bool) -> bytes:
    """The 12-byte AEAD nonce of a chunk: 11 bytes of counter, big endian, then 1 for the last chunk."""
    return index.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def chunk_offset(index: int) -> int:
    """Where chunk `index` starts in the payload file."""
    return NONCE + index * ENC_CHUNK


def payload_size(plain_bytes: int) -> int:
    """Bytes of the payload file, nonce included, that a closed stream of `plain_bytes` makes."""
    chunks = max(1, -(-plain_bytes // CHUNK))
    return NONCE + plain_bytes + chunks * TAG


class ChunkSealer:
    """Seals chunks of one payload. Keeps no position, so it can take up a stream where another process left it."""

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._aead = ChaCha20Poly1305(payload_key(file_key, nonce))
        #: What the payload begins with.
        self.prefix = nonce

    def seal(self, index: int, plaintext: Buffer, last: bool) -> bytes:
        """The sealed chunk, 16 bytes longer. Releases the GIL while it works.

        Raises SealError `vault.chunk` where a chunk that is not last is not 64 KiB, or a last one is longer, or empty
        without being the only one.
        """
        size = len(plaintext)
        if (size != CHUNK) if not last else (size > CHUNK or (size == 0 and index > 0)):
            raise SealError("vault.chunk", f"chunk {index} must not have {size} bytes here")
        return self._aead.encrypt(chunk_nonce(index, last), plaintext, None)


class ChunkOpener:
    """Opens chunks of one payload in any order."""

    def __init__(self, file_key: bytes, nonce: bytes) -> None:
        self._aead = ChaCha20Poly1305(payload_key(file_key, nonce))

    def open(self, index: int, sealed: Buffer, last: bool) -> bytes:
        """The chunk's plaintext. Raises PayloadError `vault.payload`."""
        size = len(sealed)
        if size < TAG or size > ENC_CHUNK or (not last and size != ENC_CHUNK):
            raise PayloadError("vault.payload", f"chunk {index} is cut short")
        if last and size == TAG and index > 0:
            raise PayloadError("vault.payload", "the last chunk is empty, which only a whole empty payload may be")
        try:
            return self._aead.decrypt(chunk_nonce(index, last), sealed, None)
        except InvalidTag as error:
            raise PayloadError("vault.payload", f"chunk {index} was altered or does not belong here") from error


def fill(source: Reader, size: int) -> bytes:
    """`size` bytes of `source`, fewer only at its end."""
    if len(first := source.read(size)) == size:
        return first
    parts = [first]
    size -= len(first)
    if not first:
        return first
    while size > 0 and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def check_nonce(nonce: bytes) -> bytes:
    """The nonce, which must be whole. Raises HeaderError: age counts the nonce among what comes before the payload."""
    if len(nonce) != NONCE:
        raise HeaderError("vault.header", "the payload is shorter than its nonce")
    return nonce


def decrypt_stream(file_key: bytes, source: Reader) -> Iterator[bytes]:
    """The plaintext of a closed payload, nonce first, chunk by chunk; only verified chunks are released.

    Raises PayloadError where the stream ends without a last chunk, goes on after it, or a chunk does not verify;
    HeaderError where not even the nonce is whole. What was released before is genuine, but a reader that must not act
    on a part waits for the end.
    """
    opener = ChunkOpener(file_key, check_nonce(fill(source, NONCE)))
    index = 0
    while True:
        sealed = fill(source, ENC_CHUNK)
        if not sealed:
            raise PayloadError("vault.payload", "the payload ends without its last chunk: it was cut off")
        last = len(sealed) < ENC_CHUNK
        if not last:
            try:
                yield opener.open(index, sealed, last=False)
                index += 1
                continue
            except PayloadError:
                pass  # a whole chunk may be the last one
        yield opener.open(index, sealed, last=True)
        if source.read(1):
            raise PayloadError("vault.payload", "bytes follow the last chunk")
        return


def decrypt_truncated(file_key: bytes, source: Reader) -> Iterator[bytes]:
    """The whole chunks of a payload that has no last chunk: a segment whose manifest says `truncated`.

    Nothing proves how many chunks there were but the manifest, which the caller checks first. A tail that is not a
    whole chunk is never released. Raises PayloadError where a whole chunk does not verify as not last, so a closed
    stream of whole chunks is refused here.
    """
    opener = ChunkOpener(file_key, check_nonce(fill(source, NONCE)))
    index = 0
    while len(sealed := fill(source, ENC_CHUNK)) == ENC_CHUNK:
        yield opener.open(index, sealed, last=False)
        index += 1


def decrypt_range(file_key: bytes, nonce: bytes, sealed: bytes, first: int, last_index: int | None) -> bytes:
    """The plaintext of consecutive whole chunks that start with chunk `first`.

    sealed: the payload's bytes from `chunk_offset(first)` on, to a chunk's end. last_index: the number of the stream's
    last chunk, or None where the stream has none (a truncated segment). Raises PayloadError.
    """
    opener = ChunkOpener(file_key, nonce)
    view = memoryview(sealed)
    if not view.nbytes:
        raise PayloadError("vault.payload", "no chunk was read")
    plain = []
    for number, at in enumerate(range(0, view.nbytes, ENC_CHUNK)):
        index = first + number
        if last_index is not None and index > last_index:
            raise PayloadError("vault.payload", "bytes follow the last chunk")
        plain.append(opener.open(index, view[at : at + ENC_CHUNK], last=index == last_index))
    return b"".join(plain)


def encrypt_stream(file_key: bytes, nonce: bytes, source: Reader) -> Iterator[bytes]:
    """A whole closed payload: the nonce, then the sealed chunks of everything `source` gives."""
    sealer = ChunkSealer(file_key, nonce)
    yield nonce
    chunk = fill(source, CHUNK)
    index = 0
    while True:
        after = fill(source, CHUNK) if len(chunk) == CHUNK else b""
        yield sealer.seal(index, chunk, last=not after)
        if not after:
            return
        chunk, index = after, index + 1
