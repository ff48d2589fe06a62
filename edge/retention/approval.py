"""Terms that somebody approved, and what in newer ones is shorter. Pure.

Terms of a scope: a policy's own (`Retention`, None where the policy is gone) under the house's. New terms that are nowhere
shorter than the approved ones need nobody; what got shorter destroys things that were promised to stay, so somebody looks
at `callwarden retention plan` first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from edge.consent.retention import OF_HOUSE, OF_POLICY, Bounds, House, Retention
from edge.consent.units import Period

#: A length longer than any, for a maximum that nobody named.
_NEVER = Period("P100Y")


@dataclass(frozen=True, slots=True)
class Terms:
    """What counts for one scope. policy: of a policy's name; None for the scope "" and for a policy that is gone."""

    policy: Retention | None
    house: House

    @property
    def text(self) -> str:
        """As the journal keeps it."""
        policy = None if self.policy is None else msgspec.to_builtins(self.policy, enc_hook=_plain)
        house = msgspec.to_builtins(self.house, enc_hook=_plain)
        return json.dumps({"policy": policy, "house": house}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Approval:
    """terms: what was approved, None where this version does not know them; last_call: seq of the newest call of then."""

    terms: Terms | None
    last_call: int


def of_text(text: str) -> Terms:
    """The terms whose `text` this is. Raises ValueError for what this version does not know."""
    try:
        value = json.loads(text)
        policy = value["policy"]
        return Terms(
            None if policy is None else msgspec.convert(policy, Retention, dec_hook=_read),
            msgspec.convert(value["house"], House, dec_hook=_read),
        )
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ValueError(f"not retention terms: {error}") from error


def shorter(approved: Terms | None, now: Terms, scope: str) -> tuple[str, ...]:
    """The settings by which something may go earlier than was approved, each as "name: then → now". Without an approval all
    of them, as "name: now"."""
    new = dict(_settings(now, scope))
    if approved is None:
        return tuple(f"{name}: {period}" for name, period in new.items() if period != _NEVER)
    old = dict(_settings(approved, scope))
    found = []
    for name in {**old, **new}:
        absent = Period("P0D") if _is_duty(name) else _NEVER
        before, after = old.get(name, absent), new.get(name, absent)
        if not _at_least(after, before):
            found.append(f"{name}: {'none' if before == _NEVER else before} → {after}")
    return tuple(found)


def approved_then(approvals: Sequence[Approval], before: int, recorded: Retention, scope: str) -> Terms | None:
    """What counts in place of the terms a call began under (`recorded`), because those are shorter than what was approved
    then, and nobody approved them since; None where the recorded ones count. `approvals`: in order, of its `scope`;
    `before`: how many of them there were when it began.

    A call of before the first approval was in the plan that was approved.
    """
    if not before:
        return None
    for one in approvals[before - 1 :]:
        if one.terms is not None and not shorter(one.terms, Terms(recorded, one.terms.house), scope):
            return None
    return approvals[before - 1].terms or Terms(None, House())


def _settings(terms: Terms, scope: str) -> Iterator[tuple[str, Period]]:
    """Every period that has a say, by the name of its setting; maxima and duties alike."""
    house = terms.house
    if not scope:
        for name in OF_HOUSE:
            yield f"[retention] {name}", getattr(house, name)
        return
    if terms.policy is not None:
        for name in (*OF_POLICY, "minimum"):
            yield name, getattr(terms.policy, name)
        for table, bounds in (("purposes", terms.policy.purposes), ("outcomes", terms.policy.outcomes)):
            for word, bound in bounds.items():
                yield f"{table}.{word}.minimum", bound.minimum
                yield f"{table}.{word}.maximum", bound.maximum or _NEVER
    for name in OF_POLICY:
        yield f"[retention] floor.{name}", getattr(house.floor, name) or Period("P0D")
        yield f"[retention] ceiling.{name}", getattr(house.ceiling, name) or _NEVER


def _is_duty(name: str) -> bool:
    return name.endswith("minimum") or " floor." in name


def _at_least(one: Period, other: Period) -> bool:
    """Whether `one` is as long as `other` from every day of every year."""
    (months, days), (other_months, other_days) = one.months_days, other.months_days
    if months >= other_months and days >= other_days:
        return True
    return months * 28 + days >= other_months * 31 + other_days


def _plain(value: object) -> object:
    if isinstance(value, Bounds):
        return value.plain
    if isinstance(value, Period):
        return str(value)
    raise TypeError(f"terms have no field of type {type(value).__name__}")


def _read(wanted: type, value: object) -> object:
    if wanted in (Period, Bounds):
        return wanted.parse(value)
    raise TypeError(f"terms have no field of type {wanted.__name__}")
