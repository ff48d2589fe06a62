"""Printing: one JSON document, or tables that are plain text when nobody watches."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """One document on stdout, UTF-8, keys in the order given."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


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
