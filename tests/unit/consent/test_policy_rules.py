"""What a policy may say: every bound, every word, and what goes with what."""

from __future__ import annotations

import msgspec
import pytest

from edge.consent.policy import (
    PROMPT_OF_MODE,
    Capture,
    Choices,
    Match,
    Policy,
    Question,
    choose_language,
    from_document,
    required_sayings,
    select,
)
from edge.consent.policy_rules import overlaps, problems
from edge.consent.units import Day, Period, Seconds

ASK = Policy(name="support", mode="opt_in", purposes=("quality", "evidence"), languages=("en", "cs"))
PRIOR = msgspec.structs.replace(ASK, mode="prior", remember=Period("P30D"))
LAW = msgspec.structs.replace(ASK, mode="obligation", basis="legal_obligation", basis_reference="Act 256/2004, s. 17")


def found(policy: Policy, **changed: object) -> list[tuple[str, str]]:
    return [(p.key, p.code) for p in problems(msgspec.structs.replace(policy, **changed))]


def test_good_ones() -> None:
    assert [found(p) for p in (ASK, PRIOR, LAW)] == [[], [], []]


@pytest.mark.parametrize(
    ("policy", "changed", "key", "code"),
    [
        (ASK, {"capture": Capture(rate=16000)}, "capture.rate", "policy.capture"),
        (ASK, {"capture": Capture(codec="sln16", rate=8000)}, "capture.rate", "policy.capture"),
        (ASK, {"beep": Seconds(4)}, "beep", "policy.out_of_range"),
        (ASK, {"beep": Seconds(61)}, "beep", "policy.out_of_range"),
        (ASK, {"pause_limit": Seconds(0.5)}, "pause_limit", "policy.out_of_range"),
        (ASK, {"pause_limit": Seconds(90_000)}, "pause_limit", "policy.out_of_range"),
        (ASK, {"erase_after": Seconds(31 * 86_400)}, "erase_after", "policy.out_of_range"),
        (ASK, {"remember": Period("P3Y")}, "remember", "policy.out_of_range"),
        (ASK, {"objection_key": "12"}, "objection_key", "policy.bad_key"),
        (ASK, {"lamp": "a lamp"}, "lamp", "policy.bad_lamp"),
        (ASK, {"prompt": "none"}, "prompt", "policy.silent"),
        (ASK, {"prompt": "No!"}, "prompt", "policy.bad_prompt"),
        (LAW, {"prompt": "none"}, "prompt", "policy.silent"),
        (LAW, {"basis_reference": " "}, "basis_reference", "policy.basis_reference"),
        (LAW, {"further": (Question(purposes=("training",), prompt="ask_training"),)}, "further.0", "policy.further"),
        (ASK, {"further": (Question(purposes=(), prompt="ask_training"),)}, "further.0.purposes", "policy.no_purpose"),
        (
            ASK,
            {"further": (Question(purposes=("quality",), prompt="a"),)},
            "further.0.purposes.0",
            "policy.purpose_twice",
        ),
        (ASK, {"further": (Question(purposes=("T",), prompt="a"),)}, "further.0.purposes.0", "policy.bad_purpose"),
        (ASK, {"further": (Question(purposes=("t",), prompt="A"),)}, "further.0.prompt", "policy.bad_prompt"),
        (ASK, {"further": (Question(purposes=("t",), prompt="a", yes_key=""),)}, "further.0.yes_key", "policy.bad_key"),
        (ASK, {"language_did": Choices({"1": "de"})}, "language_did.1", "policy.bad_language"),
        (ASK, {"language_did": Choices({"x": "cs"})}, "language_did.x", "policy.bad_number"),
        (ASK, {"language_choice": Choices({"1": "de"})}, "language_choice.1", "policy.bad_language"),
        (ASK, {"language_choice": Choices({"12": "cs"})}, "language_choice.12", "policy.bad_key"),
        (PRIOR, {"remember": Period("P0D")}, "remember", "policy.remember"),
        (PRIOR, {"ask": "opt_out"}, "ask", "policy.basis"),
    ],
)
def test_bad_ones(policy: Policy, changed: dict[str, object], key: str, code: str) -> None:
    assert found(policy, **changed) == [(key, code)]


@pytest.mark.parametrize(
    "changed",
    [
        {"beep": Seconds(15)}, {"pause_limit": Seconds(0)}, {"erase_after": Seconds(0)}, {"remember": Period("P2Y")},
        {"lamp": "rec-1"}, {"language_did": Choices({"+420 555 100 200": "cs"})}, {"objection_key": "#"},
        {"language_choice": Choices({"1": "en", "2": "cs"})}, {"mode": "manual"},
        {"further": (Question(purposes=("training",), prompt="ask_training"),)},
    ],
)  # fmt: skip
def test_what_fits(changed: dict[str, object]) -> None:
    assert found(ASK, **changed) == []


@pytest.mark.parametrize(
    ("basis", "reference", "codes"),
    [
        ("legitimate_interests", "", ["policy.basis_reference"]),
        ("legitimate_interests", "our balancing test", ["policy.basis_reference"]),
        ("legitimate_interests", "balancing test of 2026-03-02", []),
        ("contract", "assessment 1 March 2026", []),
        ("public_task", "18999", ["policy.basis_reference"]),
    ],
)
def test_a_basis_of_ones_own_judgement_needs_a_dated_assessment(basis: str, reference: str, codes: list[str]) -> None:
    assert [c for _, c in found(ASK, mode="notice", basis=basis, basis_reference=reference)] == codes


