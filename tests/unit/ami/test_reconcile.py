"""Who hears whom, from the picture of channels and bridges."""

from __future__ import annotations

from edge.ami.reconcile import HOLDING, Picture


def picture(channels: dict[str, str], bridges: dict[str, set[str]]) -> Picture:
    made = Picture()
    made.begin()
    made.finish(channels, bridges)
    return made


CALLER, AGENT, THIRD = {"1": "PJSIP/anonymous-1"}, {"2": "PJSIP/agent-2"}, {"3": "PJSIP/trunk-3"}


def test_two_in_a_bridge() -> None:
    made = picture(CALLER | AGENT | THIRD, {"b": {"1", "2"}})
    assert made.company("1") == AGENT
    assert made.company("2") == CALLER
    assert made.company("3") == {}


def test_a_local_pair_is_followed_to_who_is_behind_it() -> None:
    local = {"8": "Local/201@x-0000;1", "9": "Local/201@x-0000;2"}
    made = picture(CALLER | AGENT | local, {"b": {"1", "8"}, "c": {"9", "2"}})
    assert made.company("1") == AGENT
    assert made.company("2") == CALLER
    assert made.connected("1") == {"1", "2", "8", "9"}


def test_two_local_pairs_in_a_row() -> None:
    locals_ = {"6": "Local/a@x-1;1", "7": "Local/a@x-1;2", "8": "Local/b@x-2;1", "9": "Local/b@x-2;2"}
    made = picture(CALLER | AGENT | locals_, {"b": {"1", "6"}, "c": {"7", "8"}, "d": {"9", "2"}})
    assert made.company("1") == AGENT


def test_a_local_half_with_nobody_behind_it_stands_for_itself() -> None:
    local = {"8": "Local/201@x-0000;1", "9": "Local/201@x-0000;2"}
    made = picture(CALLER | local, {"b": {"1", "8"}})
    assert made.company("1") == {"8": "Local/201@x-0000;1"}


def test_parked_calls_are_not_together() -> None:
    made = picture(CALLER | AGENT, {"lot": {"1", "2"}})
    made.keeps("lot", HOLDING)
    assert made.company("1") == {}
    assert made.connected("1") == {"1"}
    made.left("lot", "1")
    made.left("lot", "2")
    assert made.apart == set()
