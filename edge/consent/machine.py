"""The consent conversation as a pure machine: what happened goes in, what to do next comes out.

The machine holds no channel, clock or file. `calls.talk` performs its steps one by one and feeds back what came of
each; every path ends in exactly one `Decide`. A key is an answer only from the prompt's `answerable_from_ms` on: who
records, what for, and that one may withdraw have been said by then.

A conversation is a row of questions: which language, then the policy's own, then one for each further purpose. There
are three sorts. `yes`: only the yes key passes. `object`: only silence to the end of the answer window passes. `tell`:
passes when the prompt has played out and the objection key was not pressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from edge.consent.permit import PERMITTING
from edge.consent.script import (
    ALL_KEYS,
    MAX_EARLY_KEYS,
    SHORT_MS,
    Answer,
    Ask,
    Choice,
    Decide,
    DiscardKeys,
    Done,
    Event,
    Failed,
    Further,
    FurtherAnswer,
    HungUp,
    Keyed,
    OnFile,
    Play,
    Played,
    PromptFacts,
    Script,
    Started,
    Step,
    WaitKey,
    undecided,
)

#: Modes this machine can hold a conversation for, with the sort of their question ("" for none).
SORTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "opt_in": "yes",
        "opt_out": "object",
        "notice": "tell",
        "prior": "tell",
        "obligation": "",
        "manual": "",
        "never": "",
    }
)
#: (outcome, reason) of each mode when its question passes.
_PASSED: Final = {
    "opt_in": ("given", "key"),
    "opt_out": ("notified", "no_objection"),
    "notice": ("notified", "played"),
    "prior": ("given", "on_file"),
}
#: (outcome) of each mode when the objection key is pressed, and (outcome, reason) when the answer stays unclear.
_OBJECTED: Final = {"opt_out": "objected", "notice": "objected", "prior": "withdrawn"}
_UNCLEAR: Final = {
    "opt_out": ("objected", "unclear"),
    "notice": ("objected", "unclear"),
    "prior": ("refused", "unclear"),
}


@dataclass(slots=True)
class Conversation:
    """One call's way through its script. Call `advance(Started())` first, then once per performed step."""

    script: Script
    decided: Decide | None = None
    _phase: str = "new"
    _sort: str = ""
    _prompt: PromptFacts | None = None
    _again: PromptFacts | None = None
    _key: str = ""  # the key the present question listens for
    _heard_so_far: list[tuple[PromptFacts, int]] = field(default_factory=list)
    _deaf: bool = False
    _wrong: int = 0
    _early: int = 0
    _tries: int = 0
    _pressed: list[str] = field(default_factory=list)
    _first: tuple[str, str, str] | None = None  # outcome, reason and key of the policy's question, once it passed
    _further: list[FurtherAnswer] = field(default_factory=list)

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
            return self._broken(event.reason)
        return self._next(event)

    def _next(self, event: Event) -> Step:
        match self._phase, event:
            case "new", Started():
                return self._open()
            case "answering", Done():
                self._phase = "discarding"
                return DiscardKeys()
            case "discarding", Done():
                assert self._prompt is not None
                self._phase = "asking"
                return Ask(self._prompt)
            case "asking", Done():
                return self._play(self._prompt)
            case "playing", Played(key=key, position_ms=position_ms):
                return self._heard(key, position_ms)
            case "settling", Done():
                return self._wait()
            case "waiting", Keyed(key=key):
                return self._keyed(key)
            case phase, _:
                raise ValueError(f"{type(event).__name__} cannot happen while {phase}")

    # ------------------------------------------------------------ before the first sound

    def _open(self) -> Step:
        script = self.script
        if script.mode == "never":
            return self._decide("not_recorded", script.reason)
        if script.mode == "manual":
            return self._decide("not_recorded", "manual")
        if script.mode == "obligation":
            return self._decide("not_required", "obligation")
        if script.mode not in SORTS:
            return self._decide("unavailable", "policy.mode_unsupported")
        if script.on_file is not None and script.on_file.outcome in ("refused", "objected"):
            return self._decide(script.on_file.outcome, "on_file")
        if script.mode == "prior" and (script.on_file is None or script.on_file.outcome != "given"):
            return self._decide("unavailable", "consent.not_on_file")
        if script.mode == "prior" and script.silent:
            return self._decide("given", "on_file")
        if script.ask is None:
            return self._decide("unavailable", "prompt.missing")
        if script.choice is not None:
            self._question("choice", script.choice.prompts[0], None, "")
        else:
            self._question_of(script)
        if not script.answered:
            self._phase = "answering"
            return Answer()
        self._phase = "discarding"
        return DiscardKeys()

    def _question_of(self, script: Script) -> None:
        assert script.ask is not None
        sort = SORTS[script.mode]
        self._question(sort, script.ask, script.ask_again, script.yes_key if sort == "yes" else script.objection_key)

    def _question(self, sort: str, prompt: PromptFacts, again: PromptFacts | None, key: str) -> None:
        self._sort, self._prompt, self._again, self._key = sort, prompt, again, key
        self._wrong = self._early = 0

    # ------------------------------------------------------------ playing and listening

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
        if key and self._passes_over(key, position_ms, prompt):
            self._early += 1
            return self._play(prompt, position_ms)
        if key:
            return self._keyed(key)
        if position_ms + SHORT_MS < prompt.duration_ms:
            return self._broken("prompt.not_played")
        if self._sort == "choice" and (later := self._later_language(prompt)) is not None:
            return self._play(later)
        if self._deaf:  # keys pressed under a prompt that listens to none may be older than its answerable mark
            self._phase = "settling"
            return DiscardKeys()
        return self._passed("") if self._sort == "tell" else self._wait()

    def _passes_over(self, key: str, position_ms: int, prompt: PromptFacts) -> bool:
        """A key that is no answer: the prompt goes on where it was."""
        if self._sort == "choice":
            return False  # nothing is consented to by choosing a language
        return position_ms < prompt.answerable_from_ms or (self._sort == "tell" and key != self._key)

    def _later_language(self, prompt: PromptFacts) -> PromptFacts | None:
        assert self.script.choice is not None
        prompts = self.script.choice.prompts
        return next(iter(prompts[prompts.index(prompt) + 1 :]), None)

    def _wait(self) -> Step:
        self._phase = "waiting"
        return WaitKey(self.script.answer_window_ms)

    def _keyed(self, key: str) -> Step:
        """A key that counts, or "" for an answer window without one."""
        if self._sort == "choice":
            return self._chosen(key)
        self._tries += self._first is None
        if key:
            self._pressed.append(key)
        if self._sort == "yes":
            return self._passed(key) if key == self._key else self._missed(key)
        if not key:
            return self._passed("")
        if key == self._key:
            return self._decide(_OBJECTED[self.script.mode], "key", key)
        return self._missed(key)

    def _missed(self, key: str) -> Step:
        """A wrong key or silence: ask again while tries are left. Silence never becomes consent (`on_silence`)."""
        self._wrong += 1
        if self._wrong <= self.script.retries:
            return self._play(self._again or self._prompt)
        reason = "key" if key else "silence"
        if self._first is not None:
            return self._answered(granted=False, reason=reason, key=key)
        if self._sort == "yes":
            return self._decide("refused", reason, key)
        return self._decide(*_UNCLEAR[self.script.mode], key)

    # ------------------------------------------------------------ from one question to the next

    def _chosen(self, key: str) -> Step:
        """The script of the language that was chosen; the one at hand where no language has this key."""
        assert self.script.choice is not None
        self.script = dict(self.script.choice.by_key).get(key, self.script)
        self._question_of(self.script)
        self._phase = "discarding"
        return DiscardKeys()

    def _passed(self, key: str) -> Step:
        if self._first is not None:
            return self._answered(granted=True, reason="key", key=key)
        outcome, reason = _PASSED[self.script.mode]
        self._first = (outcome, reason, key)
        return self._next_further()

    def _answered(self, *, granted: bool, reason: str, key: str) -> Step:
        asked = self.script.further[len(self._further)]
        self._further.append(FurtherAnswer(asked.purposes, granted, reason, key))
        return self._next_further()

    def _next_further(self) -> Step:
        assert self._first is not None
        number = len(self._further)
        if number == len(self.script.further):
            return self._decide(*self._first)
        asked = self.script.further[number]
        self._question("yes", asked.ask, asked.ask_again, asked.yes_key)
        self._phase = "discarding"
        return DiscardKeys()

    def _broken(self, reason: str) -> Step:
        """No answer can be had. A further question that cannot be asked grants nothing, and takes nothing away."""
        if self._first is not None and reason.startswith("prompt."):
            return self._answered(granted=False, reason=reason, key="")
        return self._decide("unavailable", reason)

    def _decide(self, outcome: str, reason: str, key: str = "") -> Decide:
        script = self.script
        granted: tuple[str, ...] = ()
        if outcome in PERMITTING:
            extra = (p for answer in self._further if answer.granted for p in answer.purposes)
            granted = tuple(dict.fromkeys((*script.purposes, *extra)))
        spoken = self._heard_so_far[-1][0].language if self._heard_so_far else ""
        self.decided = Decide(
            outcome, reason, tuple(self._heard_so_far), key, self._tries, "".join(self._pressed), granted,
            tuple(self._further), script.on_file.event_seq if script.on_file else None, spoken,
            script.ask if script.mode == "obligation" else None,
        )  # fmt: skip
        return self.decided


__all__ = [
    "ALL_KEYS", "MAX_EARLY_KEYS", "SHORT_MS", "SORTS", "Answer", "Ask", "Choice", "Conversation", "Decide", "DiscardKeys",
    "Done", "Event", "Failed", "Further", "FurtherAnswer", "HungUp", "Keyed", "OnFile", "Play", "Played", "PromptFacts",
    "Script", "Started", "Step", "WaitKey", "undecided",
]  # fmt: skip
