"""The X25519 recipient type (C2SP age, "The X25519 recipient type"), the one every age implementation reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from formats import bech32
from formats.age.primitives import b64decode, b64encode, check_body, hkdf, unwrap, wrap
from formats.age.stanza import RandBytes, Stanza, check_args
from formats.errors import HeaderError, KeyFormatError

_KIND = "X25519"
_INFO = b"age-encryption.org/v1/X25519"
_HRP_RECIPIENT = "age"
_HRP_IDENTITY = "AGE-SECRET-KEY-"


def _share(secret: bytes, public: bytes) -> bytes:
    """The shared secret. Raises ValueError where it is all zero (a point of low order)."""
    return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))


def _public(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


@dataclass(frozen=True)
class X25519Recipient:
    """A public key: 32 bytes."""

    public: bytes

    @classmethod
    def parse(cls, text: str) -> X25519Recipient:
        """From `age1…`. Raises KeyFormatError `recipient.malformed` or `recipient.bech32`."""
        hrp, data = bech32.decode(text)
        if hrp != _HRP_RECIPIENT or len(data) != 32:
            raise KeyFormatError("recipient.malformed", "not an X25519 recipient: expected age1 and 58 more characters")
        try:
            _share(bytes(32), data)
        except ValueError as error:
            raise KeyFormatError("recipient.malformed", "the recipient is a point of low order") from error
        return cls(data)

    @property
    def post_quantum(self) -> bool:
        """False: what is recorded today could be read by whoever owns a quantum computer later."""
        return False

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of SHA-256 over the recipient's text; names a key where space is short."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    def key(self) -> X25519PublicKey:
        """The key as the library takes it."""
        return X25519PublicKey.from_public_bytes(self.public)

    def wrap(self, file_key: bytes, randbytes: RandBytes) -> Stanza:
        """A stanza for this recipient; takes 32 random bytes."""
        ephemeral = randbytes(32)
        share = _public(ephemeral)
        try:
            shared = _share(ephemeral, self.public)
        except ValueError as error:
            raise KeyFormatError("recipient.malformed", "the recipient is a point of low order") from error
        return Stanza((_KIND, b64encode(share)), wrap(hkdf(shared, share + self.public, _INFO), file_key))

    def __str__(self) -> str:
        return bech32.encode(_HRP_RECIPIENT, self.public)


@dataclass(frozen=True)
class X25519Identity:
    """A private key: 32 bytes. Its text and bytes are secret; `repr` shows neither."""

    secret: bytes

    @classmethod
    def generate(cls, seed32: bytes) -> X25519Identity:
        """An identity from 32 random bytes. Raises ValueError on any other length."""
        if len(seed32) != 32:
            raise ValueError("an identity is made of exactly 32 random bytes")
        return cls(seed32)

    @classmethod
    def parse(cls, text: str) -> X25519Identity:
        """From `AGE-SECRET-KEY-1…`. Raises KeyFormatError `recipient.malformed` or `recipient.bech32`."""
        hrp, data = bech32.decode(text)
        if hrp != _HRP_IDENTITY or len(data) != 32:
            raise KeyFormatError("recipient.malformed", "not an X25519 identity: expected AGE-SECRET-KEY-1…")
        return cls(data)

    def key(self) -> X25519PrivateKey:
        """The key as the library takes it."""
        return X25519PrivateKey.from_private_bytes(self.secret)

    def agrees_with(self, enc: bytes) -> bool:
        """Whether a share (32 bytes) is a point that keys can be agreed with, not one of low order."""
        try:
            _share(self.secret, enc)
        except ValueError:
            return False
        return True

    def recipient(self) -> X25519Recipient:
        """The public half."""
        return X25519Recipient(_public(self.secret))

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None. Raises HeaderError on a malformed X25519 stanza, whoever it is for."""
        public = _public(self.secret)
        for stanza in stanzas:
            if stanza.kind != _KIND:
                continue
            check_args(stanza, 2)
            share = b64decode(stanza.args[1])
            if len(share) != 32:
                raise HeaderError("vault.header", "an X25519 share must be 32 bytes")
            check_body(stanza.body)
            try:
                shared = _share(self.secret, share)
            except ValueError as error:
                raise HeaderError("vault.header", "an X25519 share is a point of low order") from error
            if (file_key := unwrap(hkdf(shared, share + public, _INFO), stanza.body)) is not None:
                return file_key
        return None

    def __str__(self) -> str:
        return bech32.encode(_HRP_IDENTITY, self.secret)

    def __repr__(self) -> str:
        return f"X25519Identity(of {self.recipient()})"
