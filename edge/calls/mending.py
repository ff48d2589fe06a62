"""What is done about a recording that went wrong in mid-call: a side silent to the bit, a file that does not grow, a
MixMonitor of somebody else. The recorder notices, this acts.

On Asterisk 22.10.1 the far side is often exact zeros after a blind transfer, though the caller hears it. What cures that
is to stop, play something to the caller, and start again (tried; asterisk issue 507).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog

from edge.calls import evidence, parties
from edge.calls.errands import Errands
from edge.calls.followed import Exchange, Followed
from edge.calls.starting import permit_of, start_again
from edge.calls.talk import event_now, language_of, say
from edge.calls.world import World
from edge.consent.permit import PERMITTING
from edge.consent.policy import Policy
from edge.errors import CallwardenError
from edge.model.entities import CallRow, RecordingRow
from edge.ports import CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

#: A repair finds its caller in a conversation, so it is not waited for long, seconds.
COMPANY_S: Final = 1.0
NOT_NOW: Final = "not now"


class Mending:
    """Implements what the recorder's watch calls. `call_of(call_id)`, `owner_of(channel_uid)`: calls that go on and may
    be recorded; `policy_of`: what any call began under."""

    def __init__(
        self,
        world: World,
        asterisk: Exchange,
        errands: Errands,
        call_of: Callable[[str], Followed | None],
        owner_of: Callable[[str], str | None],
        policy_of: Callable[[CallRow], Awaitable[Policy | None]],
    ) -> None:
        self._world = world
        self._asterisk = asterisk
        self._errands = errands
        self._call_of = call_of
        self._owner_of = owner_of
        self._policy_of = policy_of
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ the recorder's watch

    def one_sided(self, recording_id: str, side: str) -> None:
        """`side` has been silent to the bit for a second while two were bridged."""
        self._once(recording_id, self._one_sided(recording_id, side))

    def gap(self, recording_id: str) -> None:
        """A permitted recording does not grow."""
        self._once(recording_id, self._gap(recording_id))

    def rogue(self, channel_uid: str) -> None:
        """A MixMonitor began that the recorder did not order."""
        self._once(channel_uid, self._rogue(channel_uid))

    # ------------------------------------------------------------ one side silent

    async def _one_sided(self, recording_id: str, side: str) -> None:
        """Repaired once for each company the caller is in; what stays silent then is silent, and marked."""
        found = await self._of(recording_id)
        if found is None:
            return
        followed, recording = found
        company = frozenset(self._asterisk.with_channel(followed.channel_uid))
        if recording.state != "recording" or not company:
            return
        if followed.mended == company:
            await self._world.journal.flag(recording_id, "one_sided", side)
            return
        followed.mended = company
        log.warning("one side is silent; the recording is started anew", recording=recording_id, side=side)
        try:
            successor = await self._errands.run(
                followed.channel_uid, lambda d: self._anew(d, followed, recording_id), company_s=COMPANY_S
            )
        except (CallerGone, DialogueLost, CallwardenError) as error:
            log.warning("the silent side could not be repaired", recording=recording_id, why=str(error))
            successor = None
        if successor == NOT_NOW:
            followed.mended = None
            return
        if successor is None and not self._world.recorder.capturing(followed.call_id):
            await self.start_again(followed)  # the session ended between the stop and the start
            successor = next(iter(self._world.recorder.capturing(followed.call_id)), None)
        if successor is None:
            await self._world.journal.flag(recording_id, "one_sided", side)
        else:
            await self._world.journal.flag(recording_id, "repaired", successor)

    async def _anew(self, dialogue: Dialogue, followed: Followed, recording_id: str) -> str | None:
        """Stop, a short tone to the caller, start again under the same permit; the successor's id, None when it did not
        start, NOT_NOW when nothing is to be recorded at this moment."""
        world = self._world
        async with followed.lock:
            call, permit = await world.journal.call(followed.call_id), await permit_of(world, followed.call_id)
            if call is None or permit is None or call.outcome not in PERMITTING or await self._paused(followed):
                return NOT_NOW
            await world.recorder.stop(recording_id, "rotate")
            try:
                await say(world, dialogue, "tone", await language_of(world, dialogue, followed.policy))
            except CallwardenError as error:  # without its sound the start may still cure it
                log.warning("no tone can be played", code=error.code, why=error.message)
            return await start_again(world, dialogue, call, followed.policy, permit)

    async def start_again(self, followed: Followed) -> None:
        """A recording that had to be stopped for a pause begins again, the pause over."""

        async def work(dialogue: Dialogue) -> str | None:
            world = self._world
            async with followed.lock:
                call, permit = await world.journal.call(followed.call_id), await permit_of(world, followed.call_id)
                if call is None or permit is None or world.recorder.capturing(followed.call_id):
                    return None
                if call.outcome not in PERMITTING or await self._paused(followed):
                    return None
                return await start_again(world, dialogue, call, followed.policy, permit)

        try:
            await self._errands.run(followed.channel_uid, work)
        except CallwardenError as error:
            await self._failed(followed, error.code)

    async def _paused(self, followed: Followed) -> bool:
        return any(p.ended_at is None for p in await self._world.journal.pauses(followed.call_id))

    # ------------------------------------------------------------ no file

    async def _gap(self, recording_id: str) -> None:
        found = await self._of(recording_id)
        call = await self._world.journal.call(found[0].call_id) if found is not None else None
        if found is None or call is None or call.outcome not in PERMITTING:  # taken back meanwhile: it had to end
            return
        await self._world.journal.flag(recording_id, "gap", "")
        await self._failed(found[0], "watchdog.gap")

    async def _failed(self, followed: Followed, reason: str) -> None:
        """`recording_failed`, and what the policy wants of a recording that breaks in mid-call."""
        world, policy = self._world, followed.policy
        call = await world.journal.call(followed.call_id)
        if call is None:
            return
        who = parties.of_call(call)
        body = evidence.base(policy, world.edge_id, who) | {"reason": reason}
        await world.journal.add_event(call.call_id, event_now(world, "recording_failed", body, who.party_id))
        message = f"a permitted recording failed in the middle of its call: {reason}"
        await world.journal.alarm("recording.failed", message, where=call.call_id)
        if policy.on_failure_midcall == "alarm":
            return

        async def work(dialogue: Dialogue) -> None:
            await say(world, dialogue, "unavailable_notice", await language_of(world, dialogue, policy))

        try:
            await self._errands.run(followed.channel_uid, work, company_s=COMPANY_S)
        except (CallerGone, DialogueLost, CallwardenError) as error:
            log.warning("the caller could not be told that the recording failed", why=str(error))
        name = self._asterisk.channel_name(followed.channel_uid)
        if policy.on_failure_midcall == "hang_up" and name is not None:
            await self._asterisk.hang_up(name)

    # ------------------------------------------------------------ somebody else's monitor

    async def _rogue(self, channel_uid: str) -> None:
        """Asked about before anything is done: whoever can forge an event must not stop a recording."""
        name = self._asterisk.channel_name(channel_uid)
        if name is None:
            return
        file = await self._asterisk.get_variable(name, "MIXMONITOR_FILENAME")
        if not file:
            log.warning("a MixMonitor was announced that the channel knows nothing of", channel=channel_uid)
            return
        followed = self._followed(channel_uid)
        live = self._world.recorder.live_of(followed.call_id) if followed is not None else ()
        for recording_id in live:
            recording = await self._world.journal.recording(recording_id)
            if recording is not None and recording.spool_name.partition(".")[0] in file:
                return  # ours
        message = "a MixMonitor runs that no permit stands behind"
        await self._world.journal.alarm("watchdog.rogue_monitor", message, where=name)
        for recording_id in live:
            await self._world.journal.flag(recording_id, "rogue_monitor", "")
        if not await self._unwelcome(channel_uid):
            return
        if followed is None or not live or followed.channel_uid != channel_uid:
            await self._asterisk.stop_monitor(name, "")
            return

        async def work(dialogue: Dialogue) -> None:
            # Its id is not known, and without one Asterisk takes the first it finds: so ours goes first, then its own.
            async with followed.lock:
                for recording_id in live:
                    await self._world.recorder.stop(recording_id, "rotate")
                await self._asterisk.stop_monitor(name, "")
                call = await self._world.journal.call(followed.call_id)
                permit = await permit_of(self._world, followed.call_id)
                if call is None or permit is None:
                    return
                followed.again = await self._paused(followed)  # then another begins once the pause is over
                if not followed.again:
                    await start_again(self._world, dialogue, call, followed.policy, permit)

        await self._errands.run(channel_uid, work, company_s=COMPANY_S)

    # ------------------------------------------------------------ helpers

    async def _unwelcome(self, channel_uid: str) -> bool:
        """Whether the policy of any call on this line wants such a monitor stopped; calls that are never recorded, too."""
        uids = {channel_uid, *self._asterisk.with_channel(channel_uid)}
        calls = [call for call in await self._world.journal.open_calls() if call.channel_uid in uids]
        policies = [await self._policy_of(call) for call in calls]
        return any(policy is not None and policy.rogue == "stop" for policy in policies)

    def _followed(self, channel_uid: str) -> Followed | None:
        """The call that this channel is on."""
        for uid in (channel_uid, *self._asterisk.with_channel(channel_uid)):
            if (call_id := self._owner_of(uid)) is not None:
                return self._call_of(call_id)
        return None

    async def _of(self, recording_id: str) -> tuple[Followed, RecordingRow] | None:
        recording = await self._world.journal.recording(recording_id)
        followed = self._call_of(recording.call_id) if recording is not None else None
        return None if recording is None or followed is None else (followed, recording)

    def _once(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """One mending of one thing at a time."""
        if what in self._busy:
            work.close()
            return
        self._busy.add(what)

        async def guarded() -> None:
            try:
                await work
            except (CallerGone, DialogueLost):
                log.info("the call ended before it could be mended", what=what)
            except CallwardenError as error:
                await self._world.journal.alarm(error.code, error.message, where=error.where)
            except Exception:
                log.exception("a mending failed: this is a bug", what=what)
            finally:
                self._busy.discard(what)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
