"""Telephone numbers in any spelling, made comparable. Pure: the tables of the package `phonenumbers` are data.

What is a number at all is decided in `formats.numbers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType, region_code_for_number

from formats.numbers import LONGEST, digits, e164, parse

#: What stands for a number that was not sent, lower case: Asterisk's own words and those of common gateways.
WITHHELD: Final = frozenset({"", "unknown", "anonymous", "unavailable", "restricted", "private", "withheld"})
#: Numbers that many people show as theirs: services, switchboards, mailboxes. Nobody's answer can be remembered there.
_SHARED: Final = frozenset(
    {
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
    }
)


def country_of(number: str) -> str:
    """The country of a number in E.164, two capital letters; "" for none (shared codes such as +800)."""
    parsed = parse(number, "")
    region = region_code_for_number(parsed) if parsed is not None else None
    return region if region and len(region) == 2 and region.isalpha() else ""


def class_of(heard: str, country: str, shared: Iterable[str] = ()) -> str:
    """What kind of number was heard: `withheld`, `invalid` (no telephone number), `shared` (a service number, or one of
    the operator's list), `plain`."""
    if heard.strip().lower() in WITHHELD:
        return "withheld"
    number = parse(heard, country)
    if number is None:
        return "invalid"
    if phonenumbers.number_type(number) in _SHARED:
        return "shared"
    return "shared" if is_listed(heard, shared, country) else "plain"


def same(one: str, other: str, country: str) -> bool:
    """Whether two spellings are one number: the same in E.164, or digit for digit."""
    return bool(_forms(one, country) & _forms(other, country))


def comparable(number: str, country: str) -> str:
    """The form in which numbers are compared: E.164, else the bare digits; "" when there are none."""
    return e164(number, country) or digits(number)


def is_listed(number: str, listed: Iterable[str], country: str) -> bool:
    """Whether a number is one of a list, whatever the spelling of either."""
    wanted = _forms(number, country)
    return any(wanted & _listed_forms(entry, country) for entry in listed)


def is_never(numbers: Iterable[str], never: Iterable[str], country: str) -> bool:
    """Whether any number on a call, caller's or dialled, is one the operator never records."""
    listed = {form for entry in never for form in _listed_forms(entry, country)}
    return any(_forms(number, country) & listed for number in numbers)


def _forms(number: str, country: str) -> frozenset[str]:
    """What a number is compared by: the digits of its E.164 form, and those it is written with. The second because a
    code without a sign ("420555100200") can be read as a national number of another country."""
    return frozenset({(e164(number, country) or "").removeprefix("+"), digits(number)}) - {""}


@lru_cache(maxsize=8192)
def _listed_forms(entry: str, country: str) -> frozenset[str]:
    """Of the operator's own numbers only: what callers send is not kept."""
    return _forms(entry, country)


def is_trunk(channel_name: str, trunks: Iterable[str]) -> bool:
    """Whether a channel ("PJSIP/trunk-0000002a") belongs to one of the endpoints ("PJSIP/trunk"): an outside party."""
    return channel_name.rpartition("-")[0].lower() in {trunk.lower() for trunk in trunks}


__all__ = [
    "LONGEST", "WITHHELD", "class_of", "comparable", "country_of", "digits", "e164", "is_listed", "is_never", "is_trunk", "same",
]  # fmt: skip
