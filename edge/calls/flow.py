"""STAGE: one call from its entry to its outcome. Reads top to bottom.

The dialplan has already written `unavailable` everywhere; whatever fails here leaves that word standing and the caller
goes on. Every outcome and its evidence is stored before it has an effect, and the outcome variable is set last.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

import structlog

from edge.calls import evidence, memories, parties, scripts, tags
from edge.calls.memories import Memory
from edge.calls.parties import Who
from edge.calls.special import called_number, special_number
from edge.calls.starting import file_answer, start_recording
from edge.calls.talk import Talk, event_now
from edge.calls.world import World
from edge.consent.machine import Conversation
from edge.consent.permit import PERMITTING
from edge.consent.policy import Policy, choose_language
from edge.consent.script import Decide, OnFile, Script, Started, undecided
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow, NewCall
from edge.ports import CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

#: What is played when a call that should be recorded cannot be, by the policy's `on_failure`.
_SAID_ON_FAILURE = {"announce": "unavailable_notice", "refuse_call": "refused_call"}


async def take_call(world: World, dialogue: Dialogue) -> CallRow | None:
    """Lead one call through its policy: an inbound caller (`entry`), or a called party on its own leg before it is
    joined (`callee`). Returns its row as it began, or None when not even a row could be stored."""
    policy = world.policy_for(dialogue)
    if policy is None:
        log.error("no such policy; the call is not recorded", policy=dialogue.policy_name, channel=dialogue.channel_uid)
        await world.journal.alarm("policy.unknown", "the dialplan names a policy that is not configured")
        return None
    outbound = dialogue.script == "callee"
    telephony = world.telephony()
    who = parties.who(
        "callee" if outbound else "caller",
        secrets.token_hex(16),
        dialogue.channel_uid,
        dialogue.linked_id,
        called_number(telephony, dialogue) if outbound else dialogue.caller_number,
        telephony.country,
    )
    await _warn_of_difference(world, dialogue, policy)
    try:
        new = _new_call(world, dialogue, policy, who)
        call = await world.journal.open_call(new)
        if outbound and call.channel_uid != dialogue.channel_uid:
            # Asterisk's linked id is that of whoever dials: of a second called party it names the first one's call.
            call = await world.journal.open_call(replace(new, linked_id=dialogue.channel_uid))
    except CallwardenError:
        await _Flow(world, dialogue, policy, who).not_recorded_after_all()
        raise
    hit("call.opened")
    if call.outcome is not None or call.state != "offered":
        # The same call came in again.
        await tags.by_dialogue(dialogue, call.outcome or "unavailable", call.call_id, policy, None)
        return call
    await _Flow(world, dialogue, policy, replace(who, party_id=call.party_id)).run(call)
    return call


class _Flow:
    """One call at its entry."""

    def __init__(self, world: World, dialogue: Dialogue, policy: Policy, who: Who) -> None:
        self._world = world
        self._dialogue = dialogue
        self._policy = policy
        self._who = who
        self._kind: scripts.Kind = "callee" if who.role == "callee" else "entry"
        country = world.telephony().country
        self._language = choose_language(policy, dialogue.language, dialogue.dialled, country)
        self._special = special_number(world.telephony(), dialogue)
        self._memory: Memory | None = None

    async def run(self, call: CallRow) -> None:
        """From the question to the tag."""
        talk = Talk(self._world, self._dialogue, self._policy, call, self._who, prepare=True)
        try:
            decision = await self._decide(talk)
            if decision.outcome in PERMITTING:
                await self._record(call, talk, decision)
            else:
                await self._decline(call, decision)
        except CallwardenError as error:
            await self._give_up(call, error)
        finally:
            await talk.drop_keys()

    # ------------------------------------------------------------ the decision

    async def _decide(self, talk: Talk) -> Decide:
        """In this order: is anything able to record, may this number ever be, what is on file, and then the question."""
        world = self._world
        if (why := world.not_ready()) is not None:
            await world.journal.alarm(why.code, why.message)
            return undecided("unavailable", why.code)
        if self._special:
            decision = Conversation(Script("never", reason=self._special)).advance(Started())
            assert isinstance(decision, Decide)
            return decision
        try:
            script = await self._script(talk.book)
        except CallwardenError as error:
            await world.journal.alarm(error.code, error.message, where=error.where)
            return undecided("unavailable", error.code)
        except CallerGone:
            return undecided("abandoned", "hangup")
        except DialogueLost:
            return undecided("unavailable", "agi.lost")
        decision = await talk.hold(script)
        if decision.language and script.choice is not None:
            self._language = decision.language
        return decision

    async def _script(self, book: scripts.Book) -> Script:
        """The conversation, by what this number answered before."""
        world, policy, kind = self._world, self._policy, self._kind
        on_file: OnFile | None = None
        purposes: tuple[str, ...] = ()
        silent = False
        if not memories.forgetful(policy):
            version = scripts.question_version(book, policy, kind, self._language)
            self._memory = await memories.recall(world, self._dialogue, policy, self._who, version)
            recalled, verified = self._memory.recalled, self._memory.caller.verified
            if recalled.what != "nothing" and recalled.event_seq is not None:
                on_file, purposes = OnFile(recalled.outcome, recalled.event_seq), recalled.purposes
                silent = recalled.what == "on_file" and verified and world.silent_prior(policy)

        def in_language(language: str) -> Script:
            return scripts.build(book, policy, kind, language, on_file, purposes, silent=silent)

        return scripts.with_choice(book, policy, in_language(self._language), in_language)

    # ------------------------------------------------------------ outcomes

    async def _record(self, call: CallRow, talk: Talk, decision: Decide) -> None:
        """Write order `start`: keys, then one commit of event, permit and recording, then Asterisk, then the tag."""
        world, policy = self._world, self._policy
        try:
            prepared = await talk.keys()
        except CallwardenError as error:
            await world.journal.alarm(error.code, error.message, where=error.where)
            await self._decline(call, replace(decision, outcome="unavailable", reason=error.code, purposes=()))
            return
        recording_id = await start_recording(
            world, self._dialogue, call, policy, decision, who=self._who, prepared=prepared
        )
        if recording_id is None:
            await self.not_recorded_after_all()
            return
        await self._tag(call, decision.outcome, recording_id)
        try:
            await self._after(call, talk, decision)
        except CallwardenError as error:  # the call is recorded and says so: that stays
            await world.journal.alarm(error.code, error.message, where=error.where)

    async def _after(self, call: CallRow, talk: Talk, decision: Decide) -> None:
        """What a recorded call still owes: its answer is remembered, its notice played."""
        world = self._world
        if self._memory is not None and (permit := await world.journal.permit(call.call_id)) is not None:
            await memories.remember(world, self._policy, self._memory, decision, permit.event_seq)
        if decision.say_after is not None:
            await self._tell(call, talk, decision)

    async def _tell(self, call: CallRow, talk: Talk, decision: Decide) -> None:
        """`obligation`: the recording runs and is tagged; now the caller hears of it, and that is filed."""
        assert decision.say_after is not None
        try:
            await self._dialogue.answer()
            heard_ms, why = await talk.hear(decision.say_after)
        except CallerGone:
            heard_ms, why = 0, "hangup"
        except DialogueLost:
            heard_ms, why = 0, "agi.lost"
        body = evidence.told(self._policy, self._world.edge_id, decision, heard_ms, why or "played", self._who)
        event = event_now(self._world, decision.outcome, body, self._who.party_id)
        await self._world.journal.add_event(call.call_id, event, outcome=decision.outcome)
        hit("call.told")

    async def _decline(self, call: CallRow, decision: Decide) -> None:
        """Store the outcome, then tag the call. It goes on unrecorded."""
        forget = await memories.of_number(self._world, self._memory) if decision.outcome == "withdrawn" else None
        event_seq = await file_answer(self._world, call, self._policy, decision, who=self._who, forget=forget)
        hit("call.declined")
        log.info("not recorded", call=call.call_id, outcome=decision.outcome, reason=decision.reason)
        if self._memory is not None:
            await memories.remember(self._world, self._policy, self._memory, decision, event_seq)
        if decision.outcome == "abandoned" or decision.reason == "agi.lost":
            return
        if decision.outcome == "unavailable":
            await self._tag(call, "unavailable", None)
            await self.not_recorded_after_all()
            return
        if decision.reason == "manual":
            await self._offer_features()
        await self._tag(call, decision.outcome, None)

    async def _give_up(self, call: CallRow, error: CallwardenError) -> None:
        """The journal, or Asterisk's link, failed on the way: the caller goes on, and the record says what the tag says."""
        world = self._world
        log.error("the call goes on unrecorded", call=call.call_id, code=error.code, why=str(error))
        if error.code == "calls.taken_back":  # on file, and tagged by whoever filed it
            return
        await world.journal.alarm(error.code, error.message, where=error.where)
        try:
            await file_answer(world, call, self._policy, undecided("unavailable", error.code), who=self._who)
        except CallwardenError as again:  # decided before it failed, or still failing: its end is stored when it can be
            log.warning("the outcome could not be stored", call=call.call_id, code=again.code, why=again.message)
            if again.code == "journal.transition":
                return
        await self.not_recorded_after_all()

    async def not_recorded_after_all(self) -> None:
        """`on_failure`: tell the caller, and have the dialplan end the call where the policy says so. Emergency and
        never-recorded numbers are connected all the same, and so is a line that is never recorded."""
        said = _SAID_ON_FAILURE.get(self._policy.on_failure)
        if said is None or self._special or self._policy.mode == "never":
            return
        dialogue = self._dialogue
        try:
            if self._policy.on_failure == "refuse_call":
                await dialogue.set_variable(tags.REFUSE, "yes")
            prompt = self._world.prompts.resolve(said, self._language)
            self._world.prompts.verify(prompt)
            await dialogue.answer()
            await dialogue.set_variable(tags.ANNOUNCED, "yes")
            await dialogue.play(prompt.path, "")
        except (CallerGone, DialogueLost):
            log.info("the call ended before it was told", channel=dialogue.channel_uid)
        except CallwardenError as error:
            await self._world.journal.alarm(error.code, error.message, where=error.where)

    # ------------------------------------------------------------ tags

    async def _tag(self, call: CallRow, outcome: str, recording_id: str | None) -> None:
        try:
            if self._policy.language_choice:
                await self._dialogue.set_variable(tags.LANGUAGE, self._language)
            await tags.by_dialogue(self._dialogue, outcome, call.call_id, self._policy, recording_id)
        except (CallerGone, DialogueLost):
            log.info("the call ended before it was tagged", call=call.call_id, outcome=outcome)

    async def _offer_features(self) -> None:
        try:
            await tags.offer_features(self._dialogue)
        except (CallerGone, DialogueLost):
            log.info("the call ended before it had its feature codes", channel=self._dialogue.channel_uid)


