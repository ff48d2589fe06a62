"""STAGE: one call from its entry to its outcome. Reads top to bottom.

The dialplan has already written `unavailable` everywhere; whatever fails here leaves that word standing and the caller
goes on. Every outcome and its evidence is stored before it has an effect, and the outcome variable is set last.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from edge.calls import evidence, parties
from edge.consent import permit as permits
from edge.consent.machine import (
    Answer,
    Ask,
    Conversation,
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
)
from edge.consent.policy import Policy, choose_language
from edge.consent.prompt import Prompt
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow, ConsentEvent, NewCall
from edge.ports import CallerGone, Clock, Dialogue, DialogueLost, Journal, PromptPort, RecorderPort

log = structlog.get_logger("calls")


@dataclass(frozen=True, slots=True)
class World:
    """The stage's neighbours. `policy_for` chooses a policy; `not_ready` says why nothing may be recorded now, or ""."""

    journal: Journal
    recorder: RecorderPort
    prompts: PromptPort
    clock: Clock
    edge_id: str
    policy_for: Callable[[Dialogue], Policy | None]
    not_ready: Callable[[], CallwardenError | None]


async def take_call(world: World, dialogue: Dialogue) -> CallRow | None:
    """Lead one call through its policy. Returns its row as it began, or None when not even a row could be stored."""
    policy = world.policy_for(dialogue)
    if policy is None:
        log.error("no such policy; the call is not recorded", policy=dialogue.policy_name, channel=dialogue.channel_uid)
        await world.journal.alarm("policy.unknown", "the dialplan names a policy that is not configured")
        return None
    call = await world.journal.open_call(_new_call(world, dialogue, policy))
    hit("call.opened")
    if call.outcome is not None or call.state != "offered":
        await _tag(dialogue, call.call_id, call.outcome or "unavailable", policy, None)  # the same call came in again
        return call
    talk = _Talk(world, dialogue, policy, call)
    try:
        decision = await talk.until_decided()
        if decision.outcome == "given":
            await talk.record(decision)
        else:
            await talk.decline(decision)
    except CallwardenError as error:
        await talk.give_up(error)
    finally:
        await talk.drop_keys()
    return call


