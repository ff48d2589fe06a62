"""The words of the consent conversation: what a policy wants asked, what happened, what to do next. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Early keys (before the answerable mark) that are forgiven one by one; after these the rest of the prompt takes none.
MAX_EARLY_KEYS: Final = 10
ALL_KEYS: Final = "0123456789*#"
#: A prompt that ends this much before its length, with no key, was not played: Asterisk reports a file it cannot read
#: like one that was heard, with the position where it stopped.
SHORT_MS: Final = 500


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """What the machine and the evidence need to know of a prompt. Lengths in milliseconds."""

    prompt_id: str
    version: str
    language: str
    audio_sha256: str
    duration_ms: int
    answerable_from_ms: int


@dataclass(frozen=True, slots=True)
class Further:
    """One more question after the first one passed: its own key grants its own purposes, anything else does not."""

    purposes: tuple[str, ...]
    ask: PromptFacts
    ask_again: PromptFacts | None = None
    yes_key: str = "1"


@dataclass(frozen=True, slots=True)
class OnFile:
    """What this number answered before: `outcome` of the event `event_seq`, still valid."""

    outcome: str
    event_seq: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The question which language to speak, a sentence in each of them; each key leads to the script in that language."""

    prompts: tuple[PromptFacts, ...]
    by_key: tuple[tuple[str, Script], ...]


@dataclass(frozen=True, slots=True)
class Script:
    """One policy's conversation in one language. `answer_window_ms` runs from the end of the prompt.

    mode: lifecycle.MODES; `ask` is the question, the notice, the reminder of a consent on file, or what the law requires
    to be said. reason: of `never` only, the word for why. silent: of `prior` only, nothing is played. answered: the
    conversation is held in mid-call, the channel needs no answering. purposes: what passing the first question grants.
    """

    mode: str
    ask: PromptFacts | None = None
    ask_again: PromptFacts | None = None
    yes_key: str = "1"
    answer_window_ms: int = 5000
    retries: int = 1
    barge_in: bool = True
    on_silence: str = "refuse"
    objection_key: str = "2"
    purposes: tuple[str, ...] = ()
    further: tuple[Further, ...] = ()
    on_file: OnFile | None = None
    silent: bool = False
    answered: bool = False
    reason: str = "policy"
    choice: Choice | None = None


# What happened


@dataclass(frozen=True, slots=True)
class Started:
    """The call was accepted and its row is stored."""


@dataclass(frozen=True, slots=True)
class Done:
    """The last step was carried out and had nothing to report."""


@dataclass(frozen=True, slots=True)
class Played:
    """A prompt ended or was stopped by `key`; `position_ms` counts from the prompt's start."""

    key: str
    position_ms: int


@dataclass(frozen=True, slots=True)
class Keyed:
    """The answer window ended with `key`, or with "" for silence."""

    key: str


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller is gone; `position_ms` of the prompt that was playing had been heard by then."""

    position_ms: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Something Callwarden needs is missing or broken; `reason` is an error code."""

    reason: str


Event = Started | Done | Played | Keyed | HungUp | Failed

# What to do


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the channel."""


@dataclass(frozen=True, slots=True)
class DiscardKeys:
    """Drop digits that were queued before the prompt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Store the event `requested` before the first sound of the prompt."""

    prompt: PromptFacts


@dataclass(frozen=True, slots=True)
class Play:
    """Play from `offset_ms`; any of `keys` stops it."""

    prompt: PromptFacts
    keys: str
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class WaitKey:
    """Wait for one key."""

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class FurtherAnswer:
    """How a further question ended: `reason` is `key`, `silence` or an error code."""

    purposes: tuple[str, ...]
    granted: bool
    reason: str
    key: str


@dataclass(frozen=True, slots=True)
class Decide:
    """The end: `outcome` (lifecycle.OUTCOMES), why, and what was heard (prompt, milliseconds of it) and pressed.

    purposes: granted, empty unless the outcome permits. reference: the event that the answer refers to. language: that
    was spoken, "" when nothing was. say_after: what is played once the recording runs (`obligation`).
    """

    outcome: str
    reason: str
    heard: tuple[tuple[PromptFacts, int], ...]
    key: str
    tries: int
    keys_pressed: str
    purposes: tuple[str, ...] = ()
    further: tuple[FurtherAnswer, ...] = ()
    reference: int | None = None
    language: str = ""
    say_after: PromptFacts | None = None


Step = Answer | DiscardKeys | Ask | Play | WaitKey | Decide


def undecided(outcome: str, reason: str) -> Decide:
    """A decision that no conversation led to (nothing was asked or heard)."""
    return Decide(outcome, reason, (), "", 0, "")
