"""Identifiers and times as every file, message and database of Callwarden spells them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from formats.errors import FormatError

#: 128 random bits, 32 lower-case hex digits, no prefix (docs/architecture.md, "names that are fixed").
ID_BYTES = 16
_ID = re.compile(r"[0-9a-f]{32}\Z")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z\Z", re.ASCII)


def new_id(random16: bytes) -> str:
    """An identifier from 16 random bytes. Raises ValueError on any other length."""
    if len(random16) != ID_BYTES:
        raise ValueError("an identifier is made of exactly 16 random bytes")
    return random16.hex()


def is_id(text: str) -> bool:
    """Whether `text` is 32 lower-case hex digits."""
    return _ID.match(text) is not None


def check_id(text: str, what: str = "id") -> str:
    """`text` if it is an identifier. Raises FormatError `usage.id` naming `what` otherwise."""
    if not is_id(text):
        raise FormatError("usage.id", f"{what} must be 32 lower-case hex digits")
    return text


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`; microseconds are cut off, not rounded, so that order is kept.

    Raises ValueError for a naive datetime.
    """
    if at.tzinfo is None:
        raise ValueError("a time needs a zone")
    at = at.astimezone(UTC)
    return f"{at.year:04d}-{at:%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"  # %Y is not padded on every libc


def parse_time(text: str) -> datetime:
    """The instant that `format_time` wrote, in UTC. Raises FormatError `usage.time` on any other spelling."""
    if _TIME.match(text) is None:
        raise FormatError("usage.time", "a time must be written like 2026-01-31T23:59:59.123Z")
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second, millis = int(text[11:13]), int(text[14:16]), int(text[17:19]), int(text[20:23])
        return datetime(year, month, day, hour, minute, second, millis * 1000, tzinfo=UTC)
    except ValueError as error:
        raise FormatError("usage.time", f"no such time: {text}") from error
