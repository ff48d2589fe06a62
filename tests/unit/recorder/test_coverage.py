"""How long a recording should be, beside how long it is."""

from __future__ import annotations

import pytest

from edge.recorder.coverage import Coverage

S = 1_000_000_000


def talked(*spans: tuple[float, float], **facts: bool) -> Coverage:
    coverage = Coverage(**facts)
    for begin, end in spans:
        coverage.bridged(int(begin * S))
        coverage.unbridged(int(end * S))
    coverage.end(int(spans[-1][1] * S))
    return coverage


@pytest.mark.parametrize(
    ("recorded", "wrong"), [(10, False), (9.1, False), (8.9, True), (10.9, False), (11.1, True), (0, True)]
)
def test_short_calls_may_be_a_second_off(recorded: float, wrong: bool) -> None:
    assert bool(talked((5, 15)).differs(int(recorded * 32000), 32000, S)) == wrong


@pytest.mark.parametrize(("recorded", "wrong"), [(1000, False), (981, False), (979, True), (1021, True)])
def test_long_ones_two_per_cent(recorded: float, wrong: bool) -> None:
    assert bool(talked((0, 400), (500, 1100)).differs(int(recorded * 8000), 8000, 4 * S)) == wrong


def test_it_says_what_is_wrong() -> None:
    assert talked((0, 20)).differs(32000 * 15, 32000, S) == "15.0 s recorded, 20.0 s bridged"


def test_one_that_records_the_waiting_too_can_only_be_too_short() -> None:
    waits = talked((10, 20), open_ended=True)
    assert waits.differs(32000 * 20, 32000, S) == ""
    assert waits.differs(32000 * 5, 32000, S) != ""


def test_what_nobody_knows_is_not_held_against_it() -> None:
    assert Coverage(blind=True).differs(320_000, 32000, S) == ""
    blind = talked((0, 10))
    blind.over = False
    blind.lost()
    blind.end(20 * S)
    assert blind.differs(32000, 32000, S) == ""
    never = Coverage()
    never.end(20 * S)
    assert never.differs(320_000, 32000, S) == "", "no bridge was told of"
    running = Coverage()
    running.bridged(0)
    assert running.differs(0, 32000, S) == ""


def test_behind_a_lost_link_it_begins_anew_with_what_is_there() -> None:
    coverage = Coverage()
    coverage.bridged(0)
    coverage.lost()
    coverage.again(32000 * 7)
    coverage.bridged(30 * S)
    coverage.end(40 * S)
    assert coverage.differs(32000 * 17, 32000, S) == ""
    assert coverage.differs(32000 * 19, 32000, S) == "", "a buffer's time more may have been there unseen"
    assert coverage.differs(32000 * 20, 32000, S) == "13.0 s recorded, 10.0 s bridged"
    coverage.again(0)
    assert coverage.counted_ns == 10 * S, "what is over stays as it is"
