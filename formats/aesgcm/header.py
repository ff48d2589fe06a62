"""The header of the suite `aes256gcm`: the file key wrapped per recipient by HPKE (RFC 9180, base mode), and a MAC.

It is framed as an age header (`formats.age.header`) under a first line of its own. Recipients and identities are age's:
one stanza per recipient with the KEM's encapsulated key as argument and 48 bytes of AES-256-GCM as body. The HPKE `info`
ties each stanza to its recording and segment, so a header moved to another segment opens for nobody.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke

from formats.aesgcm.stream import FILE_KEY, TAG
from formats.age.header import Header, parse_header
from formats.age.hybrid import ENC as HYBRID_ENC
from formats.age.hybrid import HybridIdentity, HybridRecipient
from formats.age.primitives import b64decode, b64encode, hkdf
from formats.age.stanza import Identity, Recipient, Stanza, check_args
from formats.age.x25519 import X25519Identity, X25519Recipient
from formats.errors import HeaderError, KeyFormatError, MacError, NoMatchError
from formats.place import Place

VERSION: Final = b"callwarden/aes256gcm/v1\n"
_INFO: Final = b"callwarden/aes256gcm/v1/file-key"
_MAC_INFO: Final = b"callwarden/aes256gcm/v1/header"
_BODY: Final = FILE_KEY + TAG


class _Kind:
    """One KEM: its stanza type, the bytes of an encapsulated key, and the HPKE suite around it."""

    def __init__(self, name: str, kem: hpke.KEM, enc: int) -> None:
        self.name = name
        self.enc = enc
        self.suite = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


_X25519: Final = _Kind("hpke-x25519", hpke.KEM.X25519, 32)
_HYBRID: Final = _Kind("hpke-mlkem768x25519", hpke.KEM.MLKEM768_X25519, HYBRID_ENC)


def _mac(file_key: bytes, signed: bytes) -> bytes:
    return hmac.new(hkdf(file_key, b"", _MAC_INFO), signed, hashlib.sha256).digest()


def _wrap(file_key: bytes, recipient: Recipient, info: bytes) -> Stanza:
    if isinstance(recipient, X25519Recipient):
        kind, sealed = _X25519, _X25519.suite.encrypt(file_key, recipient.key(), info)
    elif isinstance(recipient, HybridRecipient):
        kind, sealed = _HYBRID, _HYBRID.suite.encrypt(file_key, recipient.key(), info)
    else:
        raise KeyFormatError("recipient.unknown_kind", "aes256gcm takes X25519 and post-quantum recipients only")
    return Stanza((kind.name, b64encode(sealed[: kind.enc])), sealed[kind.enc :])


def make_header(file_key: bytes, recipients: Sequence[Recipient], place: Place) -> bytes:
    """A complete header, MAC line and line feed included, that gives `file_key` (32 bytes) to each recipient.

    The library draws the randomness of each encapsulation itself. Raises KeyFormatError `recipient.none`,
    `recipient.mixed` or `recipient.unknown_kind` (a passphrase, say), ValueError on a file key of another length.
    """
    if len(file_key) != FILE_KEY:
        raise ValueError("a file key of aes256gcm is 32 bytes")
    if not recipients:
        raise KeyFormatError("recipient.none", "a header without recipients could be opened by nobody")
    if len({recipient.post_quantum for recipient in recipients}) > 1:
        raise KeyFormatError("recipient.mixed", "post-quantum and other recipients must not share a file")
    stanzas = tuple(_wrap(file_key, recipient, place.under(_INFO)) for recipient in recipients)
    signed = VERSION + b"".join(stanza.encode() for stanza in stanzas) + b"---"
    return Header(stanzas, signed, _mac(file_key, signed)).encode()


def _check_kinds(header: Header) -> None:
    """Stanzas are known, whole and of one kind: a quieter second kind would be as weak as the weaker."""
    for stanza in header.stanzas:
        kind = {_X25519.name: _X25519, _HYBRID.name: _HYBRID}.get(stanza.kind)
        if kind is None:
            raise HeaderError("vault.header", "the header has a stanza of a type that is not known")
        check_args(stanza, 2)
        if len(b64decode(stanza.args[1])) != kind.enc or len(stanza.body) != _BODY:
            raise HeaderError("vault.header", "a stanza's share or body has a wrong length")
    if len({stanza.kind for stanza in header.stanzas}) > 1:
        raise HeaderError("vault.header", "the header mixes post-quantum and other recipients")


def _unwrap(header: Header, identity: Identity, info: bytes) -> bytes | None:
    if isinstance(identity, X25519Identity):
        kind: _Kind = _X25519
    elif isinstance(identity, HybridIdentity):
        kind = _HYBRID
    else:
        return None
    for stanza in header.stanzas:
        if stanza.kind != kind.name:
            continue
        enc = b64decode(stanza.args[1])
        if not identity.agrees_with(enc):
            raise HeaderError("vault.header", "a stanza's share is a point of low order")
        try:
            return kind.suite.decrypt(enc + stanza.body, identity.key(), info)
        except InvalidTag:
            continue
    return None


def open_header(header: bytes, identities: Sequence[Identity], place: Place) -> bytes:
    """The 32-byte file key of a detached header.

    Raises HeaderError on anything malformed, NoMatchError where no identity opens it (or it belongs to another place),
    MacError where it was altered.
    """
    parsed = parse_header(header, VERSION)
    _check_kinds(parsed)
    for identity in identities:
        if (file_key := _unwrap(parsed, identity, place.under(_INFO))) is None:
            continue
        if not hmac.compare_digest(_mac(file_key, parsed.signed), parsed.mac):
            raise MacError("vault.header_mac", "the header was altered: its MAC does not match")
        return file_key
    raise NoMatchError("vault.no_identity", "none of the identities opens this header")
