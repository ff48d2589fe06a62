"""age v1 (C2SP age, https://c2sp.org/age): detached headers, resumable chunk streams, whole files."""

from formats.age.armor import armor, dearmor, is_armored
from formats.age.file import decrypt_file, encrypt_file, parse_identities, parse_recipient
from formats.age.header import Header, make_header, open_header, parse_header, read_header, unwrap_file_key
from formats.age.hybrid import HybridIdentity, HybridRecipient
from formats.age.primitives import FILE_KEY, TAG
from formats.age.scrypt import ScryptIdentity, ScryptRecipient
from formats.age.stanza import Identity, RandBytes, Recipient, Stanza
from formats.age.stream import (
    CHUNK,
    ENC_CHUNK,
    NONCE,
    ChunkOpener,
    ChunkSealer,
    check_nonce,
    chunk_offset,
    decrypt_range,
    decrypt_stream,
    decrypt_truncated,
    encrypt_stream,
    payload_key,
    payload_size,
)
from formats.age.x25519 import X25519Identity, X25519Recipient

__all__ = [
    "CHUNK",
    "ENC_CHUNK",
    "FILE_KEY",
    "NONCE",
    "TAG",
    "ChunkOpener",
    "ChunkSealer",
    "Header",
    "HybridIdentity",
    "HybridRecipient",
    "Identity",
    "RandBytes",
    "Recipient",
    "ScryptIdentity",
    "ScryptRecipient",
    "Stanza",
    "X25519Identity",
    "X25519Recipient",
    "armor",
    "check_nonce",
    "chunk_offset",
    "dearmor",
    "decrypt_file",
    "decrypt_range",
    "decrypt_stream",
    "decrypt_truncated",
    "encrypt_file",
    "encrypt_stream",
    "is_armored",
    "make_header",
    "open_header",
    "parse_header",
    "parse_identities",
    "parse_recipient",
    "payload_key",
    "payload_size",
    "read_header",
    "unwrap_file_key",
]
