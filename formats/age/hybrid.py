"""The post-quantum recipient type `mlkem768x25519` (C2SP age, "The MLKEM768-X25519 hybrid recipient type").

HPKE base mode (RFC 9180) with KEM MLKEM768-X25519 (X-Wing), HKDF-SHA256 and ChaCha20-Poly1305. The 32-byte identity is
the X-Wing seed: SHAKE256 stretches it to the 64-byte ML-KEM seed and the 32-byte X25519 key. Debian's age 1.1.1 does
not read this type; age 1.3 does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from formats import bech32
from formats.age.primitives import b64decode, b64encode, check_body
from formats.age.stanza import RandBytes, Stanza, check_args
from formats.errors import HeaderError, KeyFormatError

_KIND = "mlkem768x25519"
_INFO = b"age-encryption.org/mlkem768x25519"
_HRP_RECIPIENT = "age1pq"
_HRP_IDENTITY = "AGE-SECRET-KEY-PQ-"
_MLKEM_PUBLIC = 1184  # FIPS 203, table 3
_MLKEM_CIPHERTEXT = 1088  # FIPS 203, table 3
#: Bytes of an encapsulated key: the ML-KEM ciphertext, then the X25519 share.
ENC = _MLKEM_CIPHERTEXT + 32
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True)
class HybridRecipient:
    """A public key: 1184 bytes of ML-KEM-768, then 32 of X25519."""

    public: bytes

    @classmethod
    def parse(cls, text: str) -> HybridRecipient:
        """From `age1pq1…`. Raises KeyFormatError `recipient.malformed` or `recipient.bech32`."""
        hrp, data = bech32.decode(text)
        if hrp != _HRP_RECIPIENT or len(data) != _MLKEM_PUBLIC + 32:
            raise KeyFormatError("recipient.malformed", "not a post-quantum recipient: expected age1pq1…")
        recipient = cls(data)
        try:
            recipient.key()
        except ValueError as error:
            raise KeyFormatError("recipient.malformed", "the recipient is not an ML-KEM-768 key") from error
        return recipient

    def key(self) -> hpke.MLKEM768X25519PublicKey:
        """The key as the library's HPKE takes it. Raises ValueError where it is none."""
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.public[:_MLKEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(self.public[_MLKEM_PUBLIC:]),
        )

    @property
    def post_quantum(self) -> bool:
        """True."""
        return True

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of SHA-256 over the recipient's text."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    def wrap(self, file_key: bytes, randbytes: RandBytes) -> Stanza:
        """A stanza for this recipient. `randbytes` is not used: OpenSSL draws the encapsulation's randomness itself."""
        sealed = _SUITE.encrypt(file_key, self.key(), _INFO)
        return Stanza((_KIND, b64encode(sealed[:ENC])), sealed[ENC:])

    def __str__(self) -> str:
        return bech32.encode(_HRP_RECIPIENT, self.public)


@dataclass(frozen=True)
class HybridIdentity:
    """A private key: the 32-byte X-Wing seed. `repr` does not show it."""

    seed: bytes

    @classmethod
    def generate(cls, seed32: bytes) -> HybridIdentity:
        """An identity from 32 random bytes. Raises ValueError on any other length."""
        if len(seed32) != 32:
            raise ValueError("an identity is made of exactly 32 random bytes")
        return cls(seed32)

    @classmethod
    def parse(cls, text: str) -> HybridIdentity:
        """From `AGE-SECRET-KEY-PQ-1…`. Raises KeyFormatError `recipient.malformed` or `recipient.bech32`."""
        hrp, data = bech32.decode(text)
        if hrp != _HRP_IDENTITY or len(data) != 32:
            raise KeyFormatError("recipient.malformed", "not a post-quantum identity: expected AGE-SECRET-KEY-PQ-1…")
        return cls(data)

    def _parts(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        stretched = hashlib.shake_256(self.seed).digest(96)
        return MLKEM768PrivateKey.from_seed_bytes(stretched[:64]), X25519PrivateKey.from_private_bytes(stretched[64:])

    def key(self) -> hpke.MLKEM768X25519PrivateKey:
        """The key as the library's HPKE takes it."""
        return hpke.MLKEM768X25519PrivateKey(*self._parts())

    def agrees_with(self, enc: bytes) -> bool:
        """Whether the X25519 half of an encapsulated key (1120 bytes) is a point that keys can be agreed with: HPKE would
        call a low-order point a mere mismatch, where a reader must stop."""
        try:
            self._parts()[1].exchange(X25519PublicKey.from_public_bytes(enc[_MLKEM_CIPHERTEXT:]))
        except ValueError:
            return False
        return True

    def recipient(self) -> HybridRecipient:
        """The public half."""
        mlkem, x25519 = self._parts()
        return HybridRecipient(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """The file key, or None. Raises HeaderError on a malformed stanza of this type, whoever it is for."""
        for stanza in stanzas:
            if stanza.kind != _KIND:
                continue
            check_args(stanza, 2)
            enc = b64decode(stanza.args[1])
            if len(enc) != ENC:
                raise HeaderError("vault.header", "an mlkem768x25519 share must be 1120 bytes")
            check_body(stanza.body)
            if not self.agrees_with(enc):
                raise HeaderError("vault.header", "an mlkem768x25519 share has a point of low order")
            try:
                return _SUITE.decrypt(enc + stanza.body, self.key(), _INFO)
            except InvalidTag:
                continue
        return None

    def __str__(self) -> str:
        return bech32.encode(_HRP_IDENTITY, self.seed)

    def __repr__(self) -> str:
        return f"HybridIdentity(of {self.recipient().fingerprint})"
