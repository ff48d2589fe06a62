"""Telephone numbers in any spelling, as E.164. Pure: the tables of the package `phonenumbers` are data.

A number is only taken for a telephone number where its country's plan has it; extensions ("1001"), SIP user names and
nonsense are none. Whoever calls chooses what is heard here, so nothing of it is trusted beyond its spelling.
"""

from __future__ import annotations

import re
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException

#: Longest spelling that is looked at, characters; E.164 has 15 digits.
LONGEST: Final = 64
#: Fewest digits that are read as a country's code and a number; shorter ones are extensions.
_WITH_CODE: Final = 9
_SPELLING: Final = re.compile(r"(?:tel:|sip:)?\+?[0-9 ().\-/\u00a0]+", re.ASCII | re.IGNORECASE)


def e164(heard: str, country: str) -> str | None:
    """The number as "+" and digits, or None when it is none. `country`: where its national spellings are at home ("CZ"),
    "" when that is not known (then only international spellings are read)."""
    number = parse(heard, country)
    return None if number is None else phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def digits(number: str) -> str:
    """The digits that compare: "+420 555 100 200", "00420555100200" and "420555100200" are the same."""
    found = "".join(c for c in number if c.isdigit() and c.isascii())
    return found[2:] if found.startswith("00") and not number.startswith("+") else found


def parse(heard: str, country: str) -> phonenumbers.PhoneNumber | None:
    """The number, or None when it is none; see `e164`."""
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
