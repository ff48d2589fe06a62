"""Recipients that change with the month: what a month's recipient opens can be put beyond everybody's reach by destroying
one identity. Pure.

A policy with `epochs = "monthly"` seals each recording to the keys of the month it begins in (UTC) and to those in
`recipients`. Whoever holds one of the latter opens every month, so a policy whose months are to end for good leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

from edge.consent.jurisdiction import Alarm
from edge.consent.policy import Policy
from edge.consent.policy_rules import Problem

#: How long before the month begins its missing key is alarmed, days.
AHEAD_DAYS: Final = 14
_MONTH: Final = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])", re.ASCII)


def month_of(day: date) -> str:
    """The epoch of a day in UTC, "2026-11"."""
    return f"{day.year:04d}-{day.month:02d}"


def keys_of(policy: Policy, month: str) -> tuple[str, ...]:
    """The public keys of a month; several are parted by spaces. Empty where it has none."""
    return tuple(policy.epoch_keys.get(month, "").split())


def recipients_on(policy: Policy, day: date) -> tuple[str, ...]:
    """Who can open what is recorded on this day (UTC) under the policy: the month's keys first, then `recipients`."""
    return (*keys_of(policy, month_of(day)), *policy.recipients) if policy.epochs else policy.recipients


def named_by(policy: Policy) -> frozenset[str]:
    """Everybody the policy names, in whatever month."""
    return frozenset((*policy.recipients, *(key for keys in policy.epoch_keys.values() for key in keys.split())))


def lacks_key(policy: Policy, day: date) -> bool:
    """Whether nothing may be recorded on this day for want of the month's key."""
    return bool(policy.epochs) and policy.mode != "never" and not keys_of(policy, month_of(day))


def problems(policy: Policy, today: date) -> Iterator[Problem]:
    """Months that are none, keys without epochs, and a present month without a key."""
    for month in policy.epoch_keys:
        if not _MONTH.fullmatch(month):
            yield Problem(f"epoch_keys.{month}", "policy.bad_month", f"{month!r} is no month", 'for example "2026-11"')
    if policy.epoch_keys and not policy.epochs:
        hint = 'epochs = "monthly", or remove epoch_keys'
        yield Problem("epoch_keys", "policy.epochs", "there are keys by month, but no epochs", hint)
    if lacks_key(policy, today):
        message = f'policy "{policy.name}" has no key for {month_of(today)}'
        hint = f"callwarden key rotate --policy {policy.name} --month {month_of(today)} -o FILE makes one"
        yield Problem("epoch_keys", "recipient.epoch_missing", message, hint)


def alarms(policies: Mapping[str, Policy], today: date) -> list[Alarm]:
    """Policies whose month has no key, or whose next month begins within 14 days and has none."""
    soon, found = today + timedelta(days=AHEAD_DAYS), []
    for policy in policies.values():
        if lacks_key(policy, today):
            message = f'policy "{policy.name}" has no key for {month_of(today)}: nothing is recorded'
            found.append(Alarm(policy.name, "recipient.epoch_missing", message))
        elif lacks_key(policy, soon):
            message = f'policy "{policy.name}" has no key for {month_of(soon)} yet: from the 1st nothing is recorded'
            found.append(Alarm(policy.name, "recipient.epoch_ends", message))
    return found
