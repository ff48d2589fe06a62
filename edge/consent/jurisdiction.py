"""Mode, legal basis and the law of a country: what fits together. Pure: a table's text and a policy in, findings out.

The table is data that the operator may replace (`jurisdictions.toml` beside this file is the shipped one, with what its
keys mean). It only says which modes are too weak; whether a recording is lawful stays the operator's question.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Final, get_args

from edge.consent.policy import Basis, Policy
from edge.consent.policy_rules import Problem

#: Every mode by the strength of the act it asks for. `obligation` rests on a statute and `never` records nothing.
_STRENGTH: Final[Mapping[str, int]] = MappingProxyType(
    {"notice": 1, "opt_out": 2, "opt_in": 3, "manual": 3, "prior": 3, "obligation": 4, "never": 4}
)
#: The words a minimum may have.
LADDER: Final = ("notice", "opt_out", "opt_in")
COUNTRY: Final = re.compile(r"[A-Z]{2}")
UNKNOWN: Final = "unknown"


class WrongTable(ValueError):
    """A table that cannot be used: `key` is the path of what is wrong."""

    def __init__(self, key: tuple[str, ...], message: str, hint: str) -> None:
        super().__init__(message)
        self.key = key
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Rule:
    """One country. `minimum_for`: by legal basis, where it differs from `minimum`."""

    country: str
    minimum: str
    minimum_for: Mapping[str, str]
    silent_prior: bool
    why: str

    def least(self, basis: str) -> str:
        """The weakest mode on this basis."""
        return self.minimum_for.get(basis, self.minimum)


@dataclass(frozen=True, slots=True)
class Table:
    """All rules, and the day they were read."""

    as_of: date
    rules: Mapping[str, Rule]

    def rule(self, country: str) -> Rule:
        """The country's rule, or that of the unknown."""
        return self.rules.get(country) or self.rules[UNKNOWN]


#: The table that knows no country: nothing weaker than a yes.
STRICTEST: Final = Table(
    date(2026, 11, 1),
    MappingProxyType({UNKNOWN: Rule(UNKNOWN, "opt_in", MappingProxyType({}), False, "only a yes is safe")}),
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that stands until somebody ends it."""

    policy: str
    code: str
    message: str


def parse(text: str) -> Table:
    """Read a table. Raises WrongTable, and tomllib.TOMLDecodeError for a text that is no TOML."""
    tree = tomllib.loads(text)
    as_of = tree.pop("as_of", None)
    if type(as_of) is not date:
        raise WrongTable(("as_of",), "the table does not say its day", "as_of = 2026-11-01, without quotes")
    rules = {name: _rule(name, table) for name, table in tree.items()}
    if UNKNOWN not in rules:
        raise WrongTable((), "there is no [unknown] table", "it is the rule for countries that are not listed")
    return Table(as_of, MappingProxyType(rules))


def _rule(name: str, table: Any) -> Rule:
    if name != UNKNOWN and not COUNTRY.fullmatch(name):
        raise WrongTable((name,), f"{name!r} is not a country", "two capital letters, as in ISO 3166: [DE]")
    if not isinstance(table, dict):
        raise WrongTable((name,), f"{name} must be a table", f"write [{name}]")
    known = {"minimum", "minimum_for", "silent_prior", "why"}
    for key in table:
        if key not in known:
            raise WrongTable(
                (name, key), f"there is no setting {name}.{key}", f"known here: {', '.join(sorted(known))}"
            )
    least, by_basis = table.get("minimum"), table.get("minimum_for", {})
    words = " or ".join(f'"{word}"' for word in LADDER)
    if least not in LADDER:
        raise WrongTable((name, "minimum"), f"{name} has no minimum mode", f"minimum is {words}")
    if not isinstance(by_basis, dict) or not all(b in get_args(Basis) and m in LADDER for b, m in by_basis.items()):
        raise WrongTable((name, "minimum_for"), f"{name}.minimum_for is not understood", f"legal bases with {words}")
    silent, why = table.get("silent_prior", False), table.get("why", "")
    if not isinstance(silent, bool):
        raise WrongTable((name, "silent_prior"), "silent_prior is true or false", "silent_prior = false")
    if not isinstance(why, str) or not why:
        raise WrongTable((name, "why"), f"{name} does not say why", "name the rule behind it")
    return Rule(name, least, MappingProxyType(dict(by_basis)), silent, why)


def weaker(policy: Policy, table: Table) -> bool:
    """Whether the policy's mode is weaker than the least its jurisdiction asks for."""
    return _STRENGTH[policy.mode] < _STRENGTH[table.rule(policy.jurisdiction).least(policy.basis)]


def problems(policy: Policy, table: Table, today: date) -> Iterator[Problem]:
    """What the policy's jurisdiction does not allow, and an override that has run out. `today`: a day in UTC."""
    country = policy.jurisdiction
    if country and not COUNTRY.fullmatch(country):
        hint = 'two capital letters, for example "CZ"'
        yield Problem("jurisdiction", "policy.jurisdiction", f"{country!r} is not a country", hint)
        return
    if not weaker(policy, table):
        return
    if policy.override is None:
        yield _too_weak(policy, table)
    elif policy.override.until.as_date < today:
        message = f"the override by {policy.override.who} ran out on {policy.override.until}"
        hint = f'decide anew: extend override.until, or use mode "{table.rule(country).least(policy.basis)}"'
        yield Problem("override.until", "policy.override_expired", message, hint)


def _too_weak(policy: Policy, table: Table) -> Problem:
    country = policy.jurisdiction
    least = table.rule(country).least(policy.basis)
    if not country:
        where, hint = "where the jurisdiction is not known", 'name it (jurisdiction = "CZ") or '
    elif country not in table.rules:
        where, hint = (
            f"in {country}, which the table of jurisdictions does not list",
            "add the country to the table, or ",
        )
    else:
        where, hint = f"in {country} on basis {policy.basis}", ""
    message = f'mode "{policy.mode}" is weaker than "{least}", the least {where}'
    return Problem("mode", "policy.too_weak", message, f'{hint}use mode "{least}", or answer for it with override')


def may_be_silent(policy: Policy, table: Table) -> bool:
    """Mode "prior": whether a verified caller with a consent on file may be recorded without hearing the reminder."""
    return policy.mode == "prior" and table.rule(policy.jurisdiction).silent_prior


def lapsed(policy: Policy, table: Table, today: date) -> bool:
    """Whether the policy stood on an override that has run out since it was loaded: it must record nothing."""
    return weaker(policy, table) and (policy.override is None or policy.override.until.as_date < today)


def standing_alarms(policies: Mapping[str, Policy], table: Table, today: date) -> list[Alarm]:
    """Every override that is in force or has run out, for as long as it is configured."""
    found = []
    for policy in policies.values():
        if policy.override is None or not weaker(policy, table):
            continue
        least = table.rule(policy.jurisdiction).least(policy.basis)
        text = f'policy "{policy.name}" ({policy.mode}) is weaker than "{least}"'
        if lapsed(policy, table, today):
            end = (
                f"{text}; the override by {policy.override.who} ran out on {policy.override.until}: nothing is recorded"
            )
            found.append(Alarm(policy.name, "policy.override_expired", end))
        else:
            by = f"{text}; {policy.override.who} answers for it until {policy.override.until}: {policy.override.why}"
            found.append(Alarm(policy.name, "policy.override", by))
    return found
