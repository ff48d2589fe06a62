"""Which prompts a policy's calls can come to need, and what each must say. Pure.

The counterpart of the conversation: what is asked (`edge.calls`), what a live call tells its parties, and what is played
when something is in the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.consent.policy import PROMPT_OF_MODE, Policy, required_sayings

#: Shipped questions that are asked a second time in other words. One of the operator's own, without such a prompt, is
#: asked again in its own words.
_SECOND: Final = frozenset({"ask", "object", "ask_callee", "ask_third", "ask_training"})
#: What every recorded call can come to play: how it stands, it was stopped, paused, goes on; a tone after a repair.
_LIVE: Final = ("thanks_recorded", "thanks_not_recorded", "withdrawn", "stopped", "paused", "resumed", "tone")


@dataclass(frozen=True, slots=True)
class Need:
    """One prompt in one language. says: what it must state, in the words of the manifest's `says`."""

    prompt_id: str
    language: str
    says: frozenset[str] = frozenset()


def languages(policy: Policy) -> tuple[str, ...]:
    """Every language a call under this policy can be spoken to in."""
    return tuple(dict.fromkeys((*policy.languages, *policy.language_did.values(), *policy.language_choice.values())))


def needs(policy: Policy) -> Iterator[Need]:
    """What must be there, by language; a prompt may come twice, with other sayings."""
    if policy.mode == "never":
        return
    for key, language in policy.language_choice.items():
        yield Need("language", language, frozenset({f"key:{key}"}))
    for language in languages(policy):
        for prompt_id, says in (*_questions(policy), *_telling(policy)):
            yield Need(prompt_id, language, frozenset(says))


def _questions(policy: Policy) -> Iterator[tuple[str, tuple[str, ...]]]:
    if policy.speaks:
        yield from _question(policy, policy.prompt_id, policy.mode)
    asking = policy.ask if policy.mode == "prior" else policy.mode
    if policy.mode == "prior":
        yield from _question(policy, PROMPT_OF_MODE[asking], asking)
    if asking in ("opt_in", "manual"):
        for prompt_id in ("ask_callee", "ask_third"):
            yield from _question(policy, prompt_id, asking)
        if policy.mode == "opt_in" and not policy.remember.is_zero:
            yield "ask_short", required_sayings(policy)
    for more in policy.further:
        key = f"key:{more.yes_key}"
        yield more.prompt, (*(f"purpose:{p}" for p in more.purposes), "withdrawal", key)
        if more.prompt in _SECOND:
            yield f"{more.prompt}_again", (key,)


def _question(policy: Policy, prompt_id: str, mode: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield prompt_id, required_sayings(policy, mode)
    if prompt_id in _SECOND:
        key = f"key:{policy.yes_key}" if mode in ("opt_in", "manual") else f"objection:{policy.objection_key}"
        yield f"{prompt_id}_again", ("recording", key)


def _telling(policy: Policy) -> Iterator[tuple[str, tuple[str, ...]]]:
    for prompt_id in _LIVE:
        yield prompt_id, ()
    if policy.basis in ("legal_obligation", "vital_interests") or (
        policy.basis == "contract" and policy.contract_withdraw == "note"
    ):
        yield "objection_noted", ("continues",)
    if policy.on_failure == "announce" or policy.on_failure_midcall != "alarm":
        yield "unavailable_notice", ()
    if policy.on_failure == "refuse_call":
        yield "refused_call", ()
