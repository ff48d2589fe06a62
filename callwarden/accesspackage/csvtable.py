"""Tables as CSV (RFC 4180): UTF-8 with a byte order mark, commas, CRLF, every cell in quotes.

The mark is there because the programs people open this with take UTF-8 for something else without it; RFC 4180 says nothing of
it, and readers that know UTF-8 (`utf-8-sig`) drop it. Quotes around every cell, because an unquoted one ends at whatever a program
takes for a separator.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from callwarden.accesspackage.cells import csv_text

Cell = str | int | float | None
BOM = "\ufeff"


def encode(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """The file. A number stays a number; a text is one whatever it holds."""
    return (BOM + "".join(_line(row) for row in [headings, *rows])).encode("utf-8")


def _line(row: Sequence[Cell]) -> str:
    return ",".join(_cell(one) for one in row) + "\r\n"


def _cell(value: Cell) -> str:
    if isinstance(value, int | float):
        return f'"{value}"'
    text = csv_text(value or "")
    return '"' + text.replace('"', '""') + '"'
