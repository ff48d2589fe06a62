"""An edge's new signing key, told by the old one: General JWS by both keys, `typ` `callwarden-key-change+json`.

The old key says who comes after it, the new one that somebody holds it. `at` is when the old one stops to count, by the
edge's clock, which also dates what the old key signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from formats import canonical
from formats.errors import KeyFormatError
from formats.ids import parse_time
from formats.jws import read_payload, sign_general, verify_general
from formats.keys import SigningKey, VerifyKey
from formats.keyset import KeyEntry, KeySet, entry
from formats.roles import Role

KEY_CHANGE_TYP = "callwarden-key-change+json"


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims. `old`: the thumbprint of the key that goes; `new`: the public JWK of the one that comes; `at`: RFC 3339."""

    edge_id: str
    old: str
    new: dict[str, str]
    at: str

    @property
    def key(self) -> VerifyKey:
        """The key that comes. Raises KeyFormatError `auth.key`."""
        return VerifyKey.from_jwk(self.new)


def sign_key_change(edge_id: str, old: SigningKey, new: SigningKey, at: str) -> dict[str, Any]:
    """The signed statement."""
    claims = {"edge_id": edge_id, "old": old.kid, "new": new.verify_key.jwk(), "at": at}
    return sign_general(canonical.dumps(claims), [(old, old.kid), (new, new.kid)], KEY_CHANGE_TYP)


def read_key_change(document: Mapping[str, Any]) -> KeyChange:
    """The claims, NOT verified. Raises FormatError where they are malformed."""
    try:
        claims = msgspec.convert(canonical.loads(read_payload(document)), KeyChange)
    except msgspec.ValidationError as error:
        raise KeyFormatError("auth.key_change", f"the statement is malformed: {error}") from error
    parse_time(claims.at)
    if claims.key.kid == claims.old:
        raise KeyFormatError("auth.key_change", "the new key is the old one")
    return claims


def verify_key_change(document: Mapping[str, Any], edge_id: str, old: VerifyKey) -> KeyChange:
    """The claims of a statement that `old` and the key it names both signed, for this edge. Raises FormatError."""
    claims = read_key_change(document)
    if claims.edge_id != edge_id or claims.old != old.kid:
        raise KeyFormatError("auth.key_change", "the statement is about another edge or another key")
    both = KeySet.of([entry(key, "edge", edge_id, edge_id=edge_id) for key in (old, claims.key)])
    demanded: Counter[Role] = Counter({"edge": 2})
    verify_general(document, both, KEY_CHANGE_TYP, demanded)
    return claims


def with_new_key(trust: KeySet, change: KeyChange) -> KeySet:
    """`trust` with the old key retired at `at` and the new one beside it."""
    entries: list[KeyEntry] = []
    for one in trust.entries:
        ours = one.kid == change.old and one.role == "edge"
        entries.append(msgspec.structs.replace(one, retired=change.at) if ours else one)
    if all(one.kid != change.key.kid for one in entries):
        entries.append(entry(change.key, "edge", change.edge_id, edge_id=change.edge_id))
    return KeySet.of(entries)
