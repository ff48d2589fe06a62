"""The consent conversation as a pure machine: what happened goes in, what to do next comes out.

The machine holds no channel, clock or file. `calls.flow` performs its steps one by one and feeds back what came of
each; every path ends in exactly one `Decide`. A key is an answer only from the prompt's `answerable_from_ms` on: who
records, what for, and that one may withdraw have been said by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
class Script:
    """One policy's conversation in one language. `answer_window_ms` runs from the end of the prompt."""

    mode: str
    ask: PromptFacts | None = None
    ask_again: PromptFacts | None = None
    yes_key: str = "1"
    answer_window_ms: int = 5000
    retries: int = 1
    barge_in: bool = True
    on_silence: str = "refuse"


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
class Decide:
    """The end: `outcome` (lifecycle.OUTCOMES), why, and what was heard (prompt, milliseconds of it) and pressed."""

    outcome: str
    reason: str
    heard: tuple[tuple[PromptFacts, int], ...]
    key: str
    tries: int
    keys_pressed: str


Step = Answer | DiscardKeys | Ask | Play | WaitKey | Decide

#: Modes this machine can hold a conversation for.
SUPPORTED: Final = frozenset({"opt_in", "never"})


@dataclass(slots=True)
class Conversation:
    """One call's way through its script. Call `advance(Started())` first, then once per performed step."""

    script: Script
    decided: Decide | None = None
    _phase: str = "new"
    _heard_so_far: list[tuple[PromptFacts, int]] = field(default_factory=list)
    _deaf: bool = False
    _wrong: int = 0
    _early: int = 0
    _pressed: list[str] = field(default_factory=list)

    def advance(self, event: Event) -> Step:
        """The next step. After a `Decide` every further event returns that same decision."""
        if self.decided is not None:
            return self.decided
        if isinstance(event, HungUp):
            if self._phase == "playing":
                prompt, _ = self._heard_so_far[-1]
                self._heard_so_far[-1] = (prompt, min(event.position_ms, prompt.duration_ms))
            return self._decide("abandoned", "hangup")
        if isinstance(event, Failed):
            return self._decide("unavailable", event.reason)
        return self._next(event)

    def _next(self, event: Event) -> Step:
        match self._phase, event:
            case "new", Started():
                return self._open()
            case "answering", Done():
                self._phase = "discarding"
                return DiscardKeys()
            case "discarding", Done():
                assert self.script.ask is not None
                self._phase = "asking"
                return Ask(self.script.ask)
            case "asking", Done():
                return self._play(self.script.ask)
            case "playing", Played(key=key, position_ms=position_ms):
                return self._heard(key, position_ms)
            case "settling", Done():
                return self._wait()
            case "waiting", Keyed(key=key):
                return self._pressed_key(key) if key else self._missed("silence")
            case phase, _:
                raise ValueError(f"{type(event).__name__} cannot happen while {phase}")

    def _open(self) -> Step:
        if self.script.mode == "never":
            return self._decide("not_recorded", "policy")
        if self.script.mode != "opt_in":
            return self._decide("unavailable", "policy.mode_unsupported")
        if self.script.ask is None:
            return self._decide("unavailable", "prompt.missing")
        self._phase = "answering"
        return Answer()

    def _play(self, prompt: PromptFacts | None, offset_ms: int = 0) -> Step:
        assert prompt is not None
        self._phase = "playing"
        if offset_ms == 0:
            self._heard_so_far.append((prompt, 0))
        self._deaf = not self.script.barge_in or self._early >= MAX_EARLY_KEYS
        return Play(prompt, "" if self._deaf else ALL_KEYS, offset_ms)

    def _heard(self, key: str, position_ms: int) -> Step:
        prompt, _ = self._heard_so_far[-1]
        self._heard_so_far[-1] = (prompt, position_ms)
        if key and position_ms < prompt.answerable_from_ms:
            self._early += 1
            return self._play(prompt, position_ms)
        if key:
            return self._pressed_key(key)
        if position_ms + SHORT_MS < prompt.duration_ms:
            return self._decide("unavailable", "prompt.not_played")
        if self._deaf:  # keys pressed under a prompt that listens to none may be older than its answerable mark
            self._phase = "settling"
            return DiscardKeys()
        return self._wait()

    def _wait(self) -> Step:
        self._phase = "waiting"
        return WaitKey(self.script.answer_window_ms)

    def _pressed_key(self, key: str) -> Step:
        self._pressed.append(key)
        if key == self.script.yes_key:
            return self._decide("given", "key", key)
        return self._missed("key")

    def _missed(self, reason: str) -> Step:
        """A wrong key or silence: ask again while tries are left. Silence never becomes consent (`on_silence`)."""
        self._wrong += 1
        if self._wrong > self.script.retries:
            return self._decide("refused", reason, self._pressed[-1] if reason == "key" else "")
        return self._play(self.script.ask_again or self.script.ask)

    def _decide(self, outcome: str, reason: str, key: str = "") -> Decide:
        tries = self._wrong + (outcome == "given")
        self.decided = Decide(outcome, reason, tuple(self._heard_so_far), key, tries, "".join(self._pressed))
        return self.decided
