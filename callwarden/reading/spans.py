"""A part of a recording by seconds: which bytes of which segments it is. Pure.

Seconds count recorded time as the manifest does: pauses take none, a segment that was removed later keeps its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.consent.units import Seconds
from edge.errors import CallwardenError

_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):([0-5]\d(?:\.\d{1,3})?)", re.ASCII)
_PLAIN = re.compile(r"\d{1,9}(?:\.\d{1,3})?", re.ASCII)
#: No recording lasts longer: 10 days, in milliseconds.
_MOST_MS = 864_000_000


def moment(text: str, option: str) -> int:
    """Milliseconds from the start: "10s", "1.5s", "2m", "90", "mm:ss", "hh:mm:ss.mmm". Raises usage.moment."""
    expected = CallwardenError(
        "usage.moment", f"{text!r} is no place in a recording", hint='write 10s, 2m, mm:ss or hh:mm:ss', where=option
    )  # fmt: skip
    if clock := _CLOCK.fullmatch(text):
        seconds = int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    elif _PLAIN.fullmatch(text):
        seconds = float(text)
    else:
        try:
            seconds = Seconds.parse(text)
        except ValueError:
            raise expected from None
    if not 0 <= seconds * 1000 <= _MOST_MS:
        raise expected
    return round(seconds * 1000)


def span_of(begin: str | None, end: str | None) -> tuple[int, int] | None:
    """(from, to) in ms as `--from` and `--to` say; None for all, 0 for the end. Raises usage.moment, usage.span."""
    if begin is None and end is None:
        return None
    span = (moment(begin or "0", "--from"), 0 if end is None else moment(end, "--to"))
    if end is not None and span[1] <= span[0]:
        raise CallwardenError("usage.span", "the part ends before it begins", where="--to")
    return span


@dataclass(frozen=True, slots=True)
class Part:
    """Frames `first` to `end` of a segment. removed: it lies in the part, but is not there any more."""

    segment: dict[str, Any]
    first: int
    end: int
    removed: bool


def parts(segments: Sequence[dict[str, Any]], rate: int, span: tuple[int, int]) -> list[Part]:
    """What of each segment lies in `span`, in order. Raises usage.span where the recording ends before it."""
    first, end = (ms * rate // 1000 for ms in span)
    total = sum(s["frames"] for s in segments)
    end = total if span[1] == 0 else min(end, total)
    if first >= end:
        raise CallwardenError(
            "usage.span", f"the recording lasts {total / rate:.3f} s, which is before that part", where="--from"
        )
    found, at = [], 0
    for segment in segments:
        low, high = max(first - at, 0), min(end - at, segment["frames"])
        if low < high:
            found.append(Part(segment, low, high, segment["state"] == "shredded"))
        at += segment["frames"]
    return found
