"""Words for central's log, which cannot forget: what somebody writes there of their own holds no telephone number. Pure."""

from __future__ import annotations

import re
from typing import Final

from central.errors import CentralError

#: Eight digits or more, as numbers are written: with at most two separators between two of them.
_NUMBER: Final = re.compile("\\+?\\d(?:[ ()./\u2010-\u2015-]{0,2}\\d){7,}")
#: What has as many digits and is none: dates (and times) of ISO 8601 and as they are said, names of cases, "2026/004711", ids. Not
#: behind a digit or a plus, where it is a piece of something longer. Eight digits behind letters are a ticket's.
_OTHER: Final = re.compile(
    r"(?<![0-9A-Za-z+])(?<!\d[ ()./-])(?:"
    r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?)?"
    r"|(?:0?[1-9]|[12]\d|3[01])\. ?(?:0?[1-9]|1[0-2])\. ?(?:19|20)\d\d"
    r"|case-\d{4}-\d{1,9}-[0-9a-f]{4}"
    r"|(?:19|20)\d\d/\d{1,6}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|[0-9a-f]{32}(?:[0-9a-f]{32})?|(?=[0-9a-f]{0,15}[a-f])[0-9a-f]{16}"
    r"|[A-Za-z]{1,8}\d{8}"
    r")(?![0-9A-Za-z])"
)


def loggable(text: str, where: str) -> str:
    """The text. Raises CentralError usage.reason for one that holds what looks like a telephone number, or does not print."""
    if not text.isprintable():
        raise CentralError("usage.reason", f"a {where} is printable text", where=where)
    if _NUMBER.search(_OTHER.sub("*", text)):
        raise CentralError(
            "usage.reason",
            f"the log cannot forget, and this {where} holds what looks like a telephone number",
            where=where,
            hint="name the case instead; a reference of digits alone with letters before it: T20260017",
        )
    return text
