"""Emergency numbers: each country's, behind each prefix, and nothing that only looks like one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from edge.consent.emergency import is_emergency

#: By hand, from each country's own numbering plan: police, fire, ambulance and what else is dialled in need.
BY_HAND = {
    "AT": "112 122 133 144 140", "AU": "000 112 106", "BE": "112 100 101", "BR": "190 192 193", "CA": "911",
    "CH": "112 117 118 144", "CZ": "112 150 155 156 158", "DE": "110 112", "DK": "112", "EE": "112", "ES": "112 061 091",
    "FI": "112", "FR": "112 15 17 18 114", "GB": "112 999", "GR": "112 100 166 199", "HU": "112 104 105 107",
    "IE": "112 999", "IN": "112 100 101", "IT": "112 113 115 118", "JP": "110 119", "LT": "112", "LU": "112",
    "LV": "112", "NL": "112", "NO": "112 110 113", "NZ": "111", "PL": "112 997 998 999", "PT": "112", "RO": "112",
    "SE": "112", "SI": "112 113", "SK": "112 150 155 158 159", "US": "911 988",
}  # fmt: skip
PREFIXES = ("9", "0", "00", "*7")
ROWS = [(country, number) for country, numbers in BY_HAND.items() for number in numbers.split()]
REGIONS = sorted({region for regions in COUNTRY_CODE_TO_REGION_CODE.values() for region in regions if region.isalpha()})


@pytest.mark.parametrize(("country", "number"), ROWS)
def test_every_number_behind_every_prefix(country: str, number: str) -> None:
    for prefix in ("", *PREFIXES):
        assert is_emergency(prefix + number, country, PREFIXES)
    assert is_emergency(f" {number[0]} {number[1:]} ", country)


@pytest.mark.parametrize(("country", "number"), ROWS)
def test_without_the_prefix_in_the_list_it_is_another_number(country: str, number: str) -> None:
    assert not is_emergency(f"8{number}", country, PREFIXES) or f"8{number}" in BY_HAND[country]
    assert not is_emergency(f"{number}0", country, ()), "only the whole number counts"


def test_112_and_911_everywhere_and_with_no_country() -> None:
    for country, number in itertools.product([*REGIONS, "", "XX"], ("112", "911", "+112", "9112", "0911")):
        assert is_emergency(number, country, PREFIXES), (country, number)


@pytest.mark.parametrize(
    "dialled", ["", " ", "1001", "1120", "1", "anonymous", "+420555100112", "s", "11", "٠١١٢", "112x"]
)
def test_what_is_not_one(dialled: str) -> None:
    assert not is_emergency(dialled, "CZ", PREFIXES)


def test_one_countrys_number_is_anothers_extension() -> None:
    assert is_emergency("150", "CZ")
    assert not is_emergency("150", "DE")


def test_the_operators_own_numbers() -> None:
    assert is_emergency("116 111", "CZ", PREFIXES, ["116111"])
    assert is_emergency("9116111", "CZ", PREFIXES, ["116 111"])
    assert not is_emergency("116112", "CZ", PREFIXES, ["116111"])
    assert not is_emergency("", "CZ", PREFIXES, ["", " "])


@given(st.text(max_size=40), st.sampled_from(["", "CZ", "US", "not a country"]))
def test_whatever_is_dialled_gets_an_answer(dialled: str, country: str) -> None:
    assert is_emergency(dialled, country, PREFIXES, ["8888"]) in (True, False)
