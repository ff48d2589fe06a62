"""Taking an answer back, in a call that goes on or one that ended less than an hour ago. Write order `withdraw`.

The event, the outcome, the revoked permit, the erasures that are due and the forgotten memory are one commit of a few
milliseconds; only then is Asterisk told to stop, so that a kill in between leaves a call whose recording has no permit,
which the next look stops. Nothing else is waited for before the stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from edge.calls import evidence, parties, tags
from edge.calls.followed import Exchange, Policies, not_found, not_live, refused, text_of
from edge.calls.parties import Who
from edge.calls.talk import event_now
from edge.calls.world import World
from edge.consent import withdrawal
from edge.consent.policy import Policy
from edge.consent.withdrawal import Effect
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow
from edge.model.live import Actor, DueErasure

log = structlog.get_logger("calls")

#: How long after its end an answer can still be taken back here; later it is an erasure that somebody orders.
LATEST: Final = timedelta(hours=1)
#: What is promised: capture stops within so many seconds.
STOP_S: Final = 1.0


class Withdrawing:
    """Files and carries out; what is said to the party is the conductor's."""

    def __init__(self, world: World, asterisk: Exchange, policies: Policies) -> None:
        self._world = world
        self._asterisk = asterisk
        self._policies = policies
        self._tasks: set[asyncio.Task[None]] = set()

    async def withdraw(
        self, call_id: str, actor: Actor, reason: str, who: Who | None = None, pressed_at: str = ""
    ) -> tuple[CallRow, Effect]:
        """Returns once it is on file and Asterisk has stopped writing, or has had STOP_S for it (a stop that is late or
        fails is alarmed, and the next look at the call makes it good). who: the party that takes back, where it is not
        the call's own; pressed_at: when, RFC 3339, where that was before now. Raises calls.not_found, calls.not_live,
        calls.refused, journal.*."""
        world = self._world
        call = await world.journal.call(call_id)
        if call is None:
            raise not_found(call_id)
        policy = await self._policies.of(call)
        if policy is None:
            raise refused(call_id, "the call has no policy of its own: nothing was asked and nothing recorded")
        self._in_time(call)
        effect = withdrawal.judge(
            actor=actor.kind,
            basis=policy.basis,
            contract_withdraw=policy.contract_withdraw,
            on_withdraw=policy.on_withdraw,
            outcome=call.outcome,
        )
        await self._file(call, policy, actor, reason, who or parties.of_call(call), effect, pressed_at)
        if effect.stop:
            stopping = asyncio.create_task(self._stop(call))
            self._tasks.add(stopping)
            stopping.add_done_callback(self._tasks.discard)
            await asyncio.wait({stopping}, timeout=STOP_S)
        if effect.flag:
            for recording_id in call.recordings:
                await world.journal.flag(recording_id, effect.flag, reason)
        log.info("an answer was taken back", call=call_id, did=effect.did, by=actor.kind)
        return call, effect

    def _in_time(self, call: CallRow) -> None:
        if call.ended_at is not None:
            ended = datetime.fromisoformat(call.ended_at).astimezone(UTC)
            if self._world.clock.wall() - ended > LATEST:
                raise not_live(call.call_id, "the call ended more than an hour ago: an erasure has to be ordered")

    async def _file(
        self, call: CallRow, policy: Policy, actor: Actor, reason: str, who: Who, effect: Effect, pressed_at: str
    ) -> None:
        if not effect.event:
            return
        world = self._world
        body: dict[str, Any] = evidence.base(policy, world.edge_id, who)
        body |= {"reason": reason, "by": actor.kind, "actor": actor.name}
        body |= {"pressed_at": pressed_at} if pressed_at else {}
        event = event_now(world, effect.event, body, who.party_id or None)
        if not effect.outcome:
            await world.journal.add_event(call.call_id, event)
            return
        due: list[DueErasure] = []
        if effect.erase:
            at = text_of(world.clock.wall() + timedelta(milliseconds=policy.erase_after.ms))
            due = [DueErasure(recording_id, at, "withdrawal") for recording_id in call.recordings]
        forget = None
        if effect.forget and who.number_e164 is not None:
            forget = await world.number_key.known(who.number_e164)
        await world.journal.withdraw(call.call_id, event, effect.outcome, due, forget=forget)
        hit("withdraw.committed")

    async def _stop(self, call: CallRow) -> None:
        recorder = self._world.recorder
        live = recorder.live_of(call.call_id)
        try:
            await asyncio.gather(*(recorder.stop(recording_id, "withdraw") for recording_id in live))
        except CallwardenError as error:
            await self._world.journal.alarm(
                "calls.stop_late", f"a withdrawn recording goes on: {error.message}", where=call.call_id
            )
            return
        hit("withdraw.stopped")

    async def retag(self, call: CallRow, outcome: str, policy: Policy) -> None:
        """Tags, lamp: the same word everywhere."""
        await self._world.lamps.dark(call.call_id)
        name = self._asterisk.channel_name(call.channel_uid)
        if name is None:
            return
        try:
            values: Mapping[str, str] = tags.words(outcome, call.call_id, policy.name, header=policy.header)
            await tags.by_link(self._asterisk, name, values)
        except CallwardenError as error:
            log.warning("a call could not be tagged", call=call.call_id, why=error.message)
