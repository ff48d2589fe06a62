"""Asterisk's call records as CSV: FreePBX's table `asteriskcdrdb.cdr` with a line of names, or `Master.csv` without. Pure.

Columns of Master.csv: Asterisk's documentation, "CDR Specification" (cdr_csv): accountcode, src, dst, dcontext, clid,
channel, dstchannel, lastapp, lastdata, start, answer, end, duration, billsec, disposition, amaflags, and where the
options say so uniqueid and userfield. Every field is a caller's or an operator's text: data, never more.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

from edge.errors import CallwardenError

#: Longest line and longest field of a record, characters.
LONGEST_LINE: Final = 64 * 1024
LONGEST_FIELD: Final = 512
#: Most rows that are read: five years of a large call centre.
MOST_ROWS: Final = 5_000_000
#: What is kept of a row, in this order.
KEPT: Final = ("uniqueid", "linkedid", "recordingfile", "calldate", "src", "dst", "dcontext", "billsec", "duration")
_MASTER: Final = (
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "calldate",
    "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield",
)  # fmt: skip
#: Other names of a column.
_ALSO: Final = {"start": "calldate", "uniqueid": "uniqueid", "recording": "recordingfile"}


def rows(lines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Of each record the fields KEPT, "" where it has none; lines that are no record are left out.

    Raises CallwardenError adopt.cdr for a text that is no such table.
    """
    iterator = iter(lines)
    first = next(iterator, "")
    delimiter = max(",;\t", key=first.count)
    names = [_ALSO.get(n, n) for n in (cell.strip().strip("\ufeff\"'`").lower() for cell in first.split(delimiter))]
    has_names = "calldate" in names and ("uniqueid" in names or "recordingfile" in names)
    if not has_names:
        names, iterator = list(_MASTER), _chained(first, iterator)
        if first.count(",") < len(_MASTER) - 3:
            raise CallwardenError(
                "adopt.cdr", "it has no line of column names with calldate and uniqueid, and is no Master.csv"
            )
        delimiter = ","
    places = [names.index(one) if one in names else -1 for one in KEPT]
    csv.field_size_limit(LONGEST_LINE)
    bounded = (line[:LONGEST_LINE].replace("\0", "") for line in iterator)
    reader = csv.reader(bounded, delimiter=delimiter)
    for count in range(MOST_ROWS + 1):
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue
        if count == MOST_ROWS:
            raise CallwardenError("adopt.cdr", f"it has more than {MOST_ROWS} rows; export one year at a time")
        kept = tuple(row[at][:LONGEST_FIELD] if 0 <= at < len(row) else "" for at in places)
        if kept[0] or kept[2]:
            yield kept


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
