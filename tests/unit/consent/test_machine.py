"""The consent machine: tables of conversations, and a state machine that tries to get a permit without a yes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.consent import permit
from edge.consent.machine import (
    MAX_EARLY_KEYS,
    Answer,
    Ask,
    Conversation,
    Decide,
    DiscardKeys,
    Done,
    Event,
    Failed,
    HungUp,
    Keyed,
    Play,
    Played,
    PromptFacts,
    Script,
    Started,
    Step,
    WaitKey,
)
from edge.model.lifecycle import MODES, OUTCOMES

ASK = PromptFacts("ask", "1.0", "en", "aa" * 32, 7000, 4000)
AGAIN = PromptFacts("ask_again", "1.0", "en", "bb" * 32, 3000, 0)
OPT_IN = Script("opt_in", ASK, AGAIN)
QUIET = object()


def converse(script: Script, answers: list[Event]) -> tuple[Decide, list[Step]]:
    """Drive a conversation: Done for silent steps, the next of `answers` for each Play and WaitKey."""
    talk = Conversation(script)
    event: Event = Started()
    steps: list[Step] = []
    left = list(answers)
    while True:
        step = talk.advance(event)
        steps.append(step)
        if isinstance(step, Decide):
            return step, steps
        event = left.pop(0) if isinstance(step, Play | WaitKey) else Done()


@pytest.mark.parametrize(
    ("answers", "outcome", "reason", "key", "tries"),
    [
        ([Played("1", 5000)], "given", "key", "1", 1),
        ([Played("", 7000), Keyed("1")], "given", "key", "1", 1),
        ([Played("2", 5000), Played("1", 100)], "given", "key", "1", 2),
        ([Played("2", 5000), Played("3", 100)], "refused", "key", "3", 2),
        ([Played("", 7000), Keyed(""), Played("", 3000), Keyed("")], "refused", "silence", "", 2),
        ([Played("", 7000), Keyed("9"), Played("", 3000), Keyed("")], "refused", "silence", "", 2),
        ([Played("", 7000), Keyed(""), Played("", 3000), Keyed("#")], "refused", "key", "#", 2),
        ([HungUp()], "abandoned", "hangup", "", 0),
        ([Played("", 7000), HungUp()], "abandoned", "hangup", "", 0),
        ([Failed("agi.lost")], "unavailable", "agi.lost", "", 0),
        ([Played("1", 3999), Played("1", 4000)], "given", "key", "1", 1),
        ([Played("1", 0), Played("", 7000), Keyed(""), Played("", 3000), Keyed("")], "refused", "silence", "", 2),
    ],
)
def test_opt_in_conversations(answers: list[Event], outcome: str, reason: str, key: str, tries: int) -> None:
    decision, _ = converse(OPT_IN, answers)
    assert (decision.outcome, decision.reason, decision.key, decision.tries) == (outcome, reason, key, tries)


def test_the_question_is_stored_before_its_first_sound_and_old_digits_are_dropped() -> None:
    _, steps = converse(OPT_IN, [Played("1", 5000)])
    assert [type(s) for s in steps] == [Answer, DiscardKeys, Ask, Play, Decide]


def test_never_neither_answers_nor_plays() -> None:
    decision, steps = converse(Script("never"), [])
    assert steps == [decision]
    assert decision.outcome == "not_recorded"


def test_an_early_key_does_not_count_and_the_prompt_goes_on_where_it_was() -> None:
    _, steps = converse(OPT_IN, [Played("1", 1200), Played("1", 6000)])
    assert steps[4] == Play(ASK, "0123456789*#", 1200)


def test_a_caller_who_hammers_keys_hears_the_prompt_out_and_must_press_after_it() -> None:
    early = [Played("1", 10 * n) for n in range(MAX_EARLY_KEYS)]
    decision, steps = converse(OPT_IN, [*early, Played("", 7000), Keyed("1")])
    assert decision.outcome == "given"
    assert [s.keys for s in steps if isinstance(s, Play)][-1] == ""
    assert isinstance(steps[-3], DiscardKeys)


def test_without_barge_in_keys_under_the_prompt_are_dropped() -> None:
    _, steps = converse(Script("opt_in", ASK, AGAIN, barge_in=False), [Played("", 7000), Keyed("1")])
    assert [type(s) for s in steps[-4:]] == [Play, DiscardKeys, WaitKey, Decide]


def test_evidence_names_everything_that_was_heard() -> None:
    decision, _ = converse(OPT_IN, [Played("5", 4500), Played("1", 700)])
    assert decision.heard == ((ASK, 4500), (AGAIN, 700))
    assert decision.keys_pressed == "51"


def test_a_hang_up_in_the_question_says_how_much_was_heard() -> None:
    decision, _ = converse(OPT_IN, [Played("1", 1200), HungUp(3000)])
    assert decision.heard == ((ASK, 3000),)
    decision, _ = converse(OPT_IN, [HungUp(99_000)])
    assert decision.heard == ((ASK, ASK.duration_ms),)


@pytest.mark.parametrize("position_ms", [0, 4500, 6400])
def test_a_prompt_that_was_not_played_out_is_no_question(position_ms: int) -> None:
    decision, _ = converse(OPT_IN, [Played("", position_ms), Keyed("1")])
    assert (decision.outcome, decision.reason) == ("unavailable", "prompt.not_played")


def test_a_decision_is_final() -> None:
    talk = Conversation(Script("never"))
    first = talk.advance(Started())
    assert talk.advance(HungUp()) is first
    assert talk.advance(Failed("x")) is first


def test_a_missing_prompt_is_unavailable_never_a_yes() -> None:
    decision, _ = converse(Script("opt_in", None), [])
    assert (decision.outcome, decision.reason) == ("unavailable", "prompt.missing")


def test_an_impossible_event_is_refused() -> None:
    talk = Conversation(OPT_IN)
    talk.advance(Started())
    with pytest.raises(ValueError, match="cannot happen"):
        talk.advance(Keyed("1"))


happenings = st.one_of(
    st.builds(Played, st.sampled_from(["", *"0123456789*#"]), st.integers(0, 8000)),
    st.builds(Keyed, st.sampled_from(["", *"0123456789*#"])),
    st.just(HungUp()),
    st.builds(Failed, st.just("agi.lost")),
)


@given(
    st.lists(happenings, max_size=60),
    st.sampled_from(MODES),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from("123#"),
)
@settings(max_examples=2000, deadline=None)
def test_no_sequence_yields_a_permit_without_the_yes_key_after_the_mark(
    answers: list[Event], mode: str, retries: int, barge_in: bool, yes: str
) -> None:
    script = Script(mode, ASK, AGAIN, yes_key=yes, retries=retries, barge_in=barge_in)
    talk = Conversation(script)
    event: Event = Started()
    said_yes = False
    left = list(answers)
    while True:
        step = talk.advance(event)
        if isinstance(step, Decide):
            break
        if isinstance(step, Play):
            event = next((e for e in left if isinstance(e, Played | HungUp | Failed)), HungUp())
        elif isinstance(step, WaitKey):
            event = next((e for e in left if isinstance(e, Keyed | HungUp | Failed)), HungUp())
        else:
            event = Done()
            continue
        if event in left:
            left.remove(event)
        if isinstance(event, Played) and event.key == yes and event.position_ms >= step.prompt.answerable_from_ms:
            said_yes = True
        if isinstance(event, Keyed) and event.key == yes:
            said_yes = True
    assert step.outcome in OUTCOMES
    if step.outcome == "given":
        assert said_yes
        assert mode == "opt_in"
    if step.outcome in permit.PERMITTING:
        permit.grant("p", "c", step.outcome, ["quality"], "support", "v")


def test_nobody_else_builds_a_permit() -> None:
    with pytest.raises(TypeError):
        permit.Permit("p", "c", "given", ("quality",), "support", "v", object())
    for kind in ("refused", "unavailable", "abandoned", "requested"):
        with pytest.raises(ValueError, match="permits no recording"):
            permit.grant("p", "c", kind, ["quality"], "support", "v")
    with pytest.raises(ValueError, match="purpose"):
        permit.grant("p", "c", "given", [], "support", "v")
