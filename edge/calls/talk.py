"""Talking with one channel: performs the steps of the consent machine and feeds back what came of each.

`ask_now` and `say` are for calls that are going on; the flow of a call that comes in uses `Talk` itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from edge.calls import evidence, parties, scripts, tags
from edge.calls.parties import Who
from edge.calls.world import World
from edge.consent.machine import Conversation
from edge.consent.policy import Policy, choose_language
from edge.consent.script import (
    Answer,
    Ask,
    Decide,
    DiscardKeys,
    Done,
    Event,
    Failed,
    HungUp,
    Keyed,
    Play,
    Played,
    PromptFacts,
    Script,
    Started,
    Step,
    WaitKey,
    undecided,
)
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow, ConsentEvent
from edge.ports import CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")


class Talk:
    """One conversation with one party. `keys`: of the recording that may come of it, made while the prompt plays."""

    def __init__(
        self, world: World, dialogue: Dialogue, policy: Policy, call: CallRow, who: Who, *, prepare: bool
    ) -> None:
        self._world = world
        self._dialogue = dialogue
        self._policy = policy
        self._call = call
        self.who = who
        self.book = scripts.Book(world.prompts.resolve, {})
        self._prepare = prepare
        self._keys: asyncio.Task[Any] | None = None

    async def hold(self, script: Script) -> Decide:
        """Ask, listen, ask again, until the machine decides. Never raises CallerGone or DialogueLost."""
        conversation = Conversation(script)
        event: Event = Started()
        while not isinstance(step := conversation.advance(event), Decide):
            try:
                event = await self._perform(step)
            except CallerGone:
                event = HungUp()
            except DialogueLost:
                event = Failed("agi.lost")
            except CallwardenError as error:
                await self._world.journal.alarm(error.code, error.message, where=error.where)
                event = Failed(error.code)
        if step.reason == "prompt.not_played" or any(f.reason == "prompt.not_played" for f in step.further):
            await self._world.journal.alarm("prompt.not_played", "Asterisk did not play the question to its end")
        return step

    async def keys(self) -> Any:
        """The keys that were made during the question, or new ones. Raises CallwardenError vault.* recipient.*."""
        if self._keys is None:
            return await self._world.recorder.prepare(self._policy)
        prepared = await self._keys
        self._keys = None
        return prepared

    async def drop_keys(self) -> None:
        """No recording came of the prepared keys: overwrite them."""
        if self._keys is None:
            return
        task, self._keys = self._keys, None
        try:
            await self._world.recorder.discard(await task)
        except CallwardenError as error:
            log.warning("prepared keys could not be discarded; the next start sweeps them", why=error.message)

    async def hear(self, facts: PromptFacts) -> tuple[int, str]:
        """Play what takes no key: (milliseconds heard, "" or why it was cut short: `hangup` or an error code)."""
        began_ns = self._world.clock.mono_ns()
        audio = self.book.audio[facts]
        try:
            self._world.prompts.verify(audio)
            _, heard_ms = await self._dialogue.play(audio.path, "")
        except CallerGone:
            return min(facts.duration_ms, (self._world.clock.mono_ns() - began_ns) // 1_000_000), "hangup"
        except DialogueLost:
            return 0, "agi.lost"
        except CallwardenError as error:
            await self._world.journal.alarm(error.code, error.message, where=error.where)
            return 0, error.code
        return heard_ms, ""

    async def _perform(self, step: Step) -> Event:
        dialogue = self._dialogue
        match step:
            case Answer():
                await dialogue.answer()
            case DiscardKeys():
                await dialogue.discard_keys()
            case Ask(prompt=prompt):
                await self._asking(prompt)
            case Play(prompt=prompt, keys=keys, offset_ms=offset_ms):
                audio = self.book.audio[prompt]
                self._world.prompts.verify(audio)
                began_ns = self._world.clock.mono_ns()
                try:
                    return Played(*await dialogue.play(audio.path, keys, offset_ms))
                except CallerGone:
                    return HungUp(offset_ms + (self._world.clock.mono_ns() - began_ns) // 1_000_000)
            case WaitKey(timeout_ms=timeout_ms):
                return Keyed(await dialogue.wait_key(timeout_ms))
            case Decide():
                raise AssertionError("a decision is not performed")
        return Done()

    async def _asking(self, prompt: PromptFacts) -> None:
        """The question is on file before its first sound."""
        first = self._prepare
        if first:
            self._prepare = False
            self._keys = asyncio.create_task(self._world.recorder.prepare(self._policy))
        body = evidence.asked(self._policy, self._world.edge_id, prompt, self.who)
        # A party that is asked while another's answer already permits does not take the call back to its question.
        state = "asking" if self._call.state != "permitted" else None
        await self._world.journal.add_event(
            self._call.call_id, event_now(self._world, "requested", body, self.who.party_id), state=state
        )
        hit("call.requested")
        if first:
            # From here on a hang-up is `abandoned`: the dialplan's own hang-up extension says so in the CDR.
            await self._dialogue.set_variable("CALLWARDEN_CALL", self._call.call_id)


def event_now(world: World, kind: str, body: dict[str, Any], party_id: str | None) -> ConsentEvent:
    """An event of this moment."""
    return ConsentEvent(kind, world.clock.wall_text(), world.clock.mono_ns(), body, party_id)


async def language_of(world: World, dialogue: Dialogue, policy: Policy) -> str:
    """In which language this call is spoken to: the one chosen by key, else by number, else the channel's. Raises
    CallerGone, DialogueLost."""
    chosen = await dialogue.get_variable(tags.LANGUAGE)
    if chosen in policy.languages:
        return chosen
    return choose_language(policy, dialogue.language, dialogue.dialled, world.telephony().country)


async def ask_now(
    world: World, dialogue: Dialogue, call: CallRow, policy: Policy, kind: scripts.Kind, who: Who | None = None
) -> Decide:
    """Ask in mid-call, over a dialogue that is open on the channel of whom is asked.

    kind: `start` (a recording somebody wants to start) or `third` (a further party). call: its row as it is now; who:
    the party, default the call's own. Stores `requested` (and the state `asking` unless the call is permitted), not the
    answer: `start_recording` does that for a permitting one, `file_answer` for any other. Never raises CallerGone or
    DialogueLost: those are the outcomes `abandoned` and `unavailable`.
    """
    who = who or parties.of_call(call)
    talk = Talk(world, dialogue, policy, call, who, prepare=False)
    try:
        script = scripts.build(talk.book, policy, kind, await language_of(world, dialogue, policy))
    except CallerGone:
        return undecided("abandoned", "hangup")
    except DialogueLost:
        return undecided("unavailable", "agi.lost")
    except CallwardenError as error:
        await world.journal.alarm(error.code, error.message, where=error.where)
        return undecided("unavailable", error.code)
    return await talk.hold(script)


async def say(world: World, dialogue: Dialogue, prompt_id: str, language: str) -> int:
    """Play one sentence that takes no key; returns the milliseconds that were heard. Raises CallerGone, DialogueLost,
    CallwardenError prompt.*."""
    prompt = world.prompts.resolve(prompt_id, language)
    world.prompts.verify(prompt)
    _, heard_ms = await dialogue.play(prompt.path, "")
    return heard_ms
