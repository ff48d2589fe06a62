"""Lengths of time as people write them in configuration: short ones as seconds, long ones as calendar periods,
and days. Pure."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta

_SHORT = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_ISO_TIME = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.ASCII)
_ISO_DATE = re.compile(r"P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: A bound that keeps date arithmetic inside datetime's range; no law asks for more.
MAX_PERIOD_YEARS = 100


class Seconds(float):
    """A short length of time in seconds; written "250ms", "5s", "2m", "1h", "1d" or ISO 8601 "PT5S"."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Seconds:
        """Read one; raises ValueError with a sentence that says what is expected."""
        expected = 'expected a duration in quotes, like "5s", "2m" or "PT5S"'
        if not isinstance(text, str):
            raise ValueError(f"{expected}, not {text!r}")  # noqa: TRY004 - one kind of error for every bad value
        if short := _SHORT.fullmatch(text):
            return cls(float(short[1]) * _UNIT_SECONDS[short[2]])
        if iso := _ISO_TIME.fullmatch(text):
            hours, minutes, seconds = (float(part or 0) for part in iso.groups())
            return cls(hours * 3600 + minutes * 60 + seconds)
        raise ValueError(f"{expected}, not {text!r}")

    @property
    def ms(self) -> int:
        """Whole milliseconds."""
        return round(self * 1000)


class Period(str):
    """A calendar period as ISO 8601 text ("P30D", "P6M", "P1Y6M", "P2W"); months and years are the calendar's."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Period:
        """Read one; raises ValueError with a sentence that says what is expected."""
        if isinstance(text, str) and _ISO_DATE.fullmatch(text):
            period = cls(text)
            months, days = period.months_days
            if months <= MAX_PERIOD_YEARS * 12 and days <= MAX_PERIOD_YEARS * 366:
                return period
            raise ValueError(f"{text!r} is longer than {MAX_PERIOD_YEARS} years")
        raise ValueError(f'expected a period in quotes, like "P30D", "P6M" or "P1Y", not {text!r}')

    @property
    def months_days(self) -> tuple[int, int]:
        """(calendar months, days)."""
        match = _ISO_DATE.fullmatch(self)
        assert match is not None, "Period.parse is the only way in"
        years, months, weeks, days = (int(part or 0) for part in match.groups())
        return years * 12 + months, weeks * 7 + days

    @property
    def most_days(self) -> int:
        """The longest this period can be, in days (a month counts 31)."""
        months, days = self.months_days
        return months * 31 + days

    @property
    def is_zero(self) -> bool:
        """True for "P0D" and the like."""
        return self.months_days == (0, 0)

    def after(self, moment: datetime) -> datetime:
        """The moment one period later; the last day of a month stays the last day where the later month is shorter."""
        months, days = self.months_days
        index = moment.year * 12 + (moment.month - 1) + months
        year, month = divmod(index, 12)
        day = min(moment.day, calendar.monthrange(year, month + 1)[1])
        return moment.replace(year=year, month=month + 1, day=day) + timedelta(days=days)


class Day(str):
    """A calendar day as ISO 8601 text, "2027-06-30"; TOML's own dates are read too."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Day:
        """Read one; raises ValueError with a sentence that says what is expected."""
        expected = 'expected a day, like "2027-06-30"'
        if isinstance(text, date) and not isinstance(text, datetime):
            return cls(text.isoformat())
        if not isinstance(text, str) or not _DAY.fullmatch(text):
            raise ValueError(f"{expected}, not {text!r}")
        try:
            return cls(date.fromisoformat(text).isoformat())
        except ValueError:
            raise ValueError(f"{expected}, not {text!r}") from None

    @property
    def as_date(self) -> date:
        """The same as a date."""
        return date.fromisoformat(self)
