"""JSON Web Signatures (RFC 7515) with Ed25519 (RFC 9864), in the three shapes Callwarden uses.

The protected header has exactly `alg`, `kid` and `typ`; there is no unprotected header. `typ` keeps apart what one key
signs. Who had to sign is counted here, not by a library: see `verify_general`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from formats import canonical
from formats.errors import JsonError, SignatureError
from formats.keys import SigningKey, b64url, unb64url
from formats.keyset import KeyEntry, KeySet
from formats.roles import Role

ALG = "Ed25519"  # RFC 9864, section 2.2; the older "EdDSA" does not name the curve and is refused
_MEMBERS = {"alg", "kid", "typ"}
#: The canonical spelling of a header whose texts need no escape.
_PLAIN = re.compile(rb'\{"alg":"%b","kid":"([A-Za-z0-9_-]*)","typ":"([a-z0-9+./-]*)"\}' % ALG.encode("ascii"))
#: More signatures than this are refused unread; no order needs more than two.
MAX_SIGNATURES = 8


@dataclass(frozen=True)
class Verified:
    """A payload whose signatures were checked, and who made them, in the document's order."""

    payload: bytes
    signers: tuple[KeyEntry, ...]

    @property
    def signer(self) -> KeyEntry:
        """The first, or only, signer."""
        return self.signers[0]


def _protected(key: SigningKey, kid: str, typ: str) -> str:
    if kid != key.kid:
        raise SignatureError("auth.kid", "a key signs under its own thumbprint only")
    return _header(kid, typ)


@lru_cache(maxsize=64)
def _header(kid: str, typ: str) -> str:
    """One key signs few types of documents: the same header again and again."""
    return b64url(canonical.dumps({"alg": ALG, "kid": kid, "typ": typ}))


def _signing_input(protected: str, payload: bytes) -> bytes:
    return f"{protected}.{b64url(payload)}".encode("ascii")


def _kid(protected: str, typ: str) -> str:
    """The kid of a protected header that is exactly as demanded. Raises SignatureError `auth.header`."""
    raw = unb64url(protected)
    if (plain := _PLAIN.fullmatch(raw)) is not None and plain[2].decode() == typ:
        return plain[1].decode()  # as we write it ourselves: one kid, one typ, nothing that could be read in two ways
    try:
        header = canonical.loads(raw)
    except JsonError as error:
        raise SignatureError("auth.header", f"the signature's header is malformed: {error.message}") from error
    if not isinstance(header, dict) or header.keys() != _MEMBERS:
        raise SignatureError("auth.header", "the signature's header must have alg, kid and typ and nothing else")
    if header["alg"] != ALG:
        raise SignatureError("auth.header", f"the signature's algorithm must be {ALG}")
    if header["typ"] != typ:
        raise SignatureError("auth.header", f"the signature is for {header['typ']!r}, not for {typ!r}")
    if not isinstance(kid := header["kid"], str):
        raise SignatureError("auth.header", "the signature's kid must be text")
    return kid


def sign_compact(payload: bytes, key: SigningKey, kid: str, typ: str) -> str:
    """The compact serialization. `kid` must be the key's thumbprint. Raises SignatureError `auth.kid`."""
    protected = _protected(key, kid, typ)
    return f"{protected}.{b64url(payload)}.{b64url(key.sign(_signing_input(protected, payload)))}"


def verify_compact(jws: str, keys: KeySet, typ: str, *roles: Role) -> Verified:
    """The payload of a compact JWS signed by a key of `keys` with one of `roles` (any where none is given).

    Raises SignatureError.
    """
    parts = jws.split(".")
    if len(parts) != 3:
        raise SignatureError("auth.encoding", "a compact signature has three parts")
    protected, body, signature = parts
    entry = keys.find(_kid(protected, typ), *roles)
    payload = unb64url(body)
    _verify(keys, entry, protected, payload, signature)
    return Verified(payload, (entry,))


def _verify(keys: KeySet, entry: KeyEntry, protected: str, payload: bytes, signature: str) -> None:
    keys.key_of(entry).verify(unb64url(signature), _signing_input(protected, payload))


def sign_detached(payload: bytes, key: SigningKey, kid: str, typ: str) -> str:
    """The compact serialization with the payload left out (RFC 7515, appendix F): `header..signature`."""
    protected, _, signature = sign_compact(payload, key, kid, typ).split(".")
    return f"{protected}..{signature}"


