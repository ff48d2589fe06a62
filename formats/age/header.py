"""The age header: made, parsed strictly, opened.

In the vault it is detached from its payload: `header || payload` is a plain age file.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from formats.age.primitives import FILE_KEY, b64decode, b64encode, hkdf
from formats.age.scrypt import KIND as SCRYPT
from formats.age.stanza import Identity, RandBytes, Recipient, Stanza
from formats.errors import HeaderError, KeyFormatError, MacError, NoMatchError

#: The first line of every age v1 file.
VERSION = b"age-encryption.org/v1\n"
_MARK = b"---"
_ARGUMENT = re.compile(r"[\x21-\x7e]+\Z")
_COLUMNS = 64
#: A header longer than this is refused before more of it is read; 256 KiB holds over a hundred post-quantum stanzas.
MAX_HEADER = 256 * 1024


class LineReader(Protocol):
    """What a header is read from: any binary file object."""

    def readline(self, limit: int = -1, /) -> bytes:
        """Up to and including the next line feed, at most `limit` bytes."""
        ...


@dataclass(frozen=True)
class Header:
    """A parsed header. `signed` is what the MAC covers: everything up to and including `---`."""

    stanzas: tuple[Stanza, ...]
    signed: bytes
    mac: bytes

    def encode(self) -> bytes:
        """The header's bytes, line feed included: exactly those it was parsed from."""
        return self.signed + b" " + b64encode(self.mac).encode("ascii") + b"\n"


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.new(hkdf(file_key, b"", b"header"), signed, hashlib.sha256).digest()


def _check_scrypt_alone(stanzas: Sequence[Stanza]) -> None:
    if len(stanzas) > 1 and any(stanza.kind == SCRYPT for stanza in stanzas):
        raise HeaderError("vault.header", "a passphrase stanza must be the only one")


def make_header(file_key: bytes, recipients: Sequence[Recipient], *, randbytes: RandBytes) -> bytes:
    """A complete header, MAC line and line feed included, that gives `file_key` (16 bytes) to each recipient.

    Raises KeyFormatError `recipient.none` or `recipient.mixed` (post-quantum beside not, which would be as weak as the
    weaker), HeaderError where a passphrase is not alone, ValueError on a file key of another length.
    """
    if len(file_key) != FILE_KEY:
        raise ValueError("a file key is 16 bytes")
    if not recipients:
        raise KeyFormatError("recipient.none", "a header without recipients could be opened by nobody")
    if len({recipient.post_quantum for recipient in recipients}) > 1:
        raise KeyFormatError("recipient.mixed", "post-quantum and other recipients must not share a file")
    stanzas = tuple(recipient.wrap(file_key, randbytes) for recipient in recipients)
    _check_scrypt_alone(stanzas)
    signed = VERSION + b"".join(stanza.encode() for stanza in stanzas) + _MARK
    return Header(stanzas, signed, _mac(file_key, signed)).encode()


class _Lines:
    """Lines of ASCII without their feed, within the limit; remembers what it read."""

    def __init__(self, source: LineReader) -> None:
        self._source = source
        self.read = b""

    def next(self) -> str:
        line = self._source.readline(MAX_HEADER + 1 - len(self.read))
        self.read += line
        if not line.endswith(b"\n"):
            raise HeaderError("vault.header", "the header is cut short or too long")
        try:
            return line[:-1].decode("ascii")
        except UnicodeDecodeError as error:
            raise HeaderError("vault.header", "the header has a character that is not ASCII") from error


def _read_stanza(first: str, lines: _Lines) -> Stanza:
    prefix, *args = first.split(" ")
    if prefix != "->" or not args or any(_ARGUMENT.match(arg) is None for arg in args):
        raise HeaderError("vault.header", "a stanza's first line is malformed")
    body = b""
    while True:
        line = lines.next()
        if len(line) > _COLUMNS:
            raise HeaderError("vault.header", "a stanza's body has a line over 64 columns")
        body += b64decode(line)  # each line is canonical by itself: a full one is 48 whole bytes
        if len(line) < _COLUMNS:
            return Stanza(tuple(args), body)


def read_header(source: LineReader, version: bytes = VERSION) -> Header:
    """The header at the start of `source`, which is left at the payload's first byte. Raises HeaderError.

    version: the first line it must have. Another suite's header is framed the same way (docs/spec/aes256gcm.md).
    """
    lines = _Lines(source)
    if lines.next().encode() + b"\n" != version:
        raise HeaderError("vault.header", f"the header's first line is not {version.decode().strip()}")
    stanzas: list[Stanza] = []
    while True:
        before = len(lines.read)
        line = lines.next()
        if not line.startswith("---"):
            stanzas.append(_read_stanza(line, lines))
            continue
        if not line.startswith("--- ") or not stanzas:
            raise HeaderError("vault.header", "the header's last line is malformed, or no stanza precedes it")
        mac = b64decode(line[4:])
        if len(mac) != 32:
            raise HeaderError("vault.header", "the header's MAC must be 32 bytes")
        _check_scrypt_alone(stanzas)
        return Header(tuple(stanzas), lines.read[: before + len(_MARK)], mac)


class _Whole:
    """A LineReader over bytes in hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def readline(self, limit: int = -1, /) -> bytes:
        end = self._data.find(b"\n", self.at) + 1 or len(self._data)
        if limit >= 0:
            end = min(end, self.at + limit)
        line = self._data[self.at : end]
        self.at = end
        return line


def parse_header(data: bytes, version: bytes = VERSION) -> Header:
    """The header that `data` is, with nothing after it. Raises HeaderError."""
    source = _Whole(data)
    header = read_header(source, version)
    if source.at != len(data):
        raise HeaderError("vault.header", "bytes follow the header")
    return header


def unwrap_file_key(header: Header, identities: Sequence[Identity]) -> bytes:
    """The 16-byte file key. Raises NoMatchError, MacError, or HeaderError on a malformed stanza for an identity."""
    for identity in identities:
        if (file_key := identity.unwrap(header.stanzas)) is None:
            continue
        if not hmac.compare_digest(_mac(file_key, header.signed), header.mac):
            raise MacError("vault.header_mac", "the header was altered: its MAC does not match")
        return file_key
    raise NoMatchError("vault.no_identity", "none of the identities opens this header")


def open_header(header: bytes, identities: Sequence[Identity]) -> bytes:
    """The 16-byte file key of a detached header. Raises as `parse_header` and `unwrap_file_key` do."""
    return unwrap_file_key(parse_header(header), identities)
