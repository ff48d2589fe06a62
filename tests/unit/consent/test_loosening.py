"""Which changes of a policy count at once: what is surely tighter, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.consent.loosening import loosens
from edge.consent.policy import CentralSharing, Match, Policy, Retention
from edge.consent.units import Period, Seconds

BASE = Policy(name="p", mode="notice", basis="contract", purposes=("quality", "training"), recipients=("a", "b"))


def changed(**fields: Any) -> Policy:
    return msgspec.structs.replace(BASE, **fields)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"mode": "opt_out"}),
        ({}, {"mode": "opt_in", "basis": "consent", "prompt": "ask"}),
        ({}, {"mode": "never", "purposes": (), "recipients": ("c",)}),
        ({}, {"purposes": ("quality",)}),
        ({}, {"recipients": ("a",)}),
        ({}, {"retries": 2}),
        ({}, {"answer_window": Seconds(9)}),
        ({"hold": "record"}, {"hold": "pause"}),
        ({"on_withdraw": "stop"}, {"on_withdraw": "stop_and_erase"}),
        ({}, {"beep": Seconds(10)}),
        ({"central": CentralSharing(number="hashed")}, {"central": CentralSharing(number="none")}),
        ({"central": CentralSharing(number="clear")}, {"central": CentralSharing(number="hashed")}),
    ],
)
def test_what_is_tighter_one_way_is_looser_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = changed(**old), changed(**{**old, **new})
    assert loosens(before, after) == ()
    assert loosens(after, before) != ()


@pytest.mark.parametrize(
    "fields",
    [
        {"retention": Retention(recordings=Period("P1D"))},
        {"retention": Retention(recordings=Period("P10Y"))},
        {"recipients": ("a", "c")},
        {"purposes": ("quality", "evidence")},
        {"prompt": "another"},
        {"mode": "obligation"},
        {"central": CentralSharing(number="clear")},
        {"yes_key": "5"},
        {"on_failure": "announce"},
        {"remember": Period("P1D")},
    ],
)
def test_what_is_not_surely_tighter_waits(fields: dict[str, Any]) -> None:
    assert set(loosens(BASE, changed(**fields))) == set(fields)


def test_one_loose_setting_among_tight_ones_is_named_alone() -> None:
    assert loosens(BASE, changed(mode="opt_out", hold="record", retries=3)) == ("hold",)


def test_new_gone_and_never() -> None:
    assert loosens(None, BASE) == ("mode",)
    assert loosens(BASE, None) == ()
    assert loosens(None, changed(mode="never")) == ()
    assert loosens(BASE, BASE) == ()
    longer = Retention(recordings=Period("P10Y"))
    assert loosens(BASE, changed(mode="never", retention=longer)) == ("retention",), "what is kept already goes later"


def test_calls_that_fall_to_another_policy_wait() -> None:
    """What matched a policy that is gone, or a `never` that matches less, is recorded under the next that matches."""
    sales = Match(queue=("sales",))
    matching, never = changed(match=sales), changed(mode="never", match=sales)
    assert loosens(matching, None) == ("match",)
    assert loosens(never, None) == ("match",)
    assert loosens(never, changed(mode="never")) == ("match",)
    assert loosens(matching, changed(mode="never")) == ("match",)
    assert loosens(matching, never) == ()
    assert loosens(None, never) == (), "it takes calls from others, and records none"


def test_a_policy_that_records_nothing_still_sends_numbers() -> None:
    hashed, clear = CentralSharing(number="hashed"), CentralSharing(number="clear")
    assert loosens(changed(central=hashed), changed(mode="never", central=clear)) == ("central",)
    assert loosens(changed(central=clear), changed(mode="never", central=hashed)) == ()


def test_a_setting_that_nobody_thought_of_loosens() -> None:
    """Whoever adds a setting to a policy gets the safe side for nothing."""
    from edge.consent.loosening import _TIGHTER

    fields = {one.name for one in msgspec.structs.fields(Policy)}
    assert set(_TIGHTER) <= fields, "a setting was renamed"
