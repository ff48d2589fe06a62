"""What in a policy does not fit together, found at load. Pure: values in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.consent.policy import BASES_OF_MODE, SUPPORTED, Policy, did_digits

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:[_-][A-Za-z0-9]{2,8})*")
PROMPT_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,62}")
KEYS = frozenset("0123456789*#")
#: Consent of a number nobody verified fades after this many days at most.
MAX_REMEMBER_DAYS = 30


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `key`: dotted path inside the policy's table ("capture.seal_every", "languages.0")."""

    key: str
    code: str
    message: str
    hint: str = ""


def problems(policy: Policy) -> Iterator[Problem]:
    """Everything wrong inside one policy, in the order a reader meets it. Recipients are judged by `edge.config`."""
    if not NAME.fullmatch(policy.name):
        yield Problem(
            "", "policy.bad_name", f"{policy.name!r} cannot be a policy's name", 'use letters, digits, "-" and "_"'
        )
    yield from _unsupported(policy)
    yield from _basis(policy)
    yield from _asking(policy)
    yield from _times(policy)


def _unsupported(policy: Policy) -> Iterator[Problem]:
    words = {
        "suite": policy.suite,
        "capture.rate": str(policy.capture.rate),
        "central.media": policy.central.media,
    }
    for key, word in words.items():
        able = SUPPORTED[key]
        if word not in able:
            can = ", ".join(f'"{w}"' for w in sorted(able))
            yield Problem(
                key,
                "policy.unsupported",
                f'{key} "{word}" is not yet supported by this version',
                f"this version does {can}",
            )


def _basis(policy: Policy) -> Iterator[Problem]:
    fitting = BASES_OF_MODE[policy.mode]
    if policy.basis not in fitting:
        can = ", ".join(f'"{b}"' for b in sorted(fitting))
        yield Problem(
            "basis",
            "policy.basis",
            f'mode "{policy.mode}" cannot stand on basis "{policy.basis}"',
            f"it stands on {can}",
        )
    elif policy.mode != "never" and policy.basis != "consent" and not policy.basis_reference:
        yield Problem(
            "basis_reference",
            "policy.basis_reference",
            f'basis "{policy.basis}" needs a reference',
            "name the assessment or the statute",
        )


def _asking(policy: Policy) -> Iterator[Problem]:
    if policy.mode == "never":
        return
    if not policy.purposes:
        yield Problem(
            "purposes", "policy.no_purpose", "a recording needs a purpose", 'for example purposes = ["quality"]'
        )
    for number, purpose in enumerate(policy.purposes):
        if not PURPOSE.fullmatch(purpose):
            yield Problem(
                f"purposes.{number}",
                "policy.bad_purpose",
                f"{purpose!r} cannot name a purpose",
                "use lower-case words joined by _",
            )
    if not policy.languages:
        yield Problem(
            "languages", "policy.no_language", "at least one language is needed", 'for example languages = ["en"]'
        )
    for number, language in enumerate(policy.languages):
        if not LANGUAGE.fullmatch(language):
            yield Problem(
                f"languages.{number}",
                "policy.bad_language",
                f"{language!r} is not a language",
                'for example "en" or "cs"',
            )
    if policy.prompt and not PROMPT_ID.fullmatch(policy.prompt):
        yield Problem("prompt", "policy.bad_prompt", f"{policy.prompt!r} cannot name a prompt", 'for example "ask"')
    if policy.yes_key not in KEYS or len(policy.yes_key) != 1:
        yield Problem("yes_key", "policy.bad_key", f"{policy.yes_key!r} is not one key", "one of 0-9, * and #")
    if not 0 <= policy.retries <= 3:
        yield Problem(
            "retries", "policy.out_of_range", f"retries {policy.retries} is out of range", "0 to 3: more is pressure"
        )


def _times(policy: Policy) -> Iterator[Problem]:
    if not 1 <= policy.answer_window <= 30:
        yield Problem(
            "answer_window",
            "policy.out_of_range",
            f"answer_window of {policy.answer_window:g} s is out of range",
            "1 s to 30 s",
        )
    if not 0.5 <= policy.capture.seal_every <= 8:
        yield Problem(
            "capture.seal_every",
            "policy.out_of_range",
            f"seal_every of {policy.capture.seal_every:g} s is out of range",
            "0.5 s to 8 s",
        )
    if policy.remember.most_days > MAX_REMEMBER_DAYS:
        yield Problem(
            "remember", "policy.out_of_range", f'remember "{policy.remember}" is longer than 30 days', 'at most "P30D"'
        )
    if policy.retention.recordings.is_zero and policy.mode != "never":
        yield Problem(
            "retention.recordings",
            "policy.out_of_range",
            "audio kept for no time at all",
            'use mode = "never", or name a period',
        )
    if policy.retention.minimum.most_days > policy.retention.recordings.most_days:
        yield Problem(
            "retention.minimum",
            "policy.out_of_range",
            "the minimum is longer than the audio is kept",
            "shorten it, or keep the audio longer",
        )


def overlaps(policies: Mapping[str, Policy], country: str = "") -> Iterator[tuple[Policy, Problem]]:
    """Values that two policies both claim: then a call would have two answers. `country`: where national spellings of
    numbers are at home."""
    seen: dict[tuple[str, str], str] = {}
    for policy in policies.values():
        for kind in ("did", "queue", "context"):
            for number, value in enumerate(getattr(policy.match, kind)):
                key = (kind, did_digits(value, country) if kind == "did" else value)
                other = seen.setdefault(key, policy.name)
                if other != policy.name:
                    message = f'{kind} "{value}" is matched by policy "{other}" too'
                    yield policy, Problem(f"match.{kind}.{number}", "policy.overlap", message, "list it in one of them")
