"""Whole age files: header and payload in one."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

from formats.age.armor import dearmor, is_armored
from formats.age.header import LineReader, make_header, read_header, unwrap_file_key
from formats.age.hybrid import HybridIdentity, HybridRecipient
from formats.age.primitives import FILE_KEY
from formats.age.stanza import Identity, RandBytes, Recipient
from formats.age.stream import NONCE, Reader, decrypt_stream, encrypt_stream
from formats.age.x25519 import X25519Identity, X25519Recipient
from formats.errors import KeyFormatError


class FileReader(LineReader, Reader, Protocol):
    """A binary file object."""


@lru_cache(maxsize=256)
def parse_recipient(text: str) -> X25519Recipient | HybridRecipient:
    """A recipient of either kind. Raises KeyFormatError; an identity pasted by mistake gets a code of its own.

    Remembered (a recipient is frozen, a failure is not kept): every recording wraps its key for the same few.
    """
    text = text.strip()
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise KeyFormatError("recipient.secret", "this is a secret identity, not a recipient: do not put it here")
    return HybridRecipient.parse(text) if text.startswith("age1pq1") else X25519Recipient.parse(text)


def parse_identities(text: str) -> list[X25519Identity | HybridIdentity]:
    """The identities of an identity file: one a line, `#` comments and empty lines aside.

    Raises KeyFormatError `recipient.malformed` with the line's number, never its content.
    """
    found: list[X25519Identity | HybridIdentity] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        try:
            pq = line.startswith("AGE-SECRET-KEY-PQ-1")
            found.append(HybridIdentity.parse(line) if pq else X25519Identity.parse(line))
        except KeyFormatError as error:
            raise KeyFormatError("recipient.malformed", f"line {number} is not an age identity") from error
    if not found:
        raise KeyFormatError("recipient.none", "the file holds no identity")
    return found


def decrypt_file(source: bytes | FileReader, identities: Sequence[Identity]) -> Iterator[bytes]:
    """The verified plaintext of an age file, chunk by chunk; armor is read where the file is given as bytes.

    Raises ArmorError, HeaderError, NoMatchError, MacError before the first chunk, PayloadError in between.
    """
    if isinstance(source, bytes):
        source = io.BytesIO(dearmor(source) if is_armored(source) else source)
    return decrypt_stream(unwrap_file_key(read_header(source), identities), source)


def encrypt_file(source: Reader, recipients: Sequence[Recipient], *, randbytes: RandBytes) -> Iterator[bytes]:
    """A whole age file of everything `source` gives: the header first, then the payload in pieces."""
    file_key = randbytes(FILE_KEY)
    header = make_header(file_key, recipients, randbytes=randbytes)
    yield header
    yield from encrypt_stream(file_key, randbytes(NONCE), source)