def test_an_obligation_may_be_silent_when_a_text_tells_or_a_life_is_at_stake() -> None:
    assert found(LAW, prompt="none", text_notice="end") == []
    assert found(LAW, prompt="none", basis="vital_interests", basis_reference="control room") == []


def test_prompt_by_mode() -> None:
    for mode, prompt in PROMPT_OF_MODE.items():
        policy = msgspec.structs.replace(ASK, mode=mode)
        assert policy.prompt_id == prompt
        assert policy.speaks is (mode != "never")
    assert msgspec.structs.replace(ASK, prompt="own").prompt_id == "own"
    silent = msgspec.structs.replace(LAW, prompt="none")
    assert (silent.prompt_id, silent.speaks, required_sayings(silent)) == ("none", False, ())


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("opt_in", ("withdrawal", "key:1")),
        ("manual", ("withdrawal", "key:1")),
        ("opt_out", ("objection:2", "withdrawal")),
        ("notice", ("objection:2", "withdrawal")),
        ("prior", ("objection:2", "withdrawal")),
        ("obligation", ("legal",)),
    ],
)
def test_required_sayings(mode: str, said: tuple[str, ...]) -> None:
    policy = msgspec.structs.replace(ASK, mode=mode)
    assert required_sayings(policy) == ("recording", "purpose:quality", "purpose:evidence", *said)


def test_sayings_of_what_is_kept_besides_and_of_priors_question() -> None:
    assert required_sayings(msgspec.structs.replace(ASK, hold="record", wait="record"))[-2:] == ("hold", "wait")
    assert required_sayings(PRIOR, PRIOR.ask)[-1] == "key:1"


def test_every_purpose_once() -> None:
    more = (Question(purposes=("training", "research"), prompt="a"), Question(purposes=("research2",), prompt="b"))
    policy = msgspec.structs.replace(ASK, further=more)
    assert policy.every_purpose == ("quality", "evidence", "training", "research", "research2")


def test_a_document_becomes_the_same_policy_again() -> None:
    everything = msgspec.structs.replace(
        ASK,
        match=Match(did=("+420555100200",), queue=("q",)),
        further=(Question(purposes=("training",), prompt="ask_training", yes_key="3"),),
        language_did=Choices({"+420555100200": "cs"}),
        language_choice=Choices({"1": "en"}),
        beep=Seconds(7.5),
        erase_after=Seconds(0.25),
        remember=Period("P1M"),
        header=True,
    )
    again = from_document(everything.document)
    assert again == everything
    assert again.version == everything.version
    assert hash(again) == hash(everything)


def test_an_older_document_takes_defaults_for_what_it_lacks() -> None:
    assert from_document('{"name":"a","mode":"opt_in"}') == Policy(name="a", mode="opt_in")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name":"a"}', '{"name":"a","mode":"opt_in","later":1}', '{"name":"a","mode":"opt_in","beep":5}',
             '{"name":"a","mode":"opt_in","beep":{}}', '{"name":"a","mode":"opt_in","remember":"soon"}'],
)  # fmt: skip
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(ValueError, match="not a policy's document"):
        from_document(text)


def test_language_by_dialled_number_then_channel_then_first() -> None:
    policy = msgspec.structs.replace(ASK, language_did=Choices({"+420 555 100 200": "cs"}))
    assert choose_language(policy, "en", "00420555100200") == "cs"
    assert choose_language(policy, "en", "555100200", "CZ") == "cs"
    assert choose_language(policy, "cs_CZ", "555100300", "CZ") == "cs"
    assert choose_language(policy, "de", "", "CZ") == "en"


def test_select_knows_national_spellings() -> None:
    both = {
        "cz": msgspec.structs.replace(ASK, name="cz", match=Match(did=("+420 555 100 200",))),
        "ext": msgspec.structs.replace(ASK, name="ext", match=Match(did=("1001",))),
    }
    for dialled, country, name in (
        ("555100200", "CZ", "cz"), ("555100200", "DE", None), ("00420555100200", "DE", "cz"), ("420555100200", "DE", "cz"),
        ("1001", "CZ", "ext"), ("555100200", "", None),
    ):  # fmt: skip
        chosen = select(both, did=dialled, country=country)
        assert (chosen.name if chosen else None) == name, (dialled, country)


def test_overlaps_are_found_across_spellings() -> None:
    one = msgspec.structs.replace(ASK, name="one", match=Match(did=("+420 555 100 200",)))
    two = msgspec.structs.replace(ASK, name="two", match=Match(did=("1001", "555100200")))
    ((policy, problem),) = overlaps({"one": one, "two": two}, "CZ")
    assert (policy.name, problem.key, problem.code) == ("two", "match.did.1", "policy.overlap")
    assert list(overlaps({"one": one, "two": two}, "DE")) == []


@pytest.mark.parametrize("text", ["2026-11-31", "2026-1-1", "", 5, None, "20261101"])
def test_what_is_no_day(text: object) -> None:
    with pytest.raises(ValueError, match="expected a day"):
        Day.parse(text)


def test_a_table_of_text_is_a_value() -> None:
    one, same, other = Choices({"1": "en", "2": "cs"}), Choices({"2": "cs", "1": "en"}), Choices({"1": "en"})
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert list(one) == ["1", "2"], "in the order they were written"
    with pytest.raises(ValueError, match="a table of text"):
        Choices.parse({"1": 2})
