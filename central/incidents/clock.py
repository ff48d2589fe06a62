"""The 72 hours of GDPR Art. 33(1), and the steps of an incident. Pure; all times are aware and UTC.

The hours count from awareness itself. Regulation 1182/71, Art. 3(1) would leave out the hour it falls in: being early is the safe
side. Weekends and holidays count: a period in hours has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

HOURS: Final = timedelta(hours=72)
#: So long before the end it is said once.
WARNING: Final = timedelta(hours=24)
#: An alarm joins the open incident of its cause when the last one is not longer ago.
EPISODE: Final = timedelta(hours=24)

#: From which states a step may be taken, and where it leads. An incident whose clock runs is not closed unassessed.
STEPS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "acknowledge": (("open",), "acknowledged"),
        "assess": (("open", "acknowledged", "assessed"), "assessed"),
        "notified": (("assessed",), "notified"),
        "close": (("open", "acknowledged", "assessed", "notified"), "closed"),
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a clock stands. state: `none` (no clock), `stopped` (assessed as not notifiable, notified, or closed), `running`,
    `due` (24 hours or less are left), `overdue`. deadline: None without a clock. left: negative when overdue."""

    state: str
    deadline: datetime | None = None
    left: timedelta | None = None


def deadline(aware_at: datetime) -> datetime:
    """The end of the 72 hours."""
    return aware_at.astimezone(UTC) + HOURS


def standing(*, clock: bool, state: str, notifiable: bool | None, aware_at: datetime, now: datetime) -> Standing:
    """See `Standing`."""
    if not clock:
        return Standing("none")
    end = deadline(aware_at)
    if state in ("notified", "closed") or notifiable is False:
        return Standing("stopped", end)
    left = end - now.astimezone(UTC)
    if left <= timedelta():
        return Standing("overdue", end, left)
    return Standing("due" if left <= WARNING else "running", end, left)


def may(step: str, *, state: str, clock: bool, notifiable: bool | None) -> str:
    """Why a step may not be taken, in a sentence; "" when it may."""
    before, _ = STEPS[step]
    if state not in before:
        return f"this step is not for an incident that is {state}"
    if step == "notified" and not notifiable:
        return "it was assessed as not notifiable"
    if step == "close" and clock and notifiable is None:
        return "its clock runs: assess it first"
    if step == "close" and notifiable and state != "notified":
        return "it is notifiable: notify the authority first, or assess it anew"
    return ""
