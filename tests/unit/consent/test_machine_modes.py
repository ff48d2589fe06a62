"""Every mode against everything a caller can do, at every step: a table that is counted, not chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from edge.consent.machine import SORTS, Conversation, Done, Started
from edge.consent.permit import PERMITTING
from edge.consent.script import (
    MAX_EARLY_KEYS,
    Answer,
    Ask,
    Choice,
    Decide,
    DiscardKeys,
    Event,
    Failed,
    Further,
    HungUp,
    Keyed,
    OnFile,
    Play,
    Played,
    PromptFacts,
    Script,
    Step,
    WaitKey,
)
from edge.model.lifecycle import MODES

ASK = PromptFacts("ask", "1.0", "en", "aa" * 32, 7000, 4000)
AGAIN = PromptFacts("ask_again", "1.0", "en", "bb" * 32, 3000, 0)
TRAINING = PromptFacts("ask_training", "1.0", "en", "cc" * 32, 6000, 3000)
ENGLISH = PromptFacts("language", "1.0", "en", "dd" * 32, 1500, 0)
CZECH = PromptFacts("language", "1.0", "cs", "ee" * 32, 1500, 0)

#: What a person does, as (what comes of each Play, what comes of each WaitKey), repeated for as long as it is asked.
HEARS_OUT = Played("", 0)  # stands for: to the end of whatever is played
PEOPLE: dict[str, tuple[Event, Event]] = {
    "agrees": (Played("1", 5000), Keyed("1")),
    "agrees after it": (HEARS_OUT, Keyed("1")),
    "objects": (Played("2", 5000), Keyed("2")),
    "objects after it": (HEARS_OUT, Keyed("2")),
    "is silent": (HEARS_OUT, Keyed("")),
    "presses wrong keys": (Played("7", 5000), Keyed("7")),
    "presses wrong keys after it": (HEARS_OUT, Keyed("7")),
    "presses yes too early": (Played("1", 100), Keyed("")),
    "presses no too early": (Played("2", 100), Keyed("")),
    "hammers": (Played("7", 100), Keyed("")),
}

#: (outcome, reason) of each mode and person. Prompts that can be asked again are, once.
EXPECTED: dict[str, dict[str, tuple[str, str]]] = {
    "opt_in": {
        "agrees": ("given", "key"),
        "agrees after it": ("given", "key"),
        "objects": ("refused", "key"),
        "objects after it": ("refused", "key"),
        "is silent": ("refused", "silence"),
        "presses wrong keys": ("refused", "key"),
        "presses wrong keys after it": ("refused", "key"),
        "presses yes too early": ("refused", "silence"),
        "presses no too early": ("refused", "silence"),
        "hammers": ("refused", "silence"),
    },
    "opt_out": {
        "agrees": ("objected", "unclear"),
        "agrees after it": ("objected", "unclear"),
        "objects": ("objected", "key"),
        "objects after it": ("objected", "key"),
        "is silent": ("notified", "no_objection"),
        "presses wrong keys": ("objected", "unclear"),
        "presses wrong keys after it": ("objected", "unclear"),
        "presses yes too early": ("notified", "no_objection"),
        "presses no too early": ("notified", "no_objection"),
        "hammers": ("notified", "no_objection"),
    },
    "notice": {
        "agrees": ("notified", "played"),
        "agrees after it": ("notified", "played"),
        "objects": ("objected", "key"),
        "objects after it": ("notified", "played"),  # it is over when it has played out; the star code goes on working
        "is silent": ("notified", "played"),
        "presses wrong keys": ("notified", "played"),
        "presses wrong keys after it": ("notified", "played"),
        "presses yes too early": ("notified", "played"),
        "presses no too early": ("notified", "played"),
        "hammers": ("notified", "played"),
    },
    "prior": {
        "agrees": ("given", "on_file"),
        "agrees after it": ("given", "on_file"),
        "objects": ("withdrawn", "key"),
        "objects after it": ("given", "on_file"),
        "is silent": ("given", "on_file"),
        "presses wrong keys": ("given", "on_file"),
        "presses wrong keys after it": ("given", "on_file"),
        "presses yes too early": ("given", "on_file"),
        "presses no too early": ("given", "on_file"),
        "hammers": ("given", "on_file"),
    },
    "obligation": dict.fromkeys(PEOPLE, ("not_required", "obligation")),
    "manual": dict.fromkeys(PEOPLE, ("not_recorded", "manual")),
    "never": dict.fromkeys(PEOPLE, ("not_recorded", "policy")),
}


def script(mode: str) -> Script:
    """The plain script of a mode."""
    on_file = OnFile("given", 41) if mode == "prior" else None
    again = AGAIN if mode in ("opt_in", "opt_out") else None
    return Script(mode, ASK, again, purposes=("quality",), on_file=on_file)


def live_through(
    script: Script, person: str, *, breaks_at: int = -1, with_event: Event | None = None
) -> Iterator[Step]:
    """Every step of the conversation with this person; at step `breaks_at` `with_event` happens instead."""
    at_play, at_wait = PEOPLE[person]
    talk = Conversation(script)
    event: Event = Started()
    for number in range(200):
        step = talk.advance(event)
        yield step
        if isinstance(step, Decide):
            return
        if number == breaks_at:
            assert with_event is not None
            event = with_event
        elif isinstance(step, Play):
            event = at_play
            # Who pressed once, or is listened to no more, hears the rest.
            heard_it = at_play is HEARS_OUT or not step.keys or (person != "hammers" and step.offset_ms > 0)
            heard_it = heard_it or ("early" in person and not step.prompt.answerable_from_ms)
            if heard_it:
                event = Played("", step.prompt.duration_ms)
        elif isinstance(step, WaitKey):
            event = at_wait
        else:
            event = Done()
    raise AssertionError("it never ends")


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_with_everybody(mode: str, person: str) -> None:
    *steps, last = live_through(script(mode), person)
    assert isinstance(last, Decide)
    assert (last.outcome, last.reason) == EXPECTED[mode][person]
    assert last.purposes == (("quality",) if last.outcome in PERMITTING else ())
    if SORTS[mode]:
        assert [type(s) for s in steps[:4]] == [Answer, DiscardKeys, Ask, Play]
    else:
        assert steps == [], "nothing is answered, asked or played"


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("mode", MODES)
def test_gone_or_broken_at_every_step(mode: str, person: str) -> None:
    whole = list(live_through(script(mode), person))
    for number, step in enumerate(whole[:-1]):
        gone = list(live_through(script(mode), person, breaks_at=number, with_event=HungUp(1000)))[-1]
        broken = list(live_through(script(mode), person, breaks_at=number, with_event=Failed("prompt.missing")))[-1]
        assert isinstance(gone, Decide)
        assert isinstance(broken, Decide)
        assert (gone.outcome, gone.reason) == ("abandoned", "hangup"), step
        assert (broken.outcome, broken.reason) == ("unavailable", "prompt.missing"), step
        assert gone.purposes == broken.purposes == ()


@pytest.mark.parametrize("mode", [mode for mode, sort in SORTS.items() if sort])
def test_without_barge_in_every_mode_still_listens(mode: str) -> None:
    """A prompt that takes no key is followed by a time to press one, so that an objection is always possible."""
    deaf = replace(script(mode), barge_in=False)
    *_, silent = live_through(deaf, "is silent")
    *steps, said_no = live_through(deaf, "objects after it")
    assert isinstance(silent, Decide)
    assert isinstance(said_no, Decide)
    assert silent.outcome == EXPECTED[mode]["is silent"][0]
    assert said_no.outcome == {"opt_in": "refused", "prior": "withdrawn"}.get(mode, "objected")
    first_wait = next(n for n, s in enumerate(steps) if isinstance(s, WaitKey))
    assert isinstance(steps[first_wait - 1], DiscardKeys)


def test_a_hammered_reminder_still_listens_and_an_unclear_answer_is_not_recorded() -> None:
    talk = Conversation(script("prior"))
    event: Event = Started()
    for _ in range(4):
        step = talk.advance(event)
        event = Done()
    for number in range(MAX_EARLY_KEYS):
        step = talk.advance(Played("7", 10 * number))
        assert isinstance(step, Play)
    assert step.keys == ""
    assert isinstance(talk.advance(Played("", 7000)), DiscardKeys)
    assert isinstance(talk.advance(Done()), WaitKey)
    assert isinstance(talk.advance(Keyed("5")), Play)
    assert isinstance(talk.advance(Played("", 7000)), DiscardKeys | Decide)


def test_prior_without_anything_on_file_never_permits() -> None:
    for on_file in (None, OnFile("withdrawn", 3), OnFile("notified", 4)):
        [only] = live_through(replace(script("prior"), on_file=on_file), "agrees")
        assert isinstance(only, Decide)
        assert (only.outcome, only.reason) == ("unavailable", "consent.not_on_file")


def test_prior_is_silent_only_when_told_so() -> None:
    [only] = live_through(replace(script("prior"), silent=True), "agrees")
    assert isinstance(only, Decide)
    assert (only.outcome, only.reason, only.reference, only.heard) == ("given", "on_file", 41, ())


@pytest.mark.parametrize("outcome", ["refused", "objected"])
@pytest.mark.parametrize("mode", [mode for mode, sort in SORTS.items() if sort])
def test_a_remembered_no_is_not_asked_again(mode: str, outcome: str) -> None:
    [only] = live_through(replace(script(mode), on_file=OnFile(outcome, 7)), "agrees")
    assert isinstance(only, Decide)
    assert (only.outcome, only.reason, only.reference) == (outcome, "on_file", 7)


def test_an_obligation_says_its_notice_once_the_recording_runs() -> None:
    [only] = live_through(script("obligation"), "is silent")
    assert isinstance(only, Decide)
    assert only.say_after == ASK
    [mute] = live_through(Script("obligation", purposes=("evidence",)), "is silent")
    assert isinstance(mute, Decide)
    assert mute.say_after is None


FURTHER = replace(
    script("opt_in"), further=(Further(("training",), TRAINING), Further(("research",), TRAINING, None, "3"))
)


@pytest.mark.parametrize(
    ("first", "second", "third", "granted"),
    [
        ("1", "1", "3", ("quality", "training", "research")),
        ("1", "1", "1", ("quality", "training")),
        ("1", "2", "3", ("quality", "research")),
        ("1", "", "", ("quality",)),
        ("2", None, None, ()),
    ],
)
def test_one_key_grants_one_group_of_purposes(
    first: str, second: str | None, third: str | None, granted: tuple[str, ...]
) -> None:
    keys = {ASK: first, AGAIN: first, TRAINING: second}
    talk = Conversation(FURTHER)
    event: Event = Started()
    asked: list[PromptFacts] = []
    while not isinstance(step := talk.advance(event), Decide):
        event = Done()
        if isinstance(step, Ask):
            asked.append(step.prompt)
            if asked.count(TRAINING) == 2:
                keys[TRAINING] = third
        if isinstance(step, Play):
            event = Played("", step.prompt.duration_ms)
            playing = step.prompt
        if isinstance(step, WaitKey):
            event = Keyed(keys[playing] or "")
    assert step.purposes == granted
    assert step.outcome == ("given" if first == "1" else "refused")
    assert [f.granted for f in step.further] == [p in granted for p in ("training", "research")][: len(step.further)]
    assert step.tries == (1 if first == "1" else 2), "only the first question's answers are counted"


def test_a_further_question_that_cannot_be_asked_takes_nothing_away_but_a_lost_line_does() -> None:
    def at_training(what: Event) -> Decide:
        talk = Conversation(replace(FURTHER, further=FURTHER.further[:1]))
        event: Event = Started()
        while not isinstance(step := talk.advance(event), Decide):
            event = Done()
            if isinstance(step, Play):
                event = Played("1", 5000) if step.prompt == ASK else what
        return step

    missing = at_training(Failed("prompt.changed"))
    assert (missing.outcome, missing.purposes) == ("given", ("quality",))
    assert missing.further[0].reason == "prompt.changed"
    cut = at_training(Played("", 200))
    assert (cut.outcome, cut.further[0].reason) == ("given", "prompt.not_played")
    lost, gone = at_training(Failed("agi.lost")), at_training(HungUp(300))
    assert (lost.outcome, lost.purposes) == ("unavailable", ())
    assert (gone.outcome, gone.purposes) == ("abandoned", ())


@pytest.mark.parametrize(("key", "spoken"), [("2", "cs"), ("1", "en"), ("", "en"), ("9", "en")])
def test_a_language_is_chosen_by_key_and_choosing_consents_to_nothing(key: str, spoken: str) -> None:
    czech = replace(script("opt_in"), ask=replace(ASK, language="cs"), ask_again=replace(AGAIN, language="cs"))
    by_key = (("1", script("opt_in")), ("2", czech))
    talk = Conversation(replace(script("opt_in"), choice=Choice((ENGLISH, CZECH), by_key)))
    event: Event = Started()
    played: list[PromptFacts] = []
    while not isinstance(step := talk.advance(event), Decide):
        event = Done()
        if isinstance(step, Play):
            played.append(step.prompt)
            event = Played("", step.prompt.duration_ms)
            if step.prompt == CZECH and key:
                event = Played(key, 1400)
        elif isinstance(step, WaitKey):
            event = Keyed("")
    assert played[:3] == [ENGLISH, CZECH, replace(ASK, language=spoken)]
    assert (step.outcome, step.reason, step.language, step.keys_pressed) == ("refused", "silence", spoken, "")
