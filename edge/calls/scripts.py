"""From a policy and its prompts to the conversation that is held: which words for whom, in which language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from edge.consent.policy import PROMPT_OF_MODE, Policy
from edge.consent.prompt import Prompt
from edge.consent.script import Choice, Further, OnFile, PromptFacts, Script
from edge.errors import CallwardenError

#: Who is asked: an inbound caller, a called party on its own leg, a further party in the bridge, or the caller in
#: mid-call because the agent starts a recording (`manual`).
Kind = Literal["entry", "callee", "third", "start"]

#: The question of each kind where it is not the policy's own; modes that announce say the same to everybody.
_ASKS: Final = {"callee": "ask_callee", "third": "ask_third"}
_ASKING: Final = frozenset({"opt_in", "manual"})

Resolve = Callable[[str, str], Prompt]


@dataclass(slots=True)
class Book:
    """The prompts of one conversation: what the machine sees of each, and where its audio is."""

    resolve: Resolve
    audio: dict[PromptFacts, Prompt]

    def facts(self, prompt_id: str, language: str) -> PromptFacts:
        """Raises CallwardenError prompt.* when there is no such prompt."""
        prompt = self.resolve(prompt_id, language)
        facts = facts_of(prompt)
        self.audio[facts] = prompt
        return facts

    def perhaps(self, prompt_id: str, language: str) -> PromptFacts | None:
        """None when there is no such prompt: the first question is then asked again in its own words."""
        try:
            return self.facts(prompt_id, language)
        except CallwardenError:
            return None


def facts_of(prompt: Prompt) -> PromptFacts:
    """A prompt as the machine and the evidence see it."""
    return PromptFacts(
        prompt.id, prompt.version, prompt.language, prompt.sha256, prompt.duration_ms, prompt.answerable_from_ms
    )


def question_version(book: Book, policy: Policy, kind: Kind, language: str) -> str:
    """The version of the question that this policy asks in full, "" for modes that ask none. Raises CallwardenError
    prompt.*."""
    mode = _mode(policy, kind, None)
    if mode in ("never", "manual", "obligation"):
        return ""
    return book.facts(_full(policy, kind, mode), language).version


def build(
    book: Book,
    policy: Policy,
    kind: Kind,
    language: str,
    on_file: OnFile | None = None,
    on_file_purposes: tuple[str, ...] = (),
    *,
    silent: bool = False,
) -> Script:
    """The conversation in `language`. on_file: what this number answered before and still stands; for `prior` it turns
    the question into a reminder (or nothing: `silent`) of a consent for `on_file_purposes`, for `opt_in` it shortens it.
    Raises CallwardenError prompt.*."""
    mode = _mode(policy, kind, on_file)
    plain = Script(
        mode,
        yes_key=policy.yes_key,
        answer_window_ms=policy.answer_window.ms,
        retries=policy.retries,
        barge_in=policy.barge_in,
        on_silence=policy.on_silence,
        objection_key=policy.objection_key,
        purposes=on_file_purposes if mode == "prior" else policy.purposes,
        on_file=on_file,
        silent=silent,
        answered=kind in ("third", "start"),
    )
    if mode in ("never", "manual"):
        return plain
    if mode == "obligation":
        return plain if policy.prompt_id == "none" else replace(plain, ask=book.facts(policy.prompt_id, language))
    if on_file is not None and on_file.outcome in ("refused", "objected"):
        return plain
    ask, again = _question(book, policy, kind, mode, language, on_file)
    return replace(plain, ask=ask, ask_again=again, further=_further(book, policy, mode, language))


def with_choice(book: Book, policy: Policy, script: Script, in_language: Callable[[str], Script]) -> Script:
    """The same, after the question which language to speak; `in_language` builds it in each. Raises CallwardenError
    prompt.*."""
    if not policy.language_choice or script.ask is None or script.mode == "obligation" or script.silent:
        return script
    offered = tuple(policy.language_choice.items())
    prompts = tuple(book.facts("language", language) for _, language in offered)
    return replace(script, choice=Choice(prompts, tuple((key, in_language(language)) for key, language in offered)))


def _mode(policy: Policy, kind: Kind, on_file: OnFile | None) -> str:
    """What the machine holds: `manual` asks as opt_in once somebody started it, `prior` asks who is not on file."""
    if policy.mode == "manual" and kind in ("start", "third"):
        return "opt_in"
    if policy.mode == "prior" and (on_file is None or on_file.outcome != "given"):
        return policy.ask
    return policy.mode


def _full(policy: Policy, kind: Kind, mode: str) -> str:
    """Id of the prompt that asks in full."""
    if mode in _ASKING and kind in _ASKS:
        return _ASKS[kind]
    if policy.mode == "prior" and mode != "prior":
        return PROMPT_OF_MODE[mode]
    return policy.prompt_id


def _question(
    book: Book, policy: Policy, kind: Kind, mode: str, language: str, on_file: OnFile | None
) -> tuple[PromptFacts, PromptFacts | None]:
    asked = _full(policy, kind, mode)
    again = book.perhaps(f"{asked}_again", language)
    if mode == "opt_in" and kind == "entry" and on_file is not None:
        short = book.perhaps("ask_short", language)
        if short is not None and f"key:{policy.yes_key}" in book.audio[short].says:
            return short, again
    return book.facts(asked, language), again


def _further(book: Book, policy: Policy, mode: str, language: str) -> tuple[Further, ...]:
    if mode == "prior":
        return ()  # the consent on file names its purposes
    return tuple(
        Further(
            tuple(more.purposes), book.facts(more.prompt, language), book.perhaps(f"{more.prompt}_again", language),
            more.yes_key,
        )
        for more in policy.further
    )  # fmt: skip
