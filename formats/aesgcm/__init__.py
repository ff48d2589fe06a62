"""The suite `aes256gcm`: AES-256-GCM payloads (C2SP chunked-encryption) under headers of HPKE (docs/spec/aes256gcm.md)."""

from formats.aesgcm.header import VERSION, make_header, open_header
from formats.aesgcm.stream import (
    CHUNK,
    ENC_CHUNK,
    FILE_KEY,
    PREFIX,
    SALT,
    TAG,
    ChunkOpener,
    ChunkSealer,
    decrypt_stream,
    decrypt_truncated,
)

__all__ = [
    "CHUNK",
    "ENC_CHUNK",
    "FILE_KEY",
    "PREFIX",
    "SALT",
    "TAG",
    "VERSION",
    "ChunkOpener",
    "ChunkSealer",
    "decrypt_stream",
    "decrypt_truncated",
    "make_header",
    "open_header",
]
