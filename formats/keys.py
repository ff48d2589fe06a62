"""Ed25519 keys as JSON Web Keys (RFC 8037), named by their RFC 7638 thumbprint.

`cryptography` is used directly rather than joserfc: our header has exactly three members and our counting of
signatures is stricter than the library's, which accepts a stripped or a doubled signature; what is left of a JOSE
library after that is one call of Ed25519. The tests read every product of ours with joserfc.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from formats import canonical
from formats.errors import KeyFormatError, SignatureError

#: The two characters in which base64url differs. `base64` of the standard library does the same in three times as long.
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515, appendix C)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """The bytes of canonical base64url without padding. Raises SignatureError `auth.encoding`."""
    try:
        padded = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        data = binascii.a2b_base64(padded, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError("auth.encoding", "a value is not base64url") from error
    if b64url(data) != text:
        raise SignatureError("auth.encoding", "a base64url value is not canonical")
    return data


def _public_members(public: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": b64url(public)}


def _check_jwk(jwk: Mapping[str, Any], allowed: frozenset[str], required: frozenset[str]) -> None:
    if not required <= jwk.keys() <= allowed or not all(isinstance(value, str) for value in jwk.values()):
        raise KeyFormatError("auth.key", f"the key must be a JWK with the members {', '.join(sorted(required))}")
    if jwk["kty"] != "OKP" or jwk["crv"] != "Ed25519":
        raise KeyFormatError("auth.key", "the key is not an Ed25519 key")


def _key_bytes(text: str) -> bytes:
    try:
        data = unb64url(text)
    except SignatureError as error:
        raise KeyFormatError("auth.key", "the key is not base64url") from error
    if len(data) != 32:
        raise KeyFormatError("auth.key", "an Ed25519 key has 32 bytes")
    return data


_PUBLIC = frozenset({"kty", "crv", "x"})


@dataclass(frozen=True)
class VerifyKey:
    """A public key: 32 bytes."""

    public: bytes

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> VerifyKey:
        """From a public JWK; a `kid` inside must be the thumbprint. Raises KeyFormatError `auth.key`."""
        if "d" in jwk:
            raise KeyFormatError("auth.key", "this is a private key where a public one belongs")
        _check_jwk(jwk, _PUBLIC | {"kid"}, _PUBLIC)
        key = cls(_key_bytes(jwk["x"]))
        if jwk.get("kid", key.kid) != key.kid:
            raise KeyFormatError("auth.key", "the key's name is not its RFC 7638 thumbprint")
        return key

    @cached_property
    def kid(self) -> str:
        """The RFC 7638 thumbprint: SHA-256 over the canonical public members, base64url, 43 characters."""
        return b64url(hashlib.sha256(canonical.dumps(_public_members(self.public))).digest())

    def jwk(self) -> dict[str, str]:
        """The public JWK: `kty`, `crv`, `x`."""
        return _public_members(self.public)

    @cached_property
    def _public_key(self) -> Ed25519PublicKey:
        """The library's object. Raises ValueError for bytes that are no point."""
        return Ed25519PublicKey.from_public_bytes(self.public)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises SignatureError `auth.signature` unless `signature` is this key's over `message`."""
        try:
            self._public_key.verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError("auth.signature", "the signature does not verify") from error


@dataclass(frozen=True)
class SigningKey:
    """A private key: its 32-byte seed. `repr` does not show it."""

    seed: bytes

    @classmethod
    def from_seed(cls, seed32: bytes) -> SigningKey:
        """From 32 random bytes. Raises ValueError on any other length."""
        if len(seed32) != 32:
            raise ValueError("an Ed25519 key is made of exactly 32 random bytes")
        return cls(seed32)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> SigningKey:
        """From a private JWK. Raises KeyFormatError `auth.key`, also where its two halves do not belong together."""
        _check_jwk(jwk, _PUBLIC | {"d", "kid"}, _PUBLIC | {"d"})
        key = cls(_key_bytes(jwk["d"]))
        if key.verify_key != VerifyKey.from_jwk({name: jwk[name] for name in jwk if name != "d"}):
            raise KeyFormatError("auth.key", "the public half is not that of the private half")
        return key

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        """The library's object: making it costs as much as a signature."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @cached_property
    def verify_key(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(self._private.public_key().public_bytes_raw())

    @property
    def kid(self) -> str:
        """The public half's thumbprint."""
        return self.verify_key.kid

    def jwk(self) -> dict[str, str]:
        """The private JWK, `kid` included: what a key file of mode 0600 holds as canonical JSON."""
        public = self.verify_key
        return {**public.jwk(), "d": b64url(self.seed), "kid": public.kid}

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"


def dump_key(key: SigningKey) -> bytes:
    """A private key file's content: canonical JSON and a line feed."""
    return canonical.dumps(key.jwk()) + b"\n"


def load_key(data: bytes) -> SigningKey:
    """The key of a private key file. Raises KeyFormatError `auth.key`, JsonError."""
    value = canonical.loads(data)
    if not isinstance(value, dict):
        raise KeyFormatError("auth.key", "a key file holds one JWK")
    return SigningKey.from_jwk(value)
