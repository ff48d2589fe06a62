"""Telephone numbers in any spelling, made comparable. Pure: the tables of the package `phonenumbers` are data.

A number is only taken for a telephone number where its country's plan has it; extensions ("1001"), SIP user names and
nonsense are none. Whoever calls chooses what is heard here, so nothing of it is trusted beyond its spelling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, region_code_for_number

#: What stands for a number that was not sent, lower case: Asterisk's own words and those of common gateways.
WITHHELD: Final = frozenset({"", "unknown", "anonymous", "unavailable", "restricted", "private", "withheld"})
#: Longest spelling that is looked at, characters; E.164 has 15 digits.
LONGEST: Final = 64
#: Fewest digits that are read as a country's code and a number; shorter ones are extensions.
_WITH_CODE: Final = 9
_SPELLING: Final = re.compile(r"(?:tel:|sip:)?\+?[0-9 ().\-/\u00a0]+", re.ASCII | re.IGNORECASE)
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


def e164(heard: str, country: str) -> str | None:
    """The number as "+" and digits, or None when it is none. `country`: where its national spellings are at home ("CZ"),
    "" when that is not known (then only international spellings are read)."""
    number = _parse(heard, country)
    return None if number is None else phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def country_of(number: str) -> str:
    """The country of a number in E.164, two capital letters; "" for none (shared codes such as +800)."""
    parsed = _parse(number, "")
    region = region_code_for_number(parsed) if parsed is not None else None
    return region if region and len(region) == 2 and region.isalpha() else ""


def class_of(heard: str, country: str, shared: Iterable[str] = ()) -> str:
    """What kind of number was heard: `withheld`, `invalid` (no telephone number), `shared` (a service number, or one of
    the operator's list), `plain`."""
    if heard.strip().lower() in WITHHELD:
        return "withheld"
    number = _parse(heard, country)
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


def digits(number: str) -> str:
    """The digits that compare: "+420 555 100 200", "00420555100200" and "420555100200" are the same."""
    found = "".join(c for c in number if c.isdigit() and c.isascii())
    return found[2:] if found.startswith("00") and not number.startswith("+") else found


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


def _parse(heard: str, country: str) -> phonenumbers.PhoneNumber | None:
    text = heard.strip()
    if not 0 < len(text) <= LONGEST or not _SPELLING.fullmatch(text):
        return None
    text = text.partition(":")[2] if ":" in text else text
    bare = "".join(c for c in text if c.isdigit() or c == "+")
    text = text.replace("(0)", "") if bare.startswith(("+", "00")) else text
    abroad = bare.startswith("00") and country not in _OTHER_EXIT
    attempts = [(f"+{bare[2:]}", "") if abroad else (text, country)]
    if not bare.startswith(("0", "+")) and len(bare) >= _WITH_CODE:
        attempts.append((f"+{bare}", ""))  # how many trunks send it: the country's code without a sign
    for spelled, region in attempts:
        try:
            number = phonenumbers.parse(spelled, region or None)
        except NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return number
    return None


#: Countries that dial abroad with something else than 00 and may have numbers that begin so.
_OTHER_EXIT: Final = frozenset({"US", "CA", "AU", "JP", "HK", "SG", "KR", "TH", "BR", "RU", "KZ", "BY", "IL", "CO"})