class _Talk:
    """One conversation: performs the machine's steps and feeds back what came of each."""

    def __init__(self, world: World, dialogue: Dialogue, policy: Policy, call: CallRow) -> None:
        self._world = world
        self._dialogue = dialogue
        self._policy = policy
        self._call = call
        self._prompts: dict[str, Prompt] = {}
        self._keys: asyncio.Task[Any] | None = None

    async def until_decided(self) -> Decide:
        """Ask, listen, ask again, until the machine decides."""
        if (why := self._world.not_ready()) is not None:
            await self._world.journal.alarm(why.code, why.message)
            return Decide("unavailable", why.code, (), "", 0, "")
        try:
            talk = Conversation(self._script())
        except CallwardenError as error:
            await self._world.journal.alarm(error.code, error.message, where=error.where)
            return Decide("unavailable", error.code, (), "", 0, "")
        event: Event = Started()
        while not isinstance(step := talk.advance(event), Decide):
            try:
                event = await self._perform(step)
            except CallerGone:
                event = HungUp()
            except DialogueLost:
                event = Failed("agi.lost")
            except CallwardenError as error:
                await self._world.journal.alarm(error.code, error.message, where=error.where)
                event = Failed(error.code)
        return step

    async def _perform(self, step: Step) -> Event:
        dialogue = self._dialogue
        match step:
            case Answer():
                await dialogue.answer()
            case DiscardKeys():
                await dialogue.discard_keys()
            case Ask(prompt=prompt):
                self._keys = asyncio.create_task(self._world.recorder.prepare(self._policy))
                await self._store("requested", evidence.asked(self._policy, self._world.edge_id, prompt), "asking")
                hit("call.requested")
                # From here on a hang-up is `abandoned`: the dialplan's own hang-up extension says so in the CDR.
                await dialogue.set_variable("CALLWARDEN_CALL", self._call.call_id)
            case Play(prompt=prompt, keys=keys, offset_ms=offset_ms):
                audio = self._prompts[prompt.prompt_id]
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

    def _script(self) -> Script:
        policy = self._policy
        if policy.mode == "never":
            return Script(policy.mode)
        language = choose_language(policy, self._dialogue.language)
        ask, again = (self._facts(prompt_id, language) for prompt_id in (policy.prompt_id, f"{policy.prompt_id}_again"))
        return Script(
            policy.mode, ask, again, policy.yes_key, policy.answer_window.ms, policy.retries, policy.barge_in,
            policy.on_silence,
        )  # fmt: skip

    def _facts(self, prompt_id: str, language: str) -> PromptFacts:
        prompt = self._prompts[prompt_id] = self._world.prompts.resolve(prompt_id, language)
        return PromptFacts(
            prompt.id, prompt.version, prompt.language, prompt.sha256, prompt.duration_ms, prompt.answerable_from_ms
        )

    # ------------------------------------------------------------ outcomes

    async def record(self, decision: Decide) -> None:
        """Write order `start`: keys, then one commit of event, permit and recording, then Asterisk, then the tag."""
        world, call, policy = self._world, self._call, self._policy
        assert self._keys is not None
        try:
            prepared = await self._keys
        except CallwardenError as error:
            await world.journal.alarm(error.code, error.message, where=error.where)
            await self.decline(replace(decision, outcome="unavailable", reason=error.code))
            return
        self._keys = None
        event = self._event("given", evidence.decided(policy, world.edge_id, decision))
        permit = permits.grant(
            secrets.token_hex(16), call.call_id, "given", policy.purposes, policy.name, policy.version
        )
        new = world.recorder.rows(prepared, permit, policy, self._dialogue.channel_uid, self._dialogue.channel_name)
        await world.journal.grant(call.call_id, event, permit.permit_id, policy.purposes, new)
        hit("start.granted")
        try:
            order = world.recorder.begin(permit, prepared, new, policy)
            monitor_id = await self._dialogue.start_monitor(order.path, order.options)
        except (CallerGone, DialogueLost, CallwardenError) as error:
            await self._not_started(new.recording_id, error)
            return
        hit("start.monitor_started")
        await world.recorder.confirm(new.recording_id, monitor_id)
        await self._say("given", new.recording_id)
        log.info("the caller agreed; recording", call=call.call_id, recording=new.recording_id, policy=policy.name)

    async def _not_started(self, recording_id: str, error: Exception) -> None:
        """The yes is stored but no audio will come: say so, in the record and to the operator."""
        reason = error.code if isinstance(error, CallwardenError) else type(error).__name__
        if not isinstance(error, CallerGone):
            await self._world.journal.alarm("agi.monitor", "a permitted recording did not start", where=recording_id)
        await self._world.recorder.fail(recording_id)
        body = evidence.base(self._policy, self._world.edge_id) | {"reason": reason}
        await self._world.journal.add_event(self._call.call_id, self._event("recording_failed", body))
        if not isinstance(error, CallerGone):  # the channel's tag still says so: the record and the tag must agree
            await self._world.journal.add_event(
                self._call.call_id, self._event("unavailable", body), outcome="unavailable"
            )
        log.warning("the caller agreed but nothing is recorded", call=self._call.call_id, why=reason)

    async def decline(self, decision: Decide) -> None:
        """Store the outcome, then tag the call. It goes on unrecorded."""
        body = evidence.decided(self._policy, self._world.edge_id, decision)
        if decision.reason == "prompt.not_played":
            await self._world.journal.alarm(decision.reason, "Asterisk did not play the question to its end")
        state = "ended" if decision.outcome == "abandoned" else "declined"
        await self._store(decision.outcome, body, state, decision.outcome)
        hit("call.declined")
        log.info("not recorded", call=self._call.call_id, outcome=decision.outcome, reason=decision.reason)
        if decision.outcome not in ("abandoned", "unavailable"):
            await self._say(decision.outcome, None)
        elif decision.reason != "agi.lost" and decision.outcome == "unavailable":
            await self._say("unavailable", None)

    async def give_up(self, error: CallwardenError) -> None:
        """The journal, or Asterisk's link, failed on the way: the caller goes on, and the record says what the tag says."""
        log.error("the call goes on unrecorded", call=self._call.call_id, code=error.code, why=str(error))
        await self._world.journal.alarm(error.code, error.message, where=error.where)
        body = evidence.base(self._policy, self._world.edge_id) | {"reason": error.code}
        try:
            await self._store("unavailable", body, "declined", "unavailable")
        except CallwardenError as again:  # decided before it failed, or still failing: its end is stored when it can be
            log.warning("the outcome could not be stored", call=self._call.call_id, code=again.code, why=again.message)

    async def _say(self, outcome: str, recording_id: str | None) -> None:
        try:
            await _tag(self._dialogue, self._call.call_id, outcome, self._policy, recording_id)
        except (CallerGone, DialogueLost):
            log.info("the call ended before it was tagged", call=self._call.call_id, outcome=outcome)

    async def _store(self, kind: str, body: dict[str, Any], state: str, outcome: str | None = None) -> None:
        await self._world.journal.add_event(self._call.call_id, self._event(kind, body), state=state, outcome=outcome)

    def _event(self, kind: str, body: dict[str, Any]) -> ConsentEvent:
        clock = self._world.clock
        return ConsentEvent(kind, clock.wall_text(), clock.mono_ns(), body, self._call.party_id)

    async def drop_keys(self) -> None:
        """No recording came of the prepared keys: overwrite them."""
        if self._keys is None:
            return
        task, self._keys = self._keys, None
        try:
            await self._world.recorder.discard(await task)
        except CallwardenError as error:
            log.warning("prepared keys could not be discarded; the next start sweeps them", why=error.message)


async def _tag(dialogue: Dialogue, call_id: str, outcome: str, policy: Policy, recording_id: str | None) -> None:
    """The same word everywhere: CDR, AMI event, channel variables; CALLWARDEN_OUTCOME last."""
    words = {"CALLWARDEN_CALL": call_id, "CALLWARDEN_POLICY": policy.name}
    if recording_id is not None:
        words["CALLWARDEN_RECORDING"] = recording_id
    await dialogue.set_variables(words | {"CDR(userfield)": f"cw={outcome};call={call_id}"})
    await dialogue.user_event("CallwardenConsent", {"Outcome": outcome, "Call": call_id, "Policy": policy.name})
    await dialogue.set_variable("CALLWARDEN_OUTCOME", outcome)
    hit("call.tagged")


def _new_call(world: World, dialogue: Dialogue, policy: Policy) -> NewCall:
    heard, number_class = parties.number(dialogue.caller_number)
    return NewCall(
        call_id=secrets.token_hex(16),
        linked_id=dialogue.linked_id,
        channel_uid=dialogue.channel_uid,
        channel_name=dialogue.channel_name,
        party_id=secrets.token_hex(16),
        direction="inbound",
        policy_id=policy.name,
        policy_version=policy.version,
        policy_document=policy.document,
        mode=policy.mode,
        purposes=policy.purposes,
        language=dialogue.language,
        number_heard=heard,
        number_class=number_class,
        started_at=world.clock.wall_text(),
    )
