"""The three primitives age is made of: strict unpadded base64, HKDF-SHA-256 and ChaCha20-Poly1305 key wrapping."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats.errors import HeaderError

#: Bytes of a file key (C2SP age, "File key").
FILE_KEY = 16
#: Bytes of the AEAD tag.
TAG = 16
_ZERO_NONCE = bytes(12)


def b64encode(data: bytes) -> str:
    """Standard base64 without padding."""
    return base64.b64encode(data).rstrip(b"=").decode("ascii")


def b64decode(text: str) -> bytes:
    """The bytes of canonical unpadded base64. Raises HeaderError `vault.header` on anything else."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HeaderError("vault.header", "the header has a malformed base64 value") from error
    if b64encode(data) != text:
        raise HeaderError("vault.header", "the header has a base64 value that is not canonical")
    return data


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(ikm)


def wrap(key: bytes, file_key: bytes) -> bytes:
    """The 32-byte stanza body: `file_key` under the 32-byte one-time wrap key, zero nonce (C2SP age)."""
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, file_key, None)


def unwrap(key: bytes, body: bytes) -> bytes | None:
    """The file key in a stanza body, or None where the wrap key is not the right one."""
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, body, None)
    except InvalidTag:
        return None


def check_body(body: bytes) -> None:
    """Raises HeaderError unless a body is 32 bytes, checked before decrypting: see partitioning oracles in C2SP age."""
    if len(body) != FILE_KEY + TAG:
        raise HeaderError("vault.header", "a stanza does not hold a 16-byte file key")
