"""The one rule: the longest duty wins, under it the shortest maximum, of both versions, by the calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.consent.retention import Bound, Bounds, House, Limits, Retention
from edge.consent.units import Period
from edge.retention.schedule import Due, Facts, cannot_be_due_after, due, duty_until, obstacle

END = datetime(2026, 1, 31, 12, tzinfo=UTC)


def audio(recorded: Retention | None, **more: object) -> Facts:
    return Facts("recordings", END, recorded=recorded, **more)  # type: ignore[arg-type]


def on(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}T12:00:00+00:00")


P = Period


@pytest.mark.parametrize(
    ("since", "period", "at"),
    [
        ("2026-08-31", "P6M", "2027-02-28"),  # the last day stays the last where the later month is shorter
        ("2027-08-31", "P6M", "2028-02-29"),
        ("2026-08-31", "P1M", "2026-09-30"),
        ("2028-02-29", "P1Y", "2029-02-28"),
        ("2028-02-29", "P4Y", "2032-02-29"),
        ("2026-02-28", "P6M", "2026-08-28"),  # not the last day: a period is no promise about ends of months
        ("2026-01-31", "P1M1D", "2026-03-01"),  # months first, then days
        ("2026-03-28", "P1D", "2026-03-29"),  # summer time begins in Europe: these are days of UTC
        ("2026-12-31", "P30D", "2027-01-30"),
    ],
)
def test_months_are_the_calendars(since: str, period: str, at: str) -> None:
    facts = Facts("recordings", on(since), recorded=Retention(recordings=P(period)))
    assert due(facts).at == on(at)


def test_what_says_so_is_named() -> None:
    terms = Retention(recordings=P("P6M"), purposes=Bounds({"training": Bound(maximum=P("P30D"))}))
    assert due(audio(terms)) == Due(on("2026-07-31"), "retention.recordings of the policy it began under")
    assert due(audio(terms, purposes=("training", "quality"))) == Due(
        on("2026-03-02"), "retention.purposes.training.maximum of the policy it began under"
    )


def test_a_purpose_may_demand_longer_and_an_outcome_too() -> None:
    terms = Retention(
        recordings=P("P1M"),
        purposes=Bounds({"evidence": Bound(minimum=P("P12M")), "training": Bound(maximum=P("P7D"))}),
        outcomes=Bounds({"withdrawn": Bound(maximum=P("P1D"))}),
    )
    assert due(audio(terms, outcome="withdrawn", purposes=("training",))).at == on("2026-02-01")
    both = due(audio(terms, outcome="withdrawn", purposes=("training", "evidence")))
    assert both == Due(on("2027-01-31"), "retention.purposes.evidence.minimum of the policy it began under")


def test_a_shorter_period_of_today_counts_for_what_is_there_and_a_longer_one_does_not() -> None:
    then, short, long = Retention(recordings=P("P6M")), Retention(recordings=P("P1M")), Retention(recordings=P("P2Y"))
    assert due(audio(then, today=short)) == Due(on("2026-02-28"), "retention.recordings of today's policy")
    assert due(audio(then, today=long)).at == on("2026-07-31")


def test_a_duty_holds_whichever_version_knows_it() -> None:
    then, now = Retention(recordings=P("P1M"), minimum=P("P1M")), Retention(recordings=P("P7D"), minimum=P("P0D"))
    assert due(audio(then, today=now)).at == on("2026-02-28"), "the minimum that was promised holds"
    assert due(audio(now, today=then)).at == on("2026-02-28"), "the law of today counts"


def test_floor_and_ceiling() -> None:
    house = House(ceiling=Limits(recordings=P("P1Y")), floor=Limits(recordings=P("P7D")))
    assert due(audio(Retention(recordings=P("P5Y")), house=house)) == Due(
        on("2027-01-31"), "[retention] ceiling.recordings"
    )
    assert due(audio(Retention(recordings=P("P1D")), house=house)) == Due(
        on("2026-02-07"), "[retention] floor.recordings"
    )
    assert due(audio(Retention(recordings=P("P5Y"), minimum=P("P2Y")), house=house)).at == on("2028-01-31")


def test_what_is_not_known_is_kept() -> None:
    assert due(audio(None, today=Retention(recordings=P("P1D")))).at is None
    assert due(Facts("recordings", None, recorded=Retention())) == Due(None, "the call goes on")


def test_other_classes_have_their_own_time_and_no_duty_of_the_audio() -> None:
    terms = Retention(recordings=P("P1M"), minimum=P("P1M"), refusals=P("P2D"))
    assert due(Facts("refusals", END, recorded=terms)).at == on("2026-02-02")
    held = due(Facts("metadata", END, recorded=terms, stands_on_it=("audio",), holds=("under hold: x",)))
    assert held.held == ("under hold: x", "kept while there is audio")
    assert not held.goes(on("2040-01-01"))


def test_the_obstacle_names_holds_before_duties() -> None:
    facts = audio(Retention(minimum=P("P1M"), recordings=P("P1M")))
    assert obstacle(facts, on("2026-02-27")) == (
        "minimum retention until 2026-02-28 (retention.minimum of the policy it began under)"
    )
    assert obstacle(facts, on("2026-02-28")) is None
    assert obstacle(replace(facts, holds=("under hold: a",)), on("2030-01-01")) == "under hold: a"


PERIODS = st.one_of(
    st.integers(0, 60).map(lambda n: P(f"P{n}M")),
    st.integers(0, 800).map(lambda n: P(f"P{n}D")),
    st.tuples(st.integers(0, 24), st.integers(0, 40)).map(lambda md: P(f"P{md[0]}M{md[1]}D")),
)
BOUND = st.builds(Bound, minimum=PERIODS, maximum=st.none() | PERIODS)
WORDS = ("quality", "training", "evidence")
BOUNDS = st.dictionaries(st.sampled_from(WORDS), BOUND).map(Bounds)
TERMS = st.builds(
    Retention, recordings=PERIODS, minimum=PERIODS, metadata=PERIODS, statistics=PERIODS, evidence=PERIODS,
    refusals=PERIODS, notices=PERIODS, purposes=BOUNDS,
    outcomes=st.dictionaries(st.sampled_from(("given", "withdrawn")), BOUND).map(Bounds),
)  # fmt: skip
LIMITS = st.builds(Limits, **{name: st.none() | PERIODS for name in ("recordings", "metadata", "evidence", "refusals")})
MOMENTS = st.integers(0, 20 * 366 * 86_400).map(lambda s: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
FACTS = st.builds(
    Facts, kind=st.sampled_from(("recordings", "metadata", "evidence", "refusals", "statistics", "notices")),
    since=MOMENTS, outcome=st.none() | st.sampled_from(("given", "withdrawn")),
    purposes=st.lists(st.sampled_from(WORDS), unique=True).map(tuple), recorded=TERMS, today=st.none() | TERMS,
    unapproved=st.booleans(), approved=TERMS,
    house=st.builds(House, floor=LIMITS, ceiling=LIMITS),
)  # fmt: skip


def duties(facts: Facts) -> list[Period]:
    """Every duty there is, found in another way than the rule finds them."""
    found: list[Period | None] = [getattr(facts.house.floor, facts.kind)]
    if facts.kind == "recordings":
        for terms in (facts.recorded, facts.today):
            if terms is not None:
                found += [terms.minimum, *(b.minimum for w, b in terms.purposes.items() if w in facts.purposes)]
                found += [b.minimum for w, b in terms.outcomes.items() if w == facts.outcome]
    return [one for one in found if one is not None]


def maxima(facts: Facts) -> list[Period]:
    found: list[Period | None] = [getattr(facts.house.ceiling, facts.kind)]
    for terms in (facts.approved if facts.unapproved else facts.recorded, facts.today):
        if terms is not None:
            found.append(getattr(terms, facts.kind))
            if facts.kind == "recordings":
                found += [b.maximum for w, b in terms.purposes.items() if w in facts.purposes]
                found += [b.maximum for w, b in terms.outcomes.items() if w == facts.outcome]
    return [one for one in found if one is not None]


@given(FACTS)
def test_the_longest_duty_wins_else_the_shortest_maximum(facts: Facts) -> None:
    assert facts.since is not None
    longest = max((one.after(facts.since) for one in duties(facts)), default=facts.since)
    shortest = min(one.after(facts.since) for one in maxima(facts))
    at = due(facts).at
    assert at == max(longest, shortest)
    until = duty_until(facts)
    assert until is None or at >= until[0]


def test_terms_that_nobody_approved_are_no_maximum_and_still_a_duty() -> None:
    facts = replace(audio(Retention(recordings=P("P1D"), minimum=P("P2D"))), unapproved=True)
    assert due(facts) == Due(None, "kept: nobody approved the terms it began under")
    assert due(replace(facts, approved=Retention(recordings=P("P1M")))).at == P("P1M").after(END)
    assert due(replace(facts, approved=Retention(recordings=P("P1D")))).at == P("P2D").after(END), "a duty of then"


@given(FACTS, MOMENTS)
def test_what_is_due_has_no_obstacle_and_what_has_one_is_not_due(facts: Facts, now: datetime) -> None:
    if due(facts).goes(now):
        assert obstacle(facts, now) is None
    held = replace(facts, holds=("under hold: case 7",))
    assert not due(held).goes(now)
    assert obstacle(held, now) == "under hold: case 7"


@given(FACTS, MOMENTS)
def test_the_bound_of_a_query_passes_over_nothing_that_is_due(facts: Facts, now: datetime) -> None:
    assert facts.since is not None
    if due(facts).goes(now):
        assert facts.since <= cannot_be_due_after(facts, now)


def test_a_day_is_a_day_of_utc_whatever_the_season() -> None:
    terms = Retention(recordings=P("P1D"))
    for day in ("2026-03-29", "2026-10-25"):
        at = due(Facts("recordings", on(day), recorded=terms)).at
        assert at is not None
        assert at - on(day) == timedelta(days=1)
