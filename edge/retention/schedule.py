"""What may go and what must stay: pure decisions over facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from edge.consent.units import Period


def obstacle(*, holds: Sequence[str], minimum: Period, started_at: datetime, now: datetime) -> str | None:
    """Why a recording must not be erased now, in a sentence; None when it may.

    `holds`: reasons of the open holds that cover it. `minimum`: the policy's minimum retention, counted from the start of
    the recording. The times are aware.
    """
    if holds:
        return f"under hold: {'; '.join(holds)}"
    until = minimum.after(started_at)
    if not minimum.is_zero and now < until:
        return f"minimum retention until {until:%Y-%m-%d}"
    return None


def expired(period: Period, ended_at: datetime, now: datetime) -> bool:
    """Whether evidence that is kept for `period` from the call's end has had its time. The times are aware."""
    return period.after(ended_at) <= now


def certainly_not_after(period: Period, now: datetime) -> datetime:
    """No call that ended later than this can have expired: every month as short as the shortest."""
    months, days = period.months_days
    return now - timedelta(days=months * 28 + days)
