"""The duty of review dates: an alarm 30 days before one, and another the day after it, each once per policy and date."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from central.conn import Conn
from central.register.facts import read_answers
from central.register.store import running
from central.state import Central

#: How often the calendar is looked at, seconds.
REVIEWS_S: Final = 3600.0
#: How long before the date somebody is told.
AHEAD: Final = timedelta(days=30)
DUE: Final = "review.due"
OVERDUE: Final = "review.overdue"


def alarm_of(review_by: date, today: date) -> str | None:
    """The code that stands today; None when there is time."""
    if today > review_by:
        return OVERDUE
    return DUE if today >= review_by - AHEAD else None


async def look(central: Central) -> None:
    """Raise the alarms that are due and were not raised. Raises CentralError register.* for a file that cannot be read."""
    answers = await asyncio.to_thread(read_answers, central.config.register)
    dates = {name: about.review_by for name, about in answers.policy.items() if about.review_by is not None}
    if dates:
        await central.db.run(lambda conn: _raise(central, conn, dates))


def _raise(central: Central, conn: Conn, dates: Mapping[str, date]) -> None:
    live = {one.report.policy for one in running(conn) if not one.state}
    today = central.wall().date()
    for name, review_by in sorted(dates.items()):
        code = alarm_of(review_by, today)
        if name not in live or code is None:
            continue
        new = conn.execute(
            "INSERT INTO review_alarm(policy, review_by, code, at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
            (name, review_by.isoformat(), code, central.now()),
        ).rowcount
        if new:
            verb = "is to be reviewed by" if code == DUE else "was to be reviewed by"
            central.alarm(conn, "", code, f'what the register says about policy "{name}" {verb} {review_by}')
