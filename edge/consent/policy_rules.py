"""What in a policy does not fit together, found at load. Pure: values in, findings out.

Whether a mode is strong enough for its country is judged by `edge.consent.jurisdiction`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.consent.policy import BASES_OF_MODE, Policy, did_digits
from formats.pcm import STORED

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:[_-][A-Za-z0-9]{2,8})*")
PROMPT_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,62}")
LAMP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
#: A year, as a dated reference has one ("LIA of 2026-03-01").
YEAR = re.compile(r"(?:19|20)\d\d", re.ASCII)
KEYS = frozenset("0123456789*#")
#: Bases that rest on an assessment of one's own, which must be dated to be held against the facts.
ASSESSED = frozenset({"contract", "legitimate_interests", "public_task"})
#: Modes that ask or tell, and may ask for further purposes after it.
ASKING = frozenset({"opt_in", "opt_out", "notice", "prior", "manual"})
#: No answer is remembered longer than two years, days (a month counts 31); `edge.consent.memory` has the shorter limit
#: of unverified numbers.
MAX_REMEMBER_DAYS = 24 * 31


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
        message = f"{policy.name!r} cannot be a policy's name"
        yield Problem("", "policy.bad_name", message, 'use letters, digits, "-" and "_"')
    yield from _capture(policy)
    yield from _basis(policy)
    if policy.mode != "never":
        yield from _purposes(policy)
        yield from _prompts(policy)
        yield from _languages(policy)
        yield from _keys(policy)
    yield from _times(policy)
    yield from _memory(policy)


def _capture(policy: Policy) -> Iterator[Problem]:
    capture = policy.capture
    if capture.rate not in (0, capture.hertz):
        message = f'codec "{capture.codec}" is {capture.hertz} samples a second, not {capture.rate}'
        hint = f'rate = {capture.hertz}, or codec = "{"sln16" if capture.rate == 16000 else "sln"}"'
        yield Problem("capture.rate", "policy.capture", message, hint)
    if policy.compact != "none" and STORED[capture.codec] == 1:
        message = f'compact "{policy.compact}" takes linear samples, and codec "{capture.codec}" is companded'
        hint = 'compact = "none", or capture = { codec = "sln" }'
        yield Problem("compact", "policy.compact", message, hint)


def _basis(policy: Policy) -> Iterator[Problem]:
    fitting = BASES_OF_MODE[policy.mode]
    reference = policy.basis_reference.strip()
    if policy.basis not in fitting:
        can = ", ".join(f'"{b}"' for b in sorted(fitting))
        message = f'mode "{policy.mode}" cannot stand on basis "{policy.basis}"'
        yield Problem("basis", "policy.basis", message, f"it stands on {can}")
    elif policy.mode == "never" or policy.basis == "consent":
        pass
    elif not reference:
        what = "the statute" if policy.basis == "legal_obligation" else "the assessment with its date"
        message = f'basis "{policy.basis}" needs a reference'
        yield Problem("basis_reference", "policy.basis_reference", message, f"name {what}")
    elif policy.basis in ASSESSED and not YEAR.search(reference):
        message = f'basis "{policy.basis}" needs a reference to a dated assessment'
        hint = f'for example basis_reference = "{reference} of 2026-03-01"'
        yield Problem("basis_reference", "policy.basis_reference", message, hint)


def _purposes(policy: Policy) -> Iterator[Problem]:
    if not policy.purposes:
        hint = 'for example purposes = ["quality"]'
        yield Problem("purposes", "policy.no_purpose", "a recording needs a purpose", hint)
    yield from _words("purposes", policy.purposes)
    seen = set(policy.purposes)
    for number, question in enumerate(policy.further):
        key = f"further.{number}"
        if policy.mode not in ASKING:
            message = f'mode "{policy.mode}" asks nothing, so it cannot ask for further purposes'
            yield Problem(key, "policy.further", message, "remove it, or use a mode that asks")
        if not question.purposes:
            hint = 'for example purposes = ["training"]'
            yield Problem(f"{key}.purposes", "policy.no_purpose", "a question needs a purpose", hint)
        yield from _words(f"{key}.purposes", question.purposes)
        for place, purpose in enumerate(question.purposes):
            if purpose in seen:
                message, hint = f'purpose "{purpose}" is asked for twice', "one key grants one purpose once"
                yield Problem(f"{key}.purposes.{place}", "policy.purpose_twice", message, hint)
            seen.add(purpose)


def _words(key: str, purposes: tuple[str, ...]) -> Iterator[Problem]:
    for number, purpose in enumerate(purposes):
        if not PURPOSE.fullmatch(purpose):
            message, hint = f"{purpose!r} cannot name a purpose", "use lower-case words joined by _"
            yield Problem(f"{key}.{number}", "policy.bad_purpose", message, hint)


def _prompts(policy: Policy) -> Iterator[Problem]:
    named = {
        "prompt": policy.prompt or "ask",
        **{f"further.{n}.prompt": q.prompt for n, q in enumerate(policy.further)},
    }
    for key, prompt in named.items():
        if not PROMPT_ID.fullmatch(prompt):
            yield Problem(key, "policy.bad_prompt", f"{prompt!r} cannot name a prompt", 'for example "ask"')
    if policy.prompt == "none" and policy.mode != "obligation":
        message = f'mode "{policy.mode}" cannot be silent'
        yield Problem("prompt", "policy.silent", message, 'only "obligation" may play nothing; name a prompt')
    elif policy.prompt == "none" and policy.basis == "legal_obligation" and not policy.text_notice:
        message = "nobody would be told: nothing is played and no text is sent"
        yield Problem("prompt", "policy.silent", message, 'add text_notice = "end", or name a prompt')
    if policy.lamp and not LAMP.fullmatch(policy.lamp):
        message, hint = f"{policy.lamp!r} cannot name a lamp", 'letters, digits, "-" and "_": the NAME in Custom:NAME'
        yield Problem("lamp", "policy.bad_lamp", message, hint)


def _languages(policy: Policy) -> Iterator[Problem]:
    if not policy.languages:
        hint = 'for example languages = ["en"]'
        yield Problem("languages", "policy.no_language", "at least one language is needed", hint)
    for number, language in enumerate(policy.languages):
        if not LANGUAGE.fullmatch(language):
            message, hint = f"{language!r} is not a language", 'for example "en" or "cs"'
            yield Problem(f"languages.{number}", "policy.bad_language", message, hint)
    for table in ("language_did", "language_choice"):
        for chosen, language in getattr(policy, table).items():
            if language not in policy.languages:
                message = f'"{language}" is not among the policy\'s languages'
                yield Problem(f"{table}.{chosen}", "policy.bad_language", message, f'add "{language}" to languages')
    for key in policy.language_choice:
        if key not in KEYS:
            yield Problem(f"language_choice.{key}", "policy.bad_key", f"{key!r} is not one key", "one of 0-9, * and #")
    for dialled in policy.language_did:
        if not did_digits(dialled):
            message, hint = f"{dialled!r} is not a number", 'for example "+420555100200"'
            yield Problem(f"language_did.{dialled}", "policy.bad_number", message, hint)


def _keys(policy: Policy) -> Iterator[Problem]:
    named = {"yes_key": policy.yes_key, "objection_key": policy.objection_key}
    named |= {f"further.{number}.yes_key": question.yes_key for number, question in enumerate(policy.further)}
    for key, value in named.items():
        if value not in KEYS:
            yield Problem(key, "policy.bad_key", f"{value!r} is not one key", "one of 0-9, * and #")
    if not 0 <= policy.retries <= 3:
        message = f"retries {policy.retries} is out of range"
        yield Problem("retries", "policy.out_of_range", message, "0 to 3: more is pressure")


def _times(policy: Policy) -> Iterator[Problem]:
    off = 0.0  # a length of no time, which stands for "never" where a bound allows it
    for key, value, low, high, words in (
        ("answer_window", policy.answer_window, 1, 30, "1 s to 30 s"),
        ("capture.seal_every", policy.capture.seal_every, 0.5, 8, "0.5 s to 8 s"),
        ("beep", policy.beep, 5, 60, '"0s" for none, else 5 s to 60 s'),
        ("pause_limit", policy.pause_limit, 1, 86_400, '"0s" for ever, else 1 s to 24 h'),
        ("erase_after", policy.erase_after, 0, 30 * 86_400, "0 s to 30 d"),
    ):
        if low <= value <= high or (value == off and key in ("beep", "pause_limit")):
            continue
        message = f"{key.rpartition('.')[2]} of {value:g} s is out of range"
        yield Problem(key, "policy.out_of_range", message, words)
    if policy.retention.recordings.is_zero and policy.mode != "never":
        hint = 'use mode = "never", or name a period'
        yield Problem("retention.recordings", "policy.out_of_range", "audio kept for no time at all", hint)
    if policy.retention.minimum.most_days > policy.retention.recordings.most_days:
        message, hint = "the minimum is longer than the audio is kept", "shorten it, or keep the audio longer"
        yield Problem("retention.minimum", "policy.out_of_range", message, hint)
    for table in ("purposes", "outcomes"):
        for word, bound in getattr(policy.retention, table).items():
            if bound.maximum is not None and bound.minimum.most_days > bound.maximum.most_days:
                message = f"the minimum of {word} is longer than its maximum"
                yield Problem(f"retention.{table}.{word}", "policy.out_of_range", message, "the minimum would win")


def _memory(policy: Policy) -> Iterator[Problem]:
    if policy.remember.most_days > MAX_REMEMBER_DAYS:
        message = f'remember "{policy.remember}" is longer than two years'
        yield Problem("remember", "policy.out_of_range", message, 'at most "P2Y"; unverified numbers get 30 days')
    if policy.mode != "prior":
        return
    if policy.remember.is_zero:
        message = 'mode "prior" looks for a consent on file, but nothing is remembered'
        yield Problem("remember", "policy.remember", message, 'for example remember = "P30D"')
    if policy.basis not in BASES_OF_MODE[policy.ask]:
        message = f'who is not on file would be asked as "{policy.ask}", which cannot stand on basis "{policy.basis}"'
        yield Problem("ask", "policy.basis", message, 'ask = "opt_in"')


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
