"""Asking somebody inside the bridge: a further party who became audible, or the caller when an agent starts a recording."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from edge.calls import tags
from edge.calls.crowd import Somebody
from edge.calls.errands import Errands
from edge.calls.followed import Followed, not_live, refused
from edge.calls.parties import Who
from edge.calls.starting import file_answer, permit_of, start_again, start_recording
from edge.calls.talk import ask_now, language_of, say
from edge.calls.world import World
from edge.consent.permit import PERMITTING
from edge.consent.withdrawal import Effect
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.ports import Asterisk, CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

#: What a call may be filed as when an agent wants to start its recording: a no in this call is not asked about again.
STARTABLE: Final = frozenset({"not_recorded", "given", "notified", "not_required"})


class Asking:
    """`touch(call_id)`: have the call judged anew."""

    def __init__(self, world: World, asterisk: Asterisk, errands: Errands, touch: Callable[[str], None]) -> None:
        self._world = world
        self._asterisk = asterisk
        self._errands = errands
        self._touch = touch
        self._starting: set[asyncio.Task[None]] = set()

    async def third(self, followed: Followed, somebody: Somebody, company: frozenset[str]) -> None:
        """Ask a further party on its own channel, once for each `company` it is in. The recording is paused meanwhile: a
        yes lets it go on, a no ends it, and a party who cannot be asked keeps it paused for as long as it is there."""
        uid, party = somebody.channel_uid, somebody.party
        if followed.asked.get(uid) == company:
            return
        followed.asked[uid] = company
        who = Who("third", party.party_id, uid, "", party.number_heard, party.number_class, None)

        async def work(dialogue: Dialogue) -> str:
            call = await self._world.journal.call(followed.call_id)
            now = {p.party_id: p.standing for p in await self._world.journal.parties(followed.call_id)}
            if call is None or call.outcome not in PERMITTING or now.get(party.party_id) != "none":
                return ""
            decision = await ask_now(self._world, dialogue, call, followed.policy, "third", who)
            await file_answer(self._world, call, followed.policy, decision, who=who, outcome=False)
            return decision.outcome

        try:
            outcome = await self._errands.run(uid, work)
        except (CallerGone, DialogueLost):
            return
        except CallwardenError as error:
            message = f"a further party could not be asked, so the recording stays paused: {error.message}"
            await self._world.journal.alarm("calls.party_unasked", message, where=followed.call_id)
            return
        if outcome in PERMITTING:
            await self._world.journal.set_standing(party.party_id, outcome)
        elif outcome in ("refused", "objected", "withdrawn"):
            await self._world.journal.set_standing(party.party_id, "refused")
        self._touch(followed.call_id)

    async def start(self, call: CallRow, followed: Followed) -> bool:
        """Start a recording in mid-call; returns as soon as the caller's channel answers the summons, and whether the
        caller is asked: not under a permit on file. Raises calls.refused, calls.not_live, calls.unreachable, ami.*."""
        outcome, mode = call.outcome or "", followed.policy.mode
        if outcome not in STARTABLE:
            raise refused(call.call_id, f"this call is {outcome or 'undecided'}: it is not asked again")
        if outcome not in PERMITTING and mode != "manual":
            raise refused(call.call_id, f"a policy of mode {mode} starts by itself, or not at all")
        opened = asyncio.Event()
        task: asyncio.Task[None] = asyncio.create_task(self._run_start(call, followed, opened))
        self._starting.add(task)
        task.add_done_callback(self._ended)
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not opened.is_set():
            await task
        return outcome not in PERMITTING

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a start came to nothing", why=str(error))

    async def _run_start(self, call: CallRow, followed: Followed, opened: asyncio.Event) -> None:
        try:
            await self._errands.run(
                followed.channel_uid, lambda dialogue: self._start(dialogue, call.call_id, followed), opened=opened
            )
        except (CallerGone, DialogueLost):
            if not opened.is_set():
                raise not_live(call.call_id, "the caller is gone") from None

    async def tell(self, followed: Followed, effect: Effect) -> None:
        """The call's own party hears what was done on its word. Raises as `Errands.run`."""
        policy = followed.policy

        async def work(dialogue: Dialogue) -> None:
            await say(self._world, dialogue, effect.prompt, await language_of(self._world, dialogue, policy))

        await self._errands.run(followed.channel_uid, work)

    async def _start(self, dialogue: Dialogue, call_id: str, followed: Followed) -> None:
        world, policy = self._world, followed.policy
        call = await world.journal.call(call_id)
        if call is None or call.state == "ended" or world.recorder.capturing(call_id):
            return
        permit = await permit_of(world, call_id)
        if permit is not None:
            recording_id = await start_again(world, dialogue, call, policy, permit)
            outcome = call.outcome or ""
        else:
            await tags.in_case_of_hang_up(dialogue, call_id)
            decision = await ask_now(world, dialogue, call, policy, "start")
            outcome, recording_id = decision.outcome, None
            if outcome in PERMITTING:
                recording_id = await start_recording(world, dialogue, call, policy, decision)
                outcome = outcome if recording_id is not None else "unavailable"
            else:
                await file_answer(world, call, policy, decision)
        self._touch(call_id)
        if outcome == "abandoned":  # the channel takes no more tags; CDR and CEL have theirs
            await self._asterisk.user_event(*tags.event(outcome, call_id, policy.name))
            return
        await tags.by_dialogue(dialogue, outcome, call_id, policy, recording_id)
        said = "thanks_recorded" if recording_id is not None else "thanks_not_recorded"
        await say(world, dialogue, said, await language_of(world, dialogue, policy))
