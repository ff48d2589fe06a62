"""How an order names a person: by a commitment to their number, which proves nothing to whoever lacks the opening.

`target.id` is HMAC-SHA256 under 16 random bytes, made for this one order, of a label and the number in E.164. Salt and
number together are the *opening*. It travels beside the order, never inside it, is kept in a slot that is overwritten,
and is wiped when the order is done: what is left proves who ordered what and when, and names nobody, not even to
somebody who tries all numbers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formats.errors import OrderError

SALT = 16
#: Keeps this use of HMAC apart from any other.
_LABEL = b"callwarden person v1\n"
_E164 = re.compile(r"\+[1-9][0-9]{5,14}\Z", re.ASCII)
_SALT_HEX = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Person:
    """The opening. salt: 16 bytes; number: E.164, "+" and 6 to 15 digits."""

    salt: bytes
    number: str

    def __post_init__(self) -> None:
        if len(self.salt) != SALT or not _E164.match(self.number):
            raise OrderError("command.person", "a person is opened by 16 bytes of salt and a number in E.164")

    def __repr__(self) -> str:
        """Without the number: this is what logs show."""
        return "Person(…)"

    @property
    def id(self) -> str:
        """What an order names."""
        return commitment(self)

    def packed(self) -> bytes:
        """32 bytes, as it lies in a slot: salt, then the digits as a number, big-endian."""
        return self.salt + int(self.number[1:]).to_bytes(SALT, "big")

    @classmethod
    def unpacked(cls, data: bytes) -> Person:
        """The opening in a slot. Raises OrderError `command.person`."""
        return cls(data[:SALT], f"+{int.from_bytes(data[SALT:], 'big')}")

    def document(self) -> dict[str, str]:
        """As it travels beside an order."""
        return {"salt": self.salt.hex(), "number": self.number}

    @classmethod
    def of_document(cls, value: object, target: str) -> Person:
        """The opening that travelled beside an order for `target`. Raises OrderError `command.person` when it is not that
        of the target."""
        if not isinstance(value, Mapping) or value.keys() != {"salt", "number"}:
            raise OrderError("command.person", "an opening has a salt and a number")
        salt, number = _text(value["salt"]), _text(value["number"])
        if not _SALT_HEX.match(salt):
            raise OrderError("command.person", "a salt is 32 lower-case hex digits")
        person = cls(bytes.fromhex(salt), number)
        if not hmac.compare_digest(person.id, target):
            raise OrderError("command.person", "the number beside the order is not the one that was signed")
        return person


def commitment(person: Person) -> str:
    """64 hex digits."""
    return hmac.new(person.salt, _LABEL + person.number.encode(), hashlib.sha256).hexdigest()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise OrderError("command.person", "an opening is made of texts")
    return value
