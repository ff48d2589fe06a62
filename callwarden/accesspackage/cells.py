"""What stands in a table came from callers and from people's keyboards; a spreadsheet must take it for text. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: What a spreadsheet program reads as the beginning of a formula (OWASP, "CSV Injection").
_TRIGGERS: Final = frozenset("=+-@")
#: What may separate cells, whatever the program takes for the separator in its country.
_SEPARATORS: Final = frozenset(",;|")
#: What programs skip or take off in front of a cell's text.
_SKIPPED: Final = frozenset(" \"'`\u00a0")
#: XML 1.0 and terminals have no place for these; a lone surrogate is no text at all.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NUMBER: Final = re.compile(r"[0-9][0-9 .,/:eE-]*")
#: Longest text of a cell, characters (Excel's own limit is 32,767).
LONGEST: Final = 32_000


def visible(text: str) -> str:
    """The text with everything unseen spelled as `\\uXXXX`: control characters, line ends, marks of direction."""
    shown = "".join(c if unicodedata.category(c) not in _UNSEEN else _escape(c) for c in text)
    return shown if len(shown) <= LONGEST else shown[:LONGEST] + "…"


def csv_text(text: str) -> str:
    """A cell of a CSV file, which has no types: what would begin a formula, or would be read as a number or a time, gets an
    apostrophe in front, also behind what another country's program takes for a separator. The text as it is stands in the
    workbook and in the vCon."""
    out: list[str] = []
    begins = True
    for char in visible(text):
        if begins and _is_trigger(char):
            out.append("'")
        begins = char in _SEPARATORS or (begins and char in _SKIPPED)
        out.append(char)
    shown = "".join(out)
    if (shown[:1] == "'" and text[:1] == "'") or _NUMBER.fullmatch(shown):
        return "'" + shown
    return shown


def _is_trigger(char: str) -> bool:
    """Also full-width and small forms, superscripts: a program may fold them."""
    return unicodedata.normalize("NFKC", char)[:1] in _TRIGGERS


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
