"""Printing: one JSON document, or tables that are plain text when nobody watches."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

#: What a terminal might not show as it is.
_OTHER: Final = re.compile(r"[^\n -~]")


def json_text(value: Any) -> str:
    """A document, indented, keys in the order given. What no terminal prints is an escape of JSON: a caller's number or a
    name from the network may hold control characters that JSON leaves as they are (DEL, C1, bidi marks)."""
    return _OTHER.sub(_escape, json.dumps(value, ensure_ascii=False, indent=2)) + "\n"


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def print_json(value: Any) -> None:
    """One document on stdout, UTF-8."""
    sys.stdout.write(json_text(value))


def plain(value: object) -> str:
    """A value in a table: control characters are shown as escapes, because names and numbers come from callers."""
    if value is None or value == "":
        return "-"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table on a terminal; on a pipe one line per row, values parted by tabs, after a line of headings."""
    texts = [[plain(v) for v in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [list(headings), *texts]:
            sys.stdout.write("\t".join(line) + "\n")
        return
    if not texts:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in texts:
        table.add_row(*(Text(v) for v in row))  # Text: nothing a caller sent is read as markup
    Console().print(table)


def note(text: str) -> None:
    """A line for the person, on stderr, so that stdout stays the document."""
    print(text, file=sys.stderr)
