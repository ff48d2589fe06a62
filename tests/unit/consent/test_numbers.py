"""Numbers in any spelling are one number; what is no number is none."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.consent.numbers import class_of, comparable, country_of, e164, is_listed, is_never, is_trunk, same

CZECH = "+420555100200"
GERMAN = "+493023125000"


@pytest.mark.parametrize(
    ("heard", "country", "number"),
    [
        ("+420555100200", "CZ", CZECH),
        ("+420 555 100 200", "DE", CZECH),
        ("+420-555-100-200", "", CZECH),
        ("00420555100200", "CZ", CZECH),
        ("00420 555 100 200", "DE", CZECH),
        ("011420555100200", "US", CZECH),
        ("555100200", "CZ", CZECH),
        (" 555 100 200 ", "CZ", CZECH),
        ("420555100200", "CZ", CZECH),
        ("tel:+420555100200", "CZ", CZECH),
        ("+49 (0)30 23125000", "CZ", GERMAN),
        ("0049 (0) 30 23125000", "CZ", GERMAN),
        ("(0)30 23125000", "DE", GERMAN),
        ("030/23125-000", "DE", GERMAN),
        ("+44 121 496 0000", "", "+441214960000"),
        ("0121 496 0000", "GB", "+441214960000"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("06 1234 5678", "IT", "+390612345678"),
    ],
)
def test_every_spelling_of_a_number(heard: str, country: str, number: str) -> None:
    assert e164(heard, country) == number


@pytest.mark.parametrize(
    "heard",
    [
        "", " ", "1001", "112", "alice", "anonymous", "+", "00", "+420", "555100200; DROP", "555100200,b", "+420555100200x1",
        "\u0665\u0665\u0665100200", "5" * 65, "+" + "9" * 20, "sip:alice@example.org", "555100200\n", "${SHELL(id)}", "((((",
    ],
)  # fmt: skip
def test_what_is_no_number(heard: str) -> None:
    assert e164(heard.replace("\n", "\x00"), "CZ") is None


def test_a_national_spelling_needs_its_country() -> None:
    assert e164("555100200", "") is None
    assert e164("030 23125000", "CZ") is None


@given(st.text(max_size=80), st.sampled_from(["", "CZ", "DE", "US", "XX", "IT"]))
def test_whatever_is_heard_gives_a_number_or_none(heard: str, country: str) -> None:
    number = e164(heard, country)
    assert number is None or (
        number.startswith("+") and number[1:].isdigit() and number.isascii() and len(number) <= 16
    )
    assert class_of(heard, country) in ("plain", "withheld", "invalid", "shared")


@given(st.integers(601_000_000, 608_999_999), st.sampled_from(["+420{}", "00420{}", "420{}", "{}", "+420 {} "]))
def test_a_number_is_the_same_however_a_trunk_writes_it(number: int, spelling: str) -> None:
    assert e164(spelling.format(number), "CZ") == f"+420{number}"


@pytest.mark.parametrize(("number", "country"), [(CZECH, "CZ"), (GERMAN, "DE"), ("+80012345678", ""), ("nobody", "")])
def test_country(number: str, country: str) -> None:
    assert country_of(number) == country


@pytest.mark.parametrize(
    ("heard", "kind"),
    [
        (CZECH, "plain"), ("Anonymous", "withheld"), ("", "withheld"), ("unknown", "withheld"), ("1001", "invalid"),
        ("800 123 456", "shared"), ("+80012345678", "shared"), ("00420 555 100 300", "shared"), ("alice", "invalid"),
    ],
)  # fmt: skip
def test_class(heard: str, kind: str) -> None:
    assert class_of(heard, "CZ", shared=["555 100 300"]) == kind


def test_same_number_and_same_extension() -> None:
    spellings = ["+420 555 100 200", "00420555100200", "555100200", "420555100200"]
    for one, other in itertools.product(spellings, spellings):
        assert same(one, other, "CZ")
    assert same("1001", "1001", "CZ")
    assert not same("1001", "1002", "CZ")
    assert not same("", "", "CZ")
    assert same("420555100200", CZECH, "DE"), "digit for digit, though it could be a German number"
    assert comparable("+420 555 100 200", "") == CZECH


def test_numbers_that_are_never_recorded() -> None:
    never = ["+420 555 100 900", "1090"]
    assert is_never(["608000001", "00420555100900"], never, "CZ")
    assert is_never(["1090"], never, "CZ")
    assert not is_never(["608000001", "555100901"], never, "CZ")
    assert not is_never(["anonymous", ""], ["nonsense", ""], "CZ"), "no digits are never equal to no digits"
    assert not is_listed("", [""], "CZ")


@pytest.mark.parametrize(
    ("channel", "yes"),
    [
        ("PJSIP/trunk-0000002a", True), ("pjsip/TRUNK-0000002a", True), ("PJSIP/trunk2-0000002a", False),
        ("PJSIP/my-trunk-00000001", True), ("PJSIP/trunk", False), ("Local/x@trunk-00000001;1", False), ("", False),
    ],
)  # fmt: skip
def test_trunk(channel: str, yes: bool) -> None:
    assert is_trunk(channel, ["PJSIP/trunk", "PJSIP/my-trunk"]) is yes
