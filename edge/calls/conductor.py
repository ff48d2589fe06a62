"""STAGE: calls that go on. Implements `edge.ports.LiveCalls` and hears what Asterisk says of their channels.

Whatever happens to a call, its recordings are compared with what is wanted (`keeping`); what people ask for is written
down first and then compared the same way. Sessions that the dialplan opens inside a bridge end here: feature codes, and
errands of our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from edge.calls.asking import Asking
from edge.calls.codes import Codes
from edge.calls.crowd import Crowd, Somebody, StandingOf
from edge.calls.errands import Errands
from edge.calls.followed import Exchange, Followed, Policies, answer, not_found, not_live, refused
from edge.calls.incidents import shred_open
from edge.calls.keeping import Keeper
from edge.calls.mending import Mending
from edge.calls.parties import Who
from edge.calls.pausing import Pausing
from edge.calls.unattended import Unattended
from edge.calls.withdrawing import Withdrawing
from edge.calls.world import World
from edge.consent.policy import Policy
from edge.consent.withdrawal import Effect
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.model.live import OUTSIDE, Actor, PauseRow
from edge.ports import CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

#: After a look at a call that failed, the next one, seconds.
AGAIN_S: Final = 1.0
#: How long a wish over API or CLI waits to see its effect before it answers, seconds.
ANSWER_S: Final = 6.0
ANEW: Final = "The recording begins again, under the permit that is on file."


class Conductor:
    """All calls whose channel exists and that are recorded or may be. `standing_of`: what is on file for a device;
    `lamps`: the names of all lamps that policies have now."""

    def __init__(
        self, world: World, asterisk: Exchange, standing_of: StandingOf, lamps: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._world = world
        self._lamps = lamps
        self._asterisk = asterisk
        self._calls: dict[str, Followed] = {}
        self._by_uid: dict[str, str] = {}
        self._policies = Policies(world)
        self._errands = Errands(asterisk, world.journal.alarm)
        self._crowd = Crowd(world, asterisk, standing_of)
        self._keeper = Keeper(world, asterisk, self._crowd)
        self._withdrawing = Withdrawing(world, asterisk, self._policies)
        self._asking = Asking(world, asterisk, self._errands, self.touch)
        self._pausing = Pausing(world, self.touch, self._spawn)
        self._codes = Codes(world, asterisk, self, self._calls, self._by_uid, self._spawn)
        self.mending = Mending(world, asterisk, self._errands, self._calls.get, self._by_uid.get, self._policies.of)
        self.unattended = Unattended(world, asterisk, self._by_uid, self._withdraw)
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ which calls

    async def follow(self, call: CallRow) -> None:
        """From its entry, or after a restart, to its end. A call that can never be recorded is only known,
        for when its party comes into another."""
        policy = await self._policies.of(call)
        if policy is None or call.state == "ended" or call.call_id in self._calls:
            return
        self._crowd.began(call)
        if policy.mode == "never":
            return
        followed = self._calls[call.call_id] = Followed(call.call_id, call.channel_uid, policy)
        self._by_uid[call.channel_uid] = call.call_id
        if self._world.recorder.live_of(call.call_id):
            await self._world.lamps.lit(policy.lamp, call.call_id)
        for pause in await self._world.journal.pauses(call.call_id):
            if pause.ended_at is None:
                self._taken_up(pause)
                followed.again = await self._pausing.failed(call)
        self.touch(call.call_id)

    async def policy_of(self, call: CallRow) -> Policy | None:
        """The policy it began under."""
        return await self._policies.of(call)

    def _taken_up(self, pause: PauseRow) -> None:
        if pause.reason == "hold" and pause.actor.name:
            self._keeper.held.add(pause.actor.name)
        elif pause.reason == "asked":
            self._pausing.arm(self._calls[pause.call_id], pause)

    def forget(self, call_id: str) -> None:
        """It is over."""
        self._crowd.ended(call_id)
        followed = self._calls.pop(call_id, None)
        if followed is not None:
            self._by_uid.pop(followed.channel_uid, None)
            if followed.timer is not None:
                followed.timer.cancel()
            self._spawn(self._world.lamps.dark(call_id))

    # ------------------------------------------------------------ what Asterisk tells

    def channel_gone(self, channel_uid: str) -> None:
        """Its holds go with it."""
        self._keeper.held.discard(channel_uid)
        self._crowd.forget(channel_uid)

    def channel_bridged(self, channel_uid: str) -> None:
        """The call's own channel: somebody is there."""
        self._touch_channel(channel_uid)

    channel_unbridged = channel_bridged

    def company_changed(self, channel_uids: Iterable[str]) -> None:
        """Judge the calls among them anew."""
        for uid in channel_uids:
            self._touch_channel(uid)

    def channel_held(self, channel_uid: str, on: bool) -> None:
        """A hold is one of the call's whole conversation, whoever pressed."""
        if on:
            self._keeper.held.add(channel_uid)
        else:
            self._keeper.held.discard(channel_uid)
        self.company_changed((channel_uid, *self._asterisk.with_channel(channel_uid)))

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        """The recorder knows which are its own. One that the dialplan stopped for a frozen daemon has left a mark."""
        if not on:
            self._spawn(self.unattended.look(channel_uid))

    def link_up(self, alive: Mapping[str, str]) -> None:
        """Look at every call; holds of channels that went unseen are over."""
        self._keeper.held &= alive.keys()
        self.judge_all()

    def judge_all(self) -> None:
        """Look at every call and lamp: what is on file of agents, numbers or trunks may be another after a reload."""
        self._spawn(self._world.lamps.refresh(self._lamps()))
        for call_id in list(self._calls):
            self.touch(call_id)

    def link_down(self) -> None:
        """The next link-up judges."""

    # ------------------------------------------------------------ looking at a call

    def _touch_channel(self, uid: str) -> None:
        if (call_id := self._by_uid.get(uid)) is not None:
            self.touch(call_id)

    def touch(self, call_id: str) -> None:
        """Look at this call now, and once more for whatever happens meanwhile."""
        followed = self._calls.get(call_id)
        if followed is None:
            return
        followed.dirty = True
        if followed.task is None or followed.task.done():
            followed.task = self._spawn(self._look(followed))

    async def _look(self, followed: Followed) -> None:
        while followed.dirty and followed.call_id in self._calls:
            followed.dirty = False
            try:
                found = await self._keeper.settle(followed)
            except CallwardenError as error:
                log.warning("a call could not be judged", call=followed.call_id, code=error.code, why=error.message)
                await asyncio.sleep(AGAIN_S)
                followed.dirty = True
                continue
            if found is not None:
                await self._after(followed, found[0].state, found[1])

    async def _after(self, followed: Followed, state: str, company: Sequence[Somebody]) -> None:
        channels = frozenset(somebody.channel_uid for somebody in company)
        for somebody in company:
            party = somebody.party
            if party.role in OUTSIDE and party.standing == "none" and not somebody.never:
                self._spawn(self._asking.third(followed, somebody, channels))
        if state == "record" and followed.again and company:
            followed.again = False
            self._spawn(self.mending.start_again(followed))

    async def _settled(self, followed: Followed) -> None:
        """See the effect of a wish, for as long as somebody waits."""
        self.touch(followed.call_id)
        if followed.task is not None:
            await asyncio.wait({followed.task}, timeout=ANSWER_S)

    # ------------------------------------------------------------ edge.ports.LiveCalls

    async def withdraw(self, call_id: str, actor: Actor, reason: str) -> Mapping[str, Any]:
        """See `edge.ports.LiveCalls`; the party hears it, too."""
        call, effect = await self._withdraw(call_id, actor, reason or "asked", None)
        followed = self._calls.get(call_id)
        if followed is not None and effect.did != "nothing_recorded":
            self._spawn(self._asking.tell(followed, effect))
        return answer(call, effect.did, effect.says)

    async def pause(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        """See `edge.ports.LiveCalls`; ends by `resume` or the policy's `pause_limit`. Raises
        calls.pause_late when it is on file and not made yet."""
        call, followed = await self._live(call_id)
        if not self._world.recorder.live_of(call_id):
            raise refused(call_id, "nothing is recorded in this call, so there is nothing to pause")
        pause = await self._pausing.open(followed, actor)
        await self._settled(followed)
        await self._pausing.proved(followed)
        limit = f" It goes on by itself at {pause.until_at}." if pause.until_at else ""
        return answer(call, "paused", f"The recording is paused.{limit}")

    async def resume(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        """See `edge.ports.LiveCalls`; other reasons for a pause stay."""
        call, followed = await self._live(call_id)
        closed = await self._pausing.close(followed, actor)
        await self._settled(followed)
        left = sorted(p.reason for p in await self._world.journal.pauses(call_id) if p.ended_at is None)
        if left:
            says = f"The pause that was asked for is over; the recording is still paused: {', '.join(left)}."
            return answer(call, "still_paused", says)
        return answer(call, "resumed" if closed else "already", "The recording goes on.")

    async def start(self, call_id: str, actor: Actor) -> Mapping[str, Any]:
        """See `edge.ports.LiveCalls`. Answers as soon as the caller is being asked; under a permit on file (an agent had
        stopped) the recording begins again without a question."""
        call, followed = await self._live(call_id)
        if self._world.recorder.capturing(call_id):
            return answer(call, "already", await self._pausing.how_it_is(call_id))
        if (why := self._world.not_ready()) is not None:
            raise why
        asked = await self._asking.start(call, followed)
        return answer(call, *(("asking", "The caller is being asked.") if asked else ("starting", ANEW)))

    async def incident(self, call_id: str, actor: Actor, seconds: float) -> Mapping[str, Any]:
        """See `edge.ports.LiveCalls`."""
        return await shred_open(self._world, call_id, seconds)

    # ------------------------------------------------------------ feature codes

    async def feature(self, dialogue: Dialogue) -> None:
        """A session from inside a bridge. Raises CallerGone, DialogueLost."""
        if dialogue.feature == "errand":
            await self._errands.deliver(dialogue)
        else:
            await self._codes.pressed(dialogue)

    async def pressed_withdraw(self, call_id: str, actor: Actor, who: Who) -> str:
        """The star code; returns the prompt that says what came of it."""
        _, effect = await self._withdraw(call_id, actor, "star_code", who)
        return effect.prompt

    # ------------------------------------------------------------ helpers

    async def _withdraw(
        self, call_id: str, actor: Actor, reason: str, who: Who | None, pressed_at: str = ""
    ) -> tuple[CallRow, Effect]:
        call, effect = await self._withdrawing.withdraw(call_id, actor, reason, who, pressed_at)
        # The calls of others on the line too: to them this party is one that says no now.
        self.company_changed((call.channel_uid, *self._asterisk.with_channel(call.channel_uid)))
        if effect.outcome and (policy := await self._policies.of(call)) is not None:
            self._spawn(self._withdrawing.retag(call, effect.outcome, policy))
        elif effect.stop:
            self._spawn(self._world.lamps.dark(call_id))
        return call, effect

    async def _live(self, call_id: str) -> tuple[CallRow, Followed]:
        call = await self._world.journal.call(call_id)
        if call is None:
            raise not_found(call_id)
        followed = self._calls.get(call_id)
        if followed is None or call.state == "ended":
            raise not_live(call_id, "the call is over, or can never be recorded")
        return call, followed

    async def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except (CallerGone, DialogueLost):
            log.info("the party was gone before it could be told")
        except CallwardenError as error:
            log.warning("an errand failed", code=error.code, why=error.message)
        except Exception:
            log.exception("something about a live call failed: this is a bug")

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
