"""How long a request may take (GDPR Art. 12(3)), counted as Regulation (EEC, Euratom) 1182/71 counts. Pure.

One calendar month from receipt. It ends with the last hour of the day that has the same number as the day of receipt, or of
the month's last day where it has no such number (Art. 3(2)(c)). Where that is a Saturday, a Sunday or a public holiday,
with the last hour of the next working day (Art. 3(4)). Extended once, by two further months: three months from receipt,
counted in the same way, and said before the first month ended.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from formats.ids import format_time, parse_time

#: Months from receipt, and with the extension (Art. 12(3), second sentence).
FIRST_MONTHS: Final = 1
EXTENDED_MONTHS: Final = 3
#: How long before its end a case raises an alarm.
WARNING: Final = timedelta(days=7)
_SATURDAY: Final = 5


def due(received_at: str, months: int, zone: ZoneInfo, holidays: Collection[date] = ()) -> str:
    """When the period is over: the first instant after its last day, where the operator is. `formats.ids` time."""
    last = last_day(parse_time(received_at).astimezone(zone).date(), months, holidays)
    return format_time(datetime.combine(last + timedelta(days=1), time(), zone).astimezone(UTC))


def last_day(received: date, months: int, holidays: Collection[date] = ()) -> date:
    """The last day of a period of calendar months that runs from the day `received`."""
    index = received.year * 12 + received.month - 1 + months
    year, month = divmod(index, 12)
    day = date(year, month + 1, min(received.day, monthrange(year, month + 1)[1]))
    while day.weekday() >= _SATURDAY or day in holidays:
        day += timedelta(days=1)
    return day


def warning(due_at: str, now: str) -> str:
    """ "overdue", "due" (7 days are left, or fewer), or ""."""
    if now >= due_at:
        return "overdue"
    return "due" if parse_time(due_at) - parse_time(now) <= WARNING else ""
