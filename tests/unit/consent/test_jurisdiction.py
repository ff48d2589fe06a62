"""Mode x basis x jurisdiction: what the table refuses, what an override buys, and the shipped table itself."""

from __future__ import annotations

import itertools
import tomllib
from datetime import date
from typing import get_args

import msgspec
import pytest

from edge.config.jurisdictions import SHIPPED, load_table
from edge.consent import policy_rules
from edge.consent.jurisdiction import (
    LADDER,
    STRICTEST,
    WrongTable,
    lapsed,
    may_be_silent,
    parse,
    problems,
    standing_alarms,
)
from edge.consent.policy import BASES_OF_MODE, Basis, Mode, Override, Policy, from_document
from edge.consent.units import Day, Period
from edge.errors import CallwardenError

TABLE = load_table(SHIPPED)
TODAY = date(2026, 11, 22)
OVERRIDE = Override(who="the data protection officer", why="DPIA 2026-10-01", until=Day("2026-12-31"))


def policy(mode: str, basis: str, country: str, **more: object) -> Policy:
    made = Policy(
        name="p", mode=mode, basis=basis, jurisdiction=country, basis_reference="assessment 2026-03-01",  # type: ignore[arg-type]
        purposes=("quality",), remember=Period("P30D"),
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def codes(made: Policy) -> list[str]:
    return [p.code for p in (*policy_rules.problems(made), *problems(made, TABLE, TODAY))]


#: The whole matrix by hand: the weakest mode that passes on a basis that fits it, by country.
LEAST = {
    "": "opt_in", "DE": "opt_in", "AT": "opt_in", "US": "opt_in", "HU": "opt_in", "CZ": "notice", "GB": "notice",
    "IE": "notice", "NL": "notice", "ES": "notice", "FR": "opt_out", "PL": "opt_out", "SK": "opt_out",
}  # fmt: skip
STRENGTH = {"notice": 1, "opt_out": 2, "opt_in": 3, "manual": 3, "prior": 3, "obligation": 9, "never": 9}


@pytest.mark.parametrize(("mode", "country"), list(itertools.product(get_args(Mode), LEAST)))
def test_the_matrix(mode: str, country: str) -> None:
    for basis in get_args(Basis):
        expected = set()
        if basis not in BASES_OF_MODE[mode]:
            expected.add("policy.basis")
        least = LEAST[country]
        if country in ("PL", "SK") and basis != "legitimate_interests":
            least = "notice"
        if country == "FR" and basis == "contract":
            least = "notice"
        if STRENGTH[mode] < STRENGTH[least]:
            expected.add("policy.too_weak")
        assert set(codes(policy(mode, basis, country))) == expected, (mode, basis, country)


def test_the_error_says_what_to_do() -> None:
    for country, words in (("", "jurisdiction ="), ("HU", "add the country to the table"), ("DE", 'use mode "opt_in"')):
        (problem,) = problems(policy("notice", "legitimate_interests", country), TABLE, TODAY)
        assert problem.key == "mode"
        assert words in problem.hint
        assert "override" in problem.hint
    (problem,) = problems(policy("opt_in", "consent", "de"), TABLE, TODAY)
    assert (problem.code, problem.key) == ("policy.jurisdiction", "jurisdiction")


def test_an_override_is_an_alarm_while_it_stands_and_an_error_after() -> None:
    weak = policy("notice", "legitimate_interests", "DE", override=OVERRIDE)
    assert codes(weak) == []
    (alarm,) = standing_alarms({"p": weak}, TABLE, date(2026, 12, 31))
    assert alarm.code == "policy.override"
    assert all(
        words in alarm.message for words in ("data protection officer", "2026-12-31", "DPIA 2026-10-01", "opt_in")
    )
    assert not lapsed(weak, TABLE, date(2026, 12, 31)), "the last day still counts"
    after = date(2027, 1, 1)
    assert lapsed(weak, TABLE, after)
    assert [p.code for p in problems(weak, TABLE, after)] == ["policy.override_expired"]
    assert [a.code for a in standing_alarms({"p": weak}, TABLE, after)] == ["policy.override_expired"]


def test_an_override_that_is_not_needed_is_no_alarm() -> None:
    strong = policy("opt_in", "consent", "DE", override=OVERRIDE)
    assert codes(strong) == []
    assert standing_alarms({"p": strong}, TABLE, TODAY) == []
    assert not lapsed(strong, TABLE, date(2030, 1, 1))


def test_silence_on_the_strength_of_a_consent_on_file() -> None:
    allowed = {c for c in TABLE.rules if may_be_silent(policy("prior", "consent", c), TABLE)}
    assert allowed == {"CZ", "NL"}
    assert not may_be_silent(policy("prior", "consent", ""), TABLE)
    assert not may_be_silent(policy("opt_in", "consent", "CZ"), TABLE)
    assert not may_be_silent(policy("prior", "consent", "CZ"), STRICTEST)


def test_shipped_table() -> None:
    assert set(TABLE.rules) >= {"unknown", "CZ", "SK", "DE", "AT", "FR", "ES", "PL", "GB", "US", "IE", "NL"}
    assert TABLE.rules["unknown"].minimum == TABLE.rules["DE"].minimum == "opt_in"
    assert all(rule.minimum in LADDER and rule.why for rule in TABLE.rules.values())
    text = SHIPPED.read_text()
    assert "NOT LEGAL ADVICE" in text
    assert "[edge] jurisdictions" in text, "it says how to put another in its place"
    assert not any(rule.silent_prior for rule in TABLE.rules.values() if rule.minimum == "opt_in")


def test_override_is_part_of_the_version() -> None:
    weak = policy("notice", "legitimate_interests", "DE", override=OVERRIDE)
    assert weak.version != msgspec.structs.replace(weak, override=None).version
    assert from_document(weak.document) == weak


GOOD = 'as_of = 2026-11-01\n[unknown]\nminimum = "opt_in"\nwhy = "x"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "does not say its day"),
        ('as_of = "2026-11-01"\n', 1, "does not say its day"),
        ("as_of = 2026-11-01\n", None, "no [unknown]"),
        (GOOD + "[de]\n", 5, "not a country"),
        (GOOD + "DE = 1\n", 5, "no setting unknown.DE"),
        (GOOD + '[DE]\nminimum = "silence"\n', 6, "no minimum mode"),
        (GOOD + '[DE]\nminimum = "opt_in"\n', 5, "does not say why"),
        (GOOD + '[DE]\nminimum = "opt_in"\nminimun = "x"\n', 7, "no setting"),
        (GOOD + '[DE]\nminimum = "opt_in"\nwhy = "x"\nsilent_prior = "no"\n', 8, "true or false"),
        (GOOD + '[DE]\nminimum = "opt_in"\nwhy = "x"\nminimum_for = { greed = "notice" }\n', 8, "not understood"),
        (GOOD + "[DE\n", 5, "not TOML"),
    ],
)
def test_a_wrong_table_is_refused_where_it_is_wrong(tmp_path, text: str, line: int | None, words: str) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "law.toml"
    file.write_text(text)
    with pytest.raises(CallwardenError) as caught:
        load_table(file)
    assert caught.value.where == (f"{file}:{line}" if line else str(file))
    assert words in caught.value.message
    assert caught.value.hint
    with pytest.raises((WrongTable, tomllib.TOMLDecodeError)):
        parse(text)


def test_a_table_of_ones_own() -> None:
    table = parse(GOOD + '[DE]\nminimum = "notice"\nwhy = "our counsel, 2026-11-02"\n')
    assert list(problems(policy("notice", "contract", "DE"), table, TODAY)) == []