def verify_detached(jws: str, payload: bytes, keys: KeySet, typ: str, *roles: Role) -> Verified:
    """As `verify_compact`, for a payload that came beside the signature."""
    parts = jws.split(".")
    if len(parts) != 3 or parts[1]:
        raise SignatureError("auth.encoding", "a detached signature has an empty middle")
    entry = keys.find(_kid(parts[0], typ), *roles)
    _verify(keys, entry, parts[0], payload, parts[2])
    return Verified(payload, (entry,))


def _signature(payload: bytes, key: SigningKey, kid: str, typ: str) -> dict[str, str]:
    protected = _protected(key, kid, typ)
    return {"protected": protected, "signature": b64url(key.sign(_signing_input(protected, payload)))}


def sign_general(payload: bytes, signers: Iterable[tuple[SigningKey, str]], typ: str) -> dict[str, Any]:
    """The General JSON serialization, one signature for each (key, kid)."""
    return {"payload": b64url(payload), "signatures": [_signature(payload, key, kid, typ) for key, kid in signers]}


def add_signature(document: Mapping[str, Any], key: SigningKey, kid: str, typ: str) -> dict[str, Any]:
    """`document` with one more signature over the same payload. Raises SignatureError where it is malformed.

    The signatures already there are not verified: who signs reads the payload, who acts verifies all.
    """
    payload, signatures = _read_general(document)
    return {"payload": b64url(payload), "signatures": [*signatures, _signature(payload, key, kid, typ)]}


def _read_general(document: Mapping[str, Any]) -> tuple[bytes, list[dict[str, str]]]:
    if document.keys() != {"payload", "signatures"}:
        raise SignatureError("auth.encoding", "the document must have payload and signatures and nothing else")
    payload, signatures = document["payload"], document["signatures"]
    if not isinstance(payload, str) or not isinstance(signatures, list | tuple):
        raise SignatureError("auth.encoding", "the document's members have the wrong type")
    if len(signatures) > MAX_SIGNATURES:
        raise SignatureError("auth.count", f"more than {MAX_SIGNATURES} signatures")
    for one in signatures:
        if not isinstance(one, dict) or one.keys() != {"protected", "signature"}:
            raise SignatureError("auth.header", "a signature must have protected and signature and nothing else")
        if not all(isinstance(value, str) for value in one.values()):
            raise SignatureError("auth.encoding", "a signature's members must be text")
    return unb64url(payload), list(signatures)


def read_payload(document: Mapping[str, Any]) -> bytes:
    """The payload of a General JSON document, NOT verified. Raises SignatureError where it is malformed."""
    return _read_general(document)[0]


def verify_general(
    document: Mapping[str, Any] | bytes | str,
    keys: KeySet,
    typ: str,
    required: Counter[Role] | Sequence[Counter[Role]],
) -> Verified:
    """The payload of a General JSON document that has exactly the demanded signatures.

    required: how many keys of each role, or several such demands of which one must be met exactly. Every signature
    there is must verify, each under another pinned key, and their roles must be the demanded ones: one too few, one too
    many, one doubled or one of a wrong role is refused. Raises SignatureError; JsonError where bytes or text are given
    that are not strict JSON.
    """
    if isinstance(document, bytes | str):
        document = canonical.loads(document)
        if not isinstance(document, dict):
            raise SignatureError("auth.encoding", "the document is not an object")
    payload, signatures = _read_general(document)
    entries = [keys.find(_kid(one["protected"], typ)) for one in signatures]
    if len({entry.kid for entry in entries}) != len(entries):
        raise SignatureError("auth.count", "the same key signed twice")
    demands = [required] if isinstance(required, Counter) else list(required)
    roles = Counter(entry.role for entry in entries)
    if not any(roles == demand and demand.total() for demand in demands):
        wanted = " or ".join(_spell(demand) for demand in demands)
        raise SignatureError("auth.count", f"signed by {_spell(roles)}, but {wanted} must sign")
    for entry, one in zip(entries, signatures, strict=True):
        _verify(keys, entry, one["protected"], payload, one["signature"])
    return Verified(payload, tuple(entries))


def _spell(roles: Counter[Role]) -> str:
    return " + ".join(f"{count} {role}" if count > 1 else role for role, count in sorted(roles.items())) or "nobody"
