"""What is known of a file before it is taken over: from its call record, else from its name, else from the file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from edge.adopt.names import local, named, zone_fits
from edge.consent.numbers import digits
from edge.errors import CallwardenError
from edge.model.adoption import Facts
from formats.ids import format_time
from formats.wavscan import Sound

#: Longest extension, digits: what is longer was dialled outside.
_EXTENSION: Final = 6
_CALLDATE: Final = "%Y-%m-%d %H:%M:%S"
_ID: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-")


@dataclass
class Records:
    """Call records by the name of their file and by their id. `unread`: rows whose time could not be read."""

    zone: ZoneInfo
    by_file: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_id: dict[str, tuple[str, ...]] = field(default_factory=dict)
    count: int = 0

    def add(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Take rows in. Of several with one id or file the first counts: it is the call's own, the others are its legs."""
        for row in rows:
            self.count += 1
            if row[2]:
                self.by_file.setdefault(row[2].rpartition("/")[2], row)
            if row[0]:
                self.by_id.setdefault(row[0], row)

    def of(self, name: str, uniqueid: str) -> tuple[str, ...] | None:
        """The record of a file: its name is written there, or its call's id is in its name."""
        return self.by_file.get(name) or (self.by_id.get(uniqueid) if uniqueid else None)


@dataclass(frozen=True, slots=True)
class Described:
    """The facts, and whether the zone agrees with the seconds in the call's id."""

    facts: Facts
    zone_fits: bool


def describe(path: str, root: str, sound: Sound, content: str, *, records: Records, written_at: float) -> Described:
    """`path`: below `root`. `content`: SHA-256 of the sound, hex. `written_at`: the file's own time, Unix seconds.

    Raises CallwardenError adopt.name for a name that no text can hold, adopt.time for a time that is none.
    """
    name = path.rpartition("/")[2]
    try:
        name.encode()
        place = f"{root}/{path}"
        place.encode()
    except UnicodeEncodeError as error:
        raise CallwardenError(
            "adopt.name", "its name is not UTF-8", hint="give it another name", where=ascii(path)
        ) from error
    said = named(name, records.zone)
    row = records.of(name, said.uniqueid if said else "")
    uniqueid = said.uniqueid if said else _id(row[0]) if row else ""
    source, at = "file", _file_time(written_at, sound)
    if row and (told := local(row[3].partition(".")[0], _CALLDATE, records.zone, row[0])):
        source, at = "cdr", told
    elif said:
        source, at = "name", said.at
    outbound = said.outbound if said else bool(row) and _dialled_out(row or ())
    number = (row[5] if outbound else row[4]) if row else (said.outside if said else "")
    facts = Facts(
        name=name, place=place, content=content, total_bytes=sound.data_bytes, codec=sound.codec,  # type: ignore[arg-type]
        rate=sound.rate, channels=sound.channels, started_at=format_time(at), started_from=source,  # type: ignore[arg-type]
        direction="outbound" if outbound else "inbound", number=number[:80], uniqueid=uniqueid,
        linkedid=_id(row[1]) if row else "", repaired=sound.repaired,
    )  # fmt: skip
    return Described(facts, zone_fits(at, uniqueid) if source != "file" else True)


def _file_time(written_at: float, sound: Sound) -> datetime:
    try:
        return datetime.fromtimestamp(written_at, UTC) - timedelta(milliseconds=sound.ms)
    except (ValueError, OverflowError, OSError) as error:
        raise CallwardenError("adopt.time", "the file's time is none") from error


def _dialled_out(row: tuple[str, ...] | Mapping[int, str]) -> bool:
    return row[6].startswith("from-internal") and len(digits(row[5])) > _EXTENSION


def _id(text: str) -> str:
    """An id of Asterisk's as it may be stored; "" for anything else."""
    return text if len(text) <= 80 and set(text) <= _ID else ""
