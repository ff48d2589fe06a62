"""A call's rows as a person may have them: without what other people answered, their numbers, and names of staff. Pure."""

from __future__ import annotations

from collections.abc import Callable

from formats import callrows
from formats.callrows import Row

_NUMBERS = {"number": None, "number_hmac": None}


def reduced(row: Row, own: Callable[[Row], bool], *, named: bool) -> Row:
    """The row itself where nothing had to be taken out. own: whether a party is the person; named: leave who paused."""
    parties = callrows.parties(row)
    mine = [own(party) or len(parties) == 1 for party in parties]
    kept = {
        event["seq"] for n, party in enumerate(parties) if mine[n] for event in callrows.events_of(row, party, n == 0)
    }
    less = {
        **row,
        "parties": [p if ok else {**p, **_NUMBERS} for p, ok in zip(parties, mine, strict=True)],
        "events": [event for event in row["events"] if event["seq"] in kept],
        "pauses": [one if named else _unnamed(one) for one in row.get("pauses") or ()],
    }
    same = {name: row.get(name) or [] for name in ("events", "pauses")} | {"parties": parties}
    return row if all(less[name] == one for name, one in same.items()) else less


def audible_alone(row: Row, own: Callable[[Row], bool]) -> bool:
    """Whether the person is who the call is about, whose channel a mask leaves: the first party, by number; or, where nothing is
    known of the first, because no other party is or may be the person."""
    first, *others = callrows.parties(row)
    if own(first):
        return True
    return not first.get("number") and not any(own(one) or callrows.hmac(one) for one in others)


def _unnamed(pause: Row) -> Row:
    """By whom is a role then: an agent's name is not the person's to know."""
    by = {name: {"kind": pause[name]["kind"]} for name in ("by", "ended_by") if pause.get(name)}
    return {**pause, **by}
