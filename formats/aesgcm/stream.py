"""The payload of the suite `aes256gcm`: C2SP chunked-encryption with AES-256-GCM and SHA-512 ("Cobblestone-256").

https://c2sp.org/chunked-encryption, read at commit 1225032687556092e30c845edae8bac8d26cae09; that Cobblestone-256 takes
SHA-512 is said by its public vectors (C2SP wycheproof, commit dac1dd4). 24 bytes of salt and 32 of key commitment, then
chunks of 16 KiB; chunk k starts at `56 + k * 16400`. The last chunk is always shorter than 16 KiB, and empty where the
plaintext ends at a chunk's end: that alone says that the stream is whole. The context ties the payload to its segment.
One (file key, salt, index) seals one plaintext only: the caller holds this rule (docs/spec/aes256gcm.md).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from formats.age.stream import Buffer, Reader, fill
from formats.errors import HeaderError, PayloadError, SealError

#: Bytes of a file key, the "input key" of the specification.
FILE_KEY = 32
#: Bytes of the salt, which begins the payload.
SALT = 24
COMMITMENT = 32
#: Bytes before the first chunk.
PREFIX = SALT + COMMITMENT
TAG = 16
#: Plaintext bytes of a whole chunk.
CHUNK = 16384
#: Bytes of a whole sealed chunk.
ENC_CHUNK = CHUNK + TAG
#: No chunk has this number or a higher one ("MUST abort").
MAX_CHUNKS = 2**38
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


def _derive(file_key: bytes, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
    """(AEAD key, base nonce, commitment)."""
    if len(file_key) != FILE_KEY or len(salt) != SALT:
        raise ValueError("a file key is 32 bytes and a salt 24")
    out = HKDFExpand(SHA512(), 76, _INFO + salt + context).derive(file_key)
    return out[:32], out[32:44], out[44:]


class ChunkSealer:
    """Seals chunks of one payload. Keeps no position; `prefix` is what the payload begins with."""

    def __init__(self, file_key: bytes, salt: bytes, context: bytes) -> None:
        key, base, commitment = _derive(file_key, salt, context)
        self._aead = AESGCM(key)
        self._base = int.from_bytes(base, "big")
        self.prefix = salt + commitment

    def seal(self, index: int, plaintext: Buffer, last: bool) -> bytes:
        """The sealed chunk, 16 bytes longer. Releases the GIL while it works.

        Raises SealError `vault.chunk` where a chunk that is not last is not 16 KiB, or a last one not shorter, or its
        number is out of range.
        """
        size = len(plaintext)
        if size > CHUNK or (size == CHUNK) == last or not 0 <= index < MAX_CHUNKS:
            raise SealError("vault.chunk", f"chunk {index} must not have {size} bytes here")
        return self._aead.encrypt((self._base ^ index).to_bytes(12, "big"), plaintext, None)


class ChunkOpener:
    """Opens chunks of one payload in any order."""

    def __init__(self, file_key: bytes, prefix: bytes, context: bytes) -> None:
        """Raises PayloadError `vault.payload` unless the commitment is that of this key, salt and context: nothing is
        opened before; HeaderError `vault.header` where the prefix is not 56 bytes."""
        if len(prefix) != PREFIX:
            raise HeaderError("vault.header", "the payload is shorter than its salt and key commitment")
        key, base, commitment = _derive(file_key, prefix[:SALT], context)
        if not hmac.compare_digest(commitment, prefix[SALT:]):
            raise PayloadError("vault.payload", "the payload was not sealed with this key for this segment")
        self._aead = AESGCM(key)
        self._base = int.from_bytes(base, "big")

    def open(self, index: int, sealed: Buffer, last: bool) -> bytes:
        """The chunk's plaintext. Raises PayloadError `vault.payload`."""
        size = len(sealed)
        if size < TAG or size > ENC_CHUNK or (not last and size != ENC_CHUNK) or not 0 <= index < MAX_CHUNKS:
            raise PayloadError("vault.payload", f"chunk {index} is cut short")
        if last and size == ENC_CHUNK:
            raise PayloadError("vault.payload", "the last chunk is whole, so the payload was cut off behind it")
        try:
            return self._aead.decrypt((self._base ^ index).to_bytes(12, "big"), sealed, None)
        except InvalidTag as error:
            raise PayloadError("vault.payload", f"chunk {index} was altered or does not belong here") from error


def decrypt_stream(file_key: bytes, source: Reader, context: bytes) -> Iterator[bytes]:
    """The plaintext of a closed payload, chunk by chunk; only verified chunks are released.

    Raises PayloadError where the stream ends without a short chunk, goes on after it, or a chunk does not verify;
    HeaderError where salt and commitment are not whole.
    """
    opener = ChunkOpener(file_key, fill(source, PREFIX), context)
    index = 0
    while len(sealed := fill(source, ENC_CHUNK)) == ENC_CHUNK:
        yield opener.open(index, sealed, last=False)
        index += 1
    yield opener.open(index, sealed, last=True)  # nothing at all is a chunk cut short


def decrypt_truncated(file_key: bytes, source: Reader, context: bytes) -> Iterator[bytes]:
    """The whole chunks of a payload that has no last chunk: a segment whose manifest says `truncated`.

    Nothing proves how many chunks there were but the manifest, which the caller checks first. A tail that is not a
    whole chunk is never released; where it is a genuine last chunk, the stream is a closed one and PayloadError says so.
    """
    opener = ChunkOpener(file_key, fill(source, PREFIX), context)
    index = 0
    while len(sealed := fill(source, ENC_CHUNK)) == ENC_CHUNK:
        yield opener.open(index, sealed, last=False)
        index += 1
    try:
        opener.open(index, sealed, last=True)
    except PayloadError:
        return
    raise PayloadError("vault.payload", "the payload has its last chunk: it is not a truncated one")
