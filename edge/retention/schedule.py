"""When a thing goes, and what keeps it: one pure function over facts. docs/retention.md says the same in words.

Every period is counted from the end of the call, by the calendar (`Period.after`). The longest duty wins over everything;
under it the shortest maximum. Of a policy that changed both versions count: the one the call began under, and today's.
So a period that got shorter shortens what lies there already, one that got longer does not lengthen it, and a duty that
was promised, then or now, holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from edge.consent.retention import Bound, House, Retention
from edge.consent.units import Period

_HOUSE: Final = House()
Kind = Literal["recordings", "metadata", "statistics", "evidence", "refusals", "notices", "orders", "alarms", "exports"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about one thing of one class.

    since: when its period began (aware): the call's end; None while the call goes on. outcome: of the call; purposes: those
    granted. recorded: the policy's terms as the call began, None when they cannot be read any more; today: those in force
    now, None for a policy that is gone or whose terms nobody approved. unapproved: nobody approved the recorded terms, so
    that of them only the duties count; approved: the terms that were, whose maxima count instead. house: over all policies.
    stands_on_it: what must go first, in words. holds: what keeps it, each a sentence.
    """

    kind: Kind
    since: datetime | None
    outcome: str | None = None
    purposes: tuple[str, ...] = ()
    recorded: Retention | None = None
    today: Retention | None = None
    unapproved: bool = False
    approved: Retention | None = None
    house: House = _HOUSE
    stands_on_it: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """at: when it is to go (aware), None when not by itself; why: which setting says so. held: what keeps it although its
    time is over."""

    at: datetime | None
    why: str
    held: tuple[str, ...] = ()

    def goes(self, now: datetime) -> bool:
        """Whether it is to go now."""
        return self.at is not None and not self.held and self.at <= now


@dataclass(frozen=True, slots=True)
class _Term:
    period: Period
    why: str


def due(facts: Facts) -> Due:
    """When this goes, and why then."""
    if facts.since is None:
        return Due(None, "the call goes on")
    if facts.recorded is None and facts.kind not in ("orders", "alarms", "exports"):
        return Due(None, "kept: the policy it began under cannot be read")
    held = (*facts.holds, *(f"kept while there is {what}" for what in facts.stands_on_it))
    ends = [(one.period.after(facts.since), one.why) for one in _maxima(facts)]
    if not ends:
        return Due(None, "kept: nobody approved the terms it began under")
    shortest = min(ends, key=lambda end: end[0])
    duty = duty_until(facts)
    if duty is not None and duty[0] > shortest[0]:
        return Due(duty[0], duty[1], held)
    return Due(*shortest, held)


def duty_until(facts: Facts) -> tuple[datetime, str] | None:
    """Until when it must be kept, whoever wants it gone, and what says so; None without a duty."""
    if facts.since is None:
        return None
    ends = [(one.period.after(facts.since), one.why) for one in _duties(facts) if not one.period.is_zero]
    return max(ends, key=lambda end: end[0], default=None)


def obstacle(facts: Facts, now: datetime) -> str | None:
    """Why this must not be erased now, whoever asks, in a sentence; None when it may."""
    if facts.holds:
        return "; ".join(facts.holds)
    duty = duty_until(facts)
    if duty is not None and now < duty[0]:
        return f"minimum retention until {duty[0]:%Y-%m-%d} ({duty[1]})"
    return None


def _maxima(facts: Facts) -> Iterator[_Term]:
    kind = facts.kind
    for terms, when in _bounding(facts):
        yield _Term(getattr(terms, kind), f"retention.{kind} {when}")
        if kind == "recordings":
            for bound, what in _bounds(facts, terms):
                if bound.maximum is not None:
                    yield _Term(bound.maximum, f"retention.{what}.maximum {when}")
    if kind in ("orders", "alarms", "exports"):
        yield _Term(getattr(facts.house, kind), f"[retention] {kind}")
    elif (ceiling := getattr(facts.house.ceiling, kind)) is not None:
        yield _Term(ceiling, f"[retention] ceiling.{kind}")


def _duties(facts: Facts) -> Iterator[_Term]:
    kind = facts.kind
    if kind == "recordings":
        for terms, when in _versions(facts):
            yield _Term(terms.minimum, f"retention.minimum {when}")
            for bound, what in _bounds(facts, terms):
                yield _Term(bound.minimum, f"retention.{what}.minimum {when}")
    if kind not in ("orders", "alarms", "exports") and (floor := getattr(facts.house.floor, kind)) is not None:
        yield _Term(floor, f"[retention] floor.{kind}")


def _versions(facts: Facts) -> Iterator[tuple[Retention, str]]:
    """The terms of then, and those of today where they differ."""
    if facts.recorded is not None:
        yield facts.recorded, "of the policy it began under"
    if facts.today is not None and facts.today != facts.recorded:
        yield facts.today, "of today's policy"


def _bounding(facts: Facts) -> Iterator[tuple[Retention, str]]:
    """Those whose maxima count."""
    if not facts.unapproved:
        yield from _versions(facts)
        return
    if facts.approved is not None:
        yield facts.approved, "as approved when it began"
    if facts.today is not None and facts.today != facts.approved:
        yield facts.today, "of today's policy"


def _bounds(facts: Facts, terms: Retention) -> Iterator[tuple[Bound, str]]:
    for purpose in facts.purposes:
        if purpose in terms.purposes:
            yield terms.purposes[purpose], f"purposes.{purpose}"
    if facts.outcome is not None and facts.outcome in terms.outcomes:
        yield terms.outcomes[facts.outcome], f"outcomes.{facts.outcome}"


def certainly_not_after(period: Period, now: datetime) -> datetime:
    """No call that ended later than this can have had its time: every month as short as the shortest."""
    months, days = period.months_days
    return now - timedelta(days=months * 28 + days)


def cannot_be_due_after(facts: Facts, now: datetime) -> datetime:
    """No call that ended later than this can be due at `now`, whatever its outcome and purposes: what a query need not look
    at. Of `facts` the kind, the terms and the house count."""
    kind = facts.kind
    periods = [one.period for one in _maxima(facts)]
    if kind == "recordings":
        for terms, _ in _bounding(facts):
            for bound in (*terms.purposes.values(), *terms.outcomes.values()):
                periods += [bound.maximum] if bound.maximum is not None else []
    return max((certainly_not_after(period, now) for period in periods), default=now)
