"""The key set: whom we believe, and in which role. This is the file behind `--trust` and what every edge pins.

`{"type":"callwarden-keyset/v1","keys":[{"kid","role","owner","edge_id"?,"jwk","not_before"?,"retired"?}]}`. One key has
one role: a person who is both store and DPO holds two keys, or the demand for two signatures means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

import msgspec

from formats import canonical
from formats.errors import FormatError, KeyFormatError, SignatureError
from formats.ids import parse_time
from formats.keys import VerifyKey
from formats.roles import Role

TYPE = "callwarden-keyset/v1"
#: `typ` of a key set signed to replace the previous one.
TYP = "callwarden-keyset+json"


class KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One pinned key. It counts from `not_before` on and no more from `retired` (times as in `formats.ids`)."""

    kid: str
    role: Role
    owner: str
    jwk: dict[str, str]
    edge_id: str | None = None
    not_before: str | None = None
    retired: str | None = None

    @property
    def key(self) -> VerifyKey:
        """The public key."""
        return VerifyKey.from_jwk(self.jwk)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    keys: tuple[KeyEntry, ...]


def entry(
    key: VerifyKey, role: Role, owner: str, *, edge_id: str | None = None, not_before: str | None = None
) -> KeyEntry:
    """An entry for `key`, named by its thumbprint."""
    return KeyEntry(kid=key.kid, role=role, owner=owner, jwk=key.jwk(), edge_id=edge_id, not_before=not_before)


def _check(one: KeyEntry, key: VerifyKey) -> None:
    if key.kid != one.kid:
        raise KeyFormatError("auth.keyset", f"the key of {one.owner} is not named by its thumbprint")
    if (one.role == "edge") != (one.edge_id is not None):
        raise KeyFormatError("auth.keyset", f"the key of {one.owner}: an edge's key, and no other, has an edge_id")
    for at in (one.not_before, one.retired):
        if at is not None:
            parse_time(at)


@dataclass(frozen=True)
class KeySet:
    """Pinned keys by kid."""

    entries: tuple[KeyEntry, ...]
    _by_kid: dict[str, KeyEntry] = field(init=False, repr=False, compare=False)
    _keys: dict[str, VerifyKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises KeyFormatError `auth.keyset` on a doubled kid, a wrong name or an entry that contradicts itself."""
        object.__setattr__(self, "_by_kid", {one.kid: one for one in self.entries})
        if len(self._by_kid) != len(self.entries):
            raise KeyFormatError("auth.keyset", "the same key is listed twice")
        object.__setattr__(self, "_keys", {one.kid: one.key for one in self.entries})
        for one in self.entries:
            _check(one, self._keys[one.kid])

    @classmethod
    def of(cls, entries: Iterable[KeyEntry]) -> KeySet:
        """A key set of `entries`."""
        return cls(tuple(entries))

    def find(self, kid: str, *roles: Role) -> KeyEntry:
        """The entry named `kid` with one of `roles` (any role where none is given).

        Raises SignatureError `auth.unknown_key` or `auth.role`.
        """
        if (one := self._by_kid.get(kid)) is None:
            raise SignatureError("auth.unknown_key", f"the key {kid} is not one of the trusted keys")
        if roles and one.role not in roles:
            raise SignatureError("auth.role", f"the key {kid} is a key of role {one.role}, not {' or '.join(roles)}")
        return one

    def key_of(self, one: KeyEntry) -> VerifyKey:
        """The public key of an entry of this set, decoded once for all that it verifies."""
        return self._keys[one.kid]

    def with_role(self, role: Role) -> list[KeyEntry]:
        """Every entry of that role."""
        return [one for one in self.entries if one.role == role]

    def active(self, at: str) -> KeySet:
        """The keys that count at `at`: begun by `not_before`, and before `retired`."""
        now = parse_time(at)
        return KeySet.of(
            one
            for one in self.entries
            if (one.not_before is None or parse_time(one.not_before) <= now)
            and (one.retired is None or now < parse_time(one.retired))
        )

    def dump(self) -> bytes:
        """The document as canonical JSON and a line feed."""
        return canonical.dumps(msgspec.to_builtins(_Document(TYPE, self.entries))) + b"\n"

    @classmethod
    def load(cls, data: bytes) -> KeySet:
        """The key set of a document. Raises KeyFormatError `auth.keyset`, JsonError."""
        value: Any = canonical.loads(data)
        try:
            document = msgspec.convert(value, _Document)
        except msgspec.ValidationError as error:
            raise KeyFormatError("auth.keyset", f"the key set is malformed: {error}") from error
        if document.type != TYPE:
            raise KeyFormatError("auth.keyset", f"the document is not of type {TYPE}")
        try:
            return cls(document.keys)
        except FormatError as error:
            raise KeyFormatError("auth.keyset", error.message) from error


#: Every role, in the order documents list them.
ROLES: tuple[Role, ...] = get_args(Role)