async def _warn_of_difference(world: World, dialogue: Dialogue, policy: Policy) -> None:
    """The dialplan repeats `on_failure`, to honour it with the daemon dead: it must not promise something else. Alarmed
    once for each policy."""
    said = dialogue.on_failure or "unrecorded"
    if said != policy.on_failure and (policy.name, said) not in world.warned:
        world.warned.add((policy.name, said))
        message = f'policy "{policy.name}" says on_failure = "{policy.on_failure}", the dialplan\'s Gosub says "{said}"'
        await world.journal.alarm("policy.on_failure_differs", message, where=dialogue.context)


def _new_call(world: World, dialogue: Dialogue, policy: Policy, who: Who) -> NewCall:
    return NewCall(
        call_id=secrets.token_hex(16),
        linked_id=dialogue.linked_id,
        channel_uid=dialogue.channel_uid,
        channel_name=dialogue.channel_name,
        party_id=who.party_id,
        direction="outbound" if who.role == "callee" else "inbound",
        policy_id=policy.name,
        policy_version=policy.version,
        policy_document=policy.document,
        mode=policy.mode,
        purposes=policy.purposes,
        language=dialogue.language,
        number_heard=who.number_heard,
        number_class=who.number_class,
        started_at=world.clock.wall_text(),
        number_e164=who.number_e164,
    )


__all__ = ["World", "take_call"]
