"""How central finds the calls of a number without knowing numbers: a hash under a key of the fleet. Pure.

The hash is HMAC-SHA-256 of the number in E.164. There are so few telephone numbers that whoever has the key tries them all:
it is no secret from an edge or from central, and one from everybody who has a copy of rows, backups or traffic. The key
goes to an edge sealed (HPKE, RFC 9180) to a key the edge made for that one answer, signed by the store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats import canonical
from formats.errors import KeyFormatError, SealError
from formats.keys import b64url, unb64url

#: `typ` of the statement in which an edge gets the key.
TYP: Final = "callwarden-search-key+json"
#: Type of the event that carries a call's numbers.
EVENT: Final = "call.numbers"
#: What travels of a number, by the policy's `central.number`.
FORMS: Final = ("clear", "hashed")
#: Numbers of one call in an event.
MOST_NUMBERS: Final = 100
KEY: Final = 32
NONCE: Final = 12

#: Each keeps one use of the key apart from the others.
_NUMBER: Final = b"callwarden search number v1\n"
_ID: Final = b"callwarden search key id v1\n"
_INFO: Final = b"callwarden/search-key/v1"
_E164: Final = re.compile(r"\+[1-9][0-9]{5,14}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class SearchKey:
    """A key of the fleet, 32 random bytes."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != KEY:
            raise KeyFormatError("sync.search_key", f"a search key is {KEY} bytes")

    def __repr__(self) -> str:
        """Without the key: this is what logs show."""
        return f"SearchKey({self.id})"

    @property
    def id(self) -> str:
        """Names the key and tells nothing of it, 16 hex digits."""
        return hmac.new(self.key, _ID, hashlib.sha256).hexdigest()[:16]

    def hash(self, e164: str) -> str:
        """What stands for a number ("+" and digits), 64 hex digits."""
        return hmac.new(self.key, _NUMBER + e164.encode(), hashlib.sha256).hexdigest()


def is_value(form: str, value: object) -> bool:
    """Whether `value` is what a number looks like in this form."""
    shape = {"clear": _E164, "hashed": _HASH}.get(form)
    return shape is not None and isinstance(value, str) and shape.fullmatch(value) is not None


def seal_value(value: str, key: bytes, nonce: bytes, call_id: str, party_id: str) -> bytes:
    """As central keeps it: nonce and ChaCha20-Poly1305 under a key of its own (32 random bytes, used once), bound to the party."""
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, value.encode(), _bound_to(call_id, party_id))


def open_value(sealed: bytes, key: bytes, call_id: str, party_id: str) -> str:
    """The value. Raises SealError `vault.sealed_number` where the key was overwritten, or is another one's by now."""
    try:
        bound = _bound_to(call_id, party_id)
        return ChaCha20Poly1305(key).decrypt(sealed[:NONCE], sealed[NONCE:], bound).decode()
    except (InvalidTag, ValueError) as error:
        raise SealError("vault.sealed_number", "the number does not open: its key is gone") from error


def key_claims(key: SearchKey, fleet: str, edge_id: str, public: bytes) -> bytes:
    """What the store signs for an edge: the key sealed to `public` (X25519, 32 bytes). Raises KeyFormatError `sync.search_key`.

    The library draws the randomness of the encapsulation itself.
    """
    try:
        sealed = _SUITE.encrypt(key.key, X25519PublicKey.from_public_bytes(public), _INFO)
    except ValueError as error:
        raise KeyFormatError("sync.search_key", "an X25519 public key has 32 bytes") from error
    return canonical.dumps(
        {"iss": fleet, "edge_id": edge_id, "public": b64url(public), "key_id": key.id, "sealed": b64url(sealed)}
    )


def open_key(payload: bytes, edge_id: str, private: X25519PrivateKey) -> SearchKey:
    """The key out of a verified statement. Raises FormatError: it is not for this edge and this question, or malformed."""
    claims = canonical.loads(payload)
    if not isinstance(claims, Mapping):
        raise KeyFormatError("sync.search_key", "the statement is no object")
    asked = (edge_id, b64url(private.public_key().public_bytes_raw()))
    if (claims.get("edge_id"), claims.get("public")) != asked:
        raise KeyFormatError("sync.search_key", "the statement answers another question")
    try:
        key = SearchKey(_SUITE.decrypt(unb64url(_text(claims.get("sealed"))), private, _INFO))
    except (InvalidTag, ValueError) as error:
        raise KeyFormatError("sync.search_key", "the sealed key does not open") from error
    if key.id != claims.get("key_id"):
        raise KeyFormatError("sync.search_key", "the key is not the one it is called")
    return key


def without_values(data: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a `call.numbers` as it may be stored: how many numbers there were."""
    numbers = data.get("numbers")
    count = {"count": len(numbers)} if isinstance(numbers, list) else {}
    return {name: data[name] for name in data if name != "numbers"} | count


def _bound_to(call_id: str, party_id: str) -> bytes:
    return canonical.dumps({"call_id": call_id, "party_id": party_id})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise KeyFormatError("sync.search_key", "the statement has no sealed key")
    return value


__all__ = [
    "EVENT", "FORMS", "KEY", "MOST_NUMBERS", "NONCE", "TYP", "SearchKey", "is_value", "key_claims",
    "open_key", "open_value", "seal_value", "without_values",
]  # fmt: skip
