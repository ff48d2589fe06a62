"""The one-month clock, and the order of a case's steps: pure."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from central.cases import clock, machine
from central.cases.settings import CaseSettings, parse
from central.errors import CentralError


@pytest.mark.parametrize(
    ("received", "months", "last"),
    [
        (date(2026, 3, 5), 1, date(2026, 4, 6)),  # 5 April 2026 is a Sunday
        (date(2026, 1, 31), 1, date(2026, 3, 2)),  # February has no 31st: the 28th, a Saturday, so Monday
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2026, 8, 31), 1, date(2026, 9, 30)),
        (date(2026, 11, 26), 1, date(2026, 12, 28)),  # Saturday 26 December
        (date(2026, 11, 26), 3, date(2027, 2, 26)),
        (date(2026, 11, 30), 3, date(2027, 3, 1)),  # 28 February 2027 is a Sunday
        (date(2026, 12, 31), 1, date(2027, 2, 1)),  # 31 January 2027 is a Sunday
    ],
)
def test_a_month_is_a_calendar_month_and_ends_on_a_working_day(received: date, months: int, last: date) -> None:
    assert clock.last_day(received, months) == last


def test_a_public_holiday_is_no_last_day_and_two_in_a_row_are_none() -> None:
    holidays = {date(2026, 12, 24), date(2026, 12, 25)}
    assert clock.last_day(date(2026, 11, 24), 1, holidays) == date(2026, 12, 28)
    assert clock.last_day(date(2026, 11, 24), 1, set()) == date(2026, 12, 24)


def test_the_last_day_ends_at_midnight_where_the_operator_is() -> None:
    prague = ZoneInfo("Europe/Prague")
    # 23:30 in London is the next day in Prague; the offset is that of the last day, in summer time by then.
    assert clock.due("2026-03-02T23:30:00.000Z", 1, prague) == "2026-04-03T22:00:00.000Z"
    assert clock.due("2026-03-02T23:30:00.000Z", 1, ZoneInfo("UTC")) == "2026-04-03T00:00:00.000Z"


def test_alarms_come_seven_days_before_and_at_the_end() -> None:
    due = "2026-04-08T00:00:00.000Z"
    assert clock.warning(due, "2026-03-31T23:59:59.999Z") == ""
    assert clock.warning(due, "2026-04-01T00:00:00.000Z") == "due"
    assert clock.warning(due, "2026-04-07T23:59:59.999Z") == "due"
    assert clock.warning(due, due) == "overdue"


def test_no_effect_without_identity_and_review() -> None:
    """From every state, by every path: `executed` and a package lie behind identify, search and review."""
    paths = [("received", ())]
    seen = set()
    while paths:
        state, acts = paths.pop()
        if state in machine.EFFECTIVE or state == "answered":
            assert "identify" in acts
            assert "search" in acts
            assert "review" in acts
        if len(acts) < 8:
            for act in machine.ACTS:
                if (after := machine.step(state, act)) is not None and (after, acts) not in seen:
                    seen.add((after, acts))
                    paths.append((after, (*acts, act)))
    assert {state for state, _ in seen} == set(machine.STATES) - {"received"}
    assert machine.allowed("closed") == ()
    assert machine.step("refused", "close") == "closed"


def test_settings_are_read_and_refused() -> None:
    assert parse({}) == CaseSettings()
    found = parse({"timezone": "Europe/Prague", "holidays": [date(2026, 12, 24), "2026-12-25"], "record_days": 30})
    assert (found.zone.key, len(found.holidays), found.record_days) == ("Europe/Prague", 2, 30)
    for wrong in (
        {"timezone": "Mars/Olympus"}, {"timezone": "../../etc/passwd"}, {"holidays": ["Xmas"]}, {"holidays": "2026-12-25"},
        {"record_days": -1}, {"record_days": True}, {"days": 3},
    ):  # fmt: skip
        with pytest.raises(CentralError, match=r"\[config\."):
            parse(wrong)
