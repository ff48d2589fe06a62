"""Which dialled digits are an emergency call: never prompted, held, refused or recorded. Pure.

The numbers of each country are those of the package `phonenumbers` (its short-number tables, dated by its version) and
those of `FURTHER`. 112 and 911 count everywhere: 3GPP TS 22.101 section 10 makes them emergency numbers of every phone in
every country. What else a house needs stands in its own list, `[telephony] emergency`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from phonenumbers import shortnumberinfo

#: 3GPP TS 22.101 section 10.1.1.
EVERYWHERE: Final = frozenset({"112", "911"})
#: The day of `FURTHER`.
AS_OF: Final = date(2026, 11, 1)
#: Numbers of rescue, police and fire services, of accidents with gas or poison and of acute crisis, that the package does
#: not call emergency numbers.
FURTHER: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "AT": frozenset({"128", "140", "141"}),
        "BE": frozenset({"100", "101"}),
        "CA": frozenset({"988"}),
        "CH": frozenset({"117", "118", "144", "145", "1414"}),
        "ES": frozenset({"061", "062", "080", "085", "088", "091", "092"}),
        "FR": frozenset({"114", "115", "119", "191", "196", "197"}),
        "IT": frozenset({"113", "114", "115", "117", "118", "1515", "1530"}),
        "PL": frozenset({"984", "985", "986", "991", "992", "993", "994"}),
        "SK": frozenset({"159"}),
        "US": frozenset({"988"}),
    }
)
#: What people put between digits when they write a number.
_FILLER: Final = re.compile(r"[ ().\-/]+")


def is_emergency(dialled: str, country: str, prefixes: Iterable[str] = (), extra: Iterable[str] = ()) -> bool:
    """Whether `dialled` is an emergency number of `country` ("CZ"; "" for none known), one of everywhere, or one of the
    operator's `extra`: as it is, or behind one of the `prefixes` that get a line out.

    Only the whole number counts, never a beginning of one: "1120" is somebody's extension.
    """
    number = _FILLER.sub("", dialled.strip()).removeprefix("+")
    own = {_FILLER.sub("", entry.strip()) for entry in extra} - {""}
    candidates = {number, *(number[len(prefix) :] for prefix in prefixes if prefix and number.startswith(prefix))}
    return any(_is(candidate, country, own) for candidate in candidates)


def _is(number: str, country: str, own: set[str]) -> bool:
    if not number:
        return False
    if number in EVERYWHERE or number in own or number in FURTHER.get(country, ()):
        return True
    return number.isascii() and number.isdigit() and shortnumberinfo.is_emergency_number(number, country or "ZZ")
