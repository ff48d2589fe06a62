"""What a channel says about its caller, made safe to store. Pure. A caller chooses name and number freely."""

from __future__ import annotations

import re
from typing import Final

_WITHHELD: Final = frozenset({"", "unknown", "anonymous", "unavailable", "restricted", "private", "withheld"})
_PLAIN: Final = re.compile(r"\+?[0-9]{2,20}")
#: Longest stored number or name, characters.
MAX_TEXT: Final = 64


def number(heard: str) -> tuple[str | None, str]:
    """(number to store, class): `plain` digits with an optional +, `withheld` (stored as None), else `invalid`.

    An invalid one keeps only its printable ASCII, at most 64 characters: what was heard is evidence, but not a payload.
    """
    text = heard.strip()
    if text.lower() in _WITHHELD:
        return None, "withheld"
    if _PLAIN.fullmatch(text):
        return text, "plain"
    kept = "".join(c for c in text if c.isascii() and c.isprintable())[:MAX_TEXT]
    return kept or None, "invalid"
