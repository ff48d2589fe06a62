"""`[central.cases]`: the calendar that deadlines follow, and how long a closed case is kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from central.errors import CentralError


@dataclass(frozen=True, slots=True)
class CaseSettings:
    """`[central.cases]`: the calendar that deadlines follow, and how long a closed case is kept."""

    timezone: str = "UTC"
    """Where the operator is, as the IANA names it ("Europe/Prague"); a day of a deadline ends at its midnight."""

    holidays: frozenset[date] = frozenset()
    """Public holidays there, as dates (2026-12-24) or texts; Saturdays and Sundays are known."""

    record_days: int = 1095
    """How many days after its end a case keeps what names the person, 0 to 36500; then the key over it is destroyed, and dates,
    steps and orders are left."""

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)


def parse(table: Mapping[str, Any], where: str = "central.cases") -> CaseSettings:
    """Raises CentralError config.* naming the key."""
    for name in table:
        if name not in CaseSettings.__slots__:
            known = ", ".join(CaseSettings.__slots__)
            raise CentralError("config.unknown_key", f"unknown key {name!r}", where=f"{where}.{name}", hint=known)
    own = CaseSettings()
    zone, days, listed = (
        table.get("timezone", own.timezone),
        table.get("record_days", own.record_days),
        table.get("holidays", []),
    )
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise CentralError("config.timezone", f"no such time zone: {zone!r}", where=f"{where}.timezone") from error
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= 36500:
        raise CentralError("config.days", "a whole number of days, 0 to 36500", where=f"{where}.record_days")
    if not isinstance(listed, list):
        raise CentralError("config.type", "holidays is a list of dates", where=f"{where}.holidays")
    return CaseSettings(zone, frozenset(_day(one, where) for one in listed), days)


def _day(value: object, where: str) -> date:
    """TOML has dates of its own; a text is taken, too."""
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise CentralError("config.date", f"not a date: {value!r}", where=f"{where}.holidays") from error
