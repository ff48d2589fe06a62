"""Whether the wall clock can be believed. Pure: readings in, a sentence out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

#: How far the wall clock may run away from the monotonic one between two looks: more than any correction by NTP that is
#: not a mistake, less than the shortest time that anything is kept for.
TOLERANCE: Final = timedelta(minutes=5)
#: How long an edge can have been off without anybody wondering. Beyond it a person or central says that it was so.
AWAY: Final = timedelta(days=7)
#: No clock that is right shows less: this program is younger.
EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: How old a witness's word about the time may be, to speak for the clock of now.
FRESH: Final = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment. wall: aware, UTC; mono_ns: of CLOCK_MONOTONIC."""

    wall: datetime
    mono_ns: int


def jumped(before: Reading, now: Reading) -> str | None:
    """What is odd between two readings of one run; None for nothing. A machine that slept has jumped, too."""
    drift = (now.wall - before.wall) - timedelta(microseconds=(now.mono_ns - before.mono_ns) // 1000)
    if abs(drift) <= TOLERANCE:
        return None
    way = "forward" if drift > timedelta(0) else "back"
    return f"the clock jumped {way} by {_length(drift)} to {now.wall:%Y-%m-%d %H:%M} UTC"


def odd_at_start(newest: datetime | None, now: datetime) -> str | None:
    """What is odd about the clock of a new run; `newest`: the latest time that was believed, None when nothing is known."""
    if now < EARLIEST:
        return f"the clock shows {now:%Y-%m-%d %H:%M} UTC, before this program was made"
    if newest is None:
        return None
    if now < newest - TOLERANCE:
        return f"the clock shows {now:%Y-%m-%d %H:%M} UTC, {_length(newest - now)} before what is on file"
    if now > newest + AWAY:
        return f"the clock shows {now:%Y-%m-%d %H:%M} UTC, {_length(now - newest)} after the last time it was seen"
    return None


def agrees(witnessed: datetime, now: datetime) -> bool:
    """Whether a witness that signed at `witnessed`, a moment ago, has the same time as we."""
    return -TOLERANCE <= now - witnessed <= FRESH


def _length(span: timedelta) -> str:
    seconds = round(abs(span).total_seconds())
    for size, word in ((365 * 86_400, "years"), (86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
