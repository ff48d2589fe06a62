"""Which policy a call is under, and in which language it is spoken to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edge.consent.numbers import comparable, digits, is_listed

if TYPE_CHECKING:
    from edge.consent.policy import Policy


def select(
    policies: Mapping[str, Policy],
    name: str = "",
    did: str = "",
    queue: str = "",
    context: str = "",
    *,
    country: str = "",
) -> Policy | None:
    """The policy a call is under, or None.

    A name given by the dialplan decides alone: one that is not configured gives None, never another policy. Without a
    name the number that was dialled is looked up, then the queue, then the context; the first that any policy lists
    wins (a value listed twice is refused at load, so there is one answer). `country`: where national spellings of
    numbers are at home.
    """
    if name:
        return policies.get(name)
    for wanted, field in ((did, "did"), (queue, "queue"), (context, "context")):
        if not wanted:
            continue
        for policy in policies.values():
            listed: Iterable[str] = getattr(policy.match, field)
            if is_listed(wanted, listed, country) if field == "did" else wanted in listed:
                return policy
    return None


def did_digits(number: str, country: str = "") -> str:
    """What a dialled number compares by: its E.164 form where it is a telephone number, else its bare digits."""
    return comparable(number, country) if country else digits(number)


def choose_language(policy: Policy, channel_language: str, dialled: str = "", country: str = "") -> str:
    """The language to speak: what `language_did` says of the number that was dialled, else the policy's language for
    the channel's ("cs", "cs_CZ", "en_US_f_Allison"), else its first one."""
    for number, language in policy.language_did.items():
        if dialled and is_listed(dialled, (number,), country):
            return language
    wanted = channel_language.replace("-", "_").lower()
    by_name = {language.replace("-", "_").lower(): language for language in policy.languages}
    while wanted:
        if wanted in by_name:
            return by_name[wanted]
        wanted = wanted.rpartition("_")[0]
    return policy.languages[0]
