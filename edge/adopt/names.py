"""What FreePBX writes into the name of a recording: `TYPE-DEST-FROM-YYYYMMDD-HHMMSS-UNIQUEID.wav`. Pure.

TYPE is `in`, `out`, `q` (queue), `rg` (ring group), `exten`, `internal`, `force` and others; the name is made by its
dialplan (context `sub-record-check`, channel variable CALLFILENAME). Callers choose FROM, so nothing of it is trusted
beyond its spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_NAME: Final = re.compile(
    r"(?P<type>[a-z]{1,16})-(?P<rest>.*)-(?P<day>\d{8})-(?P<time>\d{6})-(?P<uid>(?:[A-Za-z0-9_.]{1,40}-)?\d{9,11}\.\d{1,9})",
    re.ASCII | re.DOTALL,
)
#: How far a call's id, which begins with the second the channel was made in, may lie from a time that is right.
_FAR: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Named:
    """type, dest and caller as written; at: aware, UTC; uniqueid: Asterisk's."""

    type: str
    dest: str
    caller: str
    at: datetime
    uniqueid: str

    @property
    def outbound(self) -> bool:
        """Whether the call went out."""
        return self.type == "out"

    @property
    def outside(self) -> str:
        """The number of whoever is not ours."""
        return self.dest if self.outbound else self.caller


def named(name: str, zone: ZoneInfo) -> Named | None:
    """What the name of a file says; None when it is none of FreePBX's. `zone`: what its times are in."""
    found = _NAME.fullmatch(name.rpartition(".")[0])
    if found is None:
        return None
    dest, _, caller = found["rest"].rpartition("-")
    at = local(found["day"] + found["time"], "%Y%m%d%H%M%S", zone, found["uid"])
    if at is None:
        return None
    return Named(found["type"], dest, caller, at, found["uid"])


def local(text: str, form: str, zone: ZoneInfo, uniqueid: str = "") -> datetime | None:
    """A time on the wall of `zone` as UTC; None when it is none.

    In the hour that comes twice a year both are possible: the one nearer to the seconds of `uniqueid` is meant.
    """
    try:
        naive = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is told apart from the text
        first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    except (ValueError, OverflowError):
        return None
    made = made_at(uniqueid)
    if first == second or made is None:
        return first
    return min((first, second), key=lambda one: abs(one - made))


def made_at(uniqueid: str) -> datetime | None:
    """When the channel of an id was made."""
    digits = uniqueid.rpartition("-")[2].partition(".")[0]
    try:
        return datetime.fromtimestamp(int(digits), UTC) if digits.isascii() and digits.isdigit() else None
    except (ValueError, OverflowError, OSError):
        return None


def zone_fits(at: datetime, uniqueid: str) -> bool:
    """Whether a time and the id of its call agree, as far as a wrong zone would show: whole hours apart they do not."""
    made = made_at(uniqueid)
    if made is None or abs(at - made) > _FAR:
        return made is None
    return abs(at - made) < timedelta(minutes=29)
