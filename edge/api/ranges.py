"""The `Range` header of a payload request (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

from edge.errors import CallwardenError

_ONE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")
_OTHER_UNIT = re.compile(r"(?![Bb][Yy][Tt][Ee][Ss]=)[!#$%&'*+.^_`|~0-9A-Za-z-]+=.*", re.DOTALL)


@dataclass(frozen=True)
class Stretch:
    """Bytes `first` to `end` of a payload of `size` committed bytes; partial: a range was asked for."""

    file: BinaryIO
    first: int
    end: int
    size: int
    partial: bool


def stretch(text: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, byte behind the last) of `size` bytes that `text` asks for; None for all of them.

    A unit that is not bytes is ignored, as the RFC demands. Raises usage.range for anything that is not one range of
    bytes, command.range (the door's 416; `where` is the size) for a range that begins behind the end.
    """
    if text is None or _OTHER_UNIT.fullmatch(text.strip()):
        return None
    found = _ONE.fullmatch(text.strip())
    if found is None:
        raise CallwardenError(
            "usage.range", "not one range of bytes", hint="Range: bytes=FIRST-LAST, whole chunks", where="Range"
        )
    first, end = 0, size
    if found[3] is not None:
        first = max(0, size - int(found[3]))
    else:
        first = int(found[1])
        if found[2] is not None:
            end = min(size, int(found[2]) + 1)
            if int(found[2]) < first:
                raise CallwardenError("usage.range", "the range ends before it begins", where="Range")
    if first >= size:
        raise CallwardenError("command.range", f"there are {size} bytes", where=str(size))
    return first, end
