"""What a channel says about its party, made safe to store. Pure. A caller chooses name and number freely."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edge.consent.numbers import WITHHELD, e164
from edge.model.entities import CallRow

_PLAIN: Final = re.compile(r"\+?[0-9]{2,20}")
#: Longest stored number or name, characters.
MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Who:
    """The party that is asked. role: `caller`, `callee` or `third`; numbers as in `edge.model.entities.NewCall`."""

    role: str
    party_id: str
    channel_uid: str
    linked_id: str
    number_heard: str | None
    number_class: str
    number_e164: str | None


def number(heard: str) -> tuple[str | None, str]:
    """(number to store, class): `plain` digits with an optional +, `withheld` (stored as None), else `invalid`.

    An invalid one keeps only its printable ASCII, at most 64 characters: what was heard is evidence, but not a payload.
    """
    text = heard.strip()
    if text.lower() in WITHHELD:
        return None, "withheld"
    if _PLAIN.fullmatch(text):
        return text, "plain"
    kept = "".join(c for c in text if c.isascii() and c.isprintable())[:MAX_TEXT]
    return kept or None, "invalid"


def who(role: str, party_id: str, channel_uid: str, linked_id: str, heard: str, country: str) -> Who:
    """A party by what its channel says of its number. `country`: where national spellings are at home."""
    stored, number_class = number(heard)
    full = e164(heard, country) if stored is not None else None
    return Who(role, party_id, channel_uid, linked_id, stored, number_class, full)


def of_call(call: CallRow) -> Who:
    """The party whose answer is the call's outcome."""
    role = "callee" if call.direction == "outbound" else "caller"
    return Who(
        role, call.party_id, call.channel_uid, call.linked_id, call.caller, call.number_class, call.number_e164
    )  # fmt: skip
