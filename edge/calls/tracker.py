"""Calls from their entry to their last hang-up, restarts included: who is in a conversation, who is still on the line.

The flow decides outcomes; the tracker ends calls when their caller's channel is gone, and after a restart or a lost
link compares the journal's open calls with the channels Asterisk has now (adoption).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from edge.calls import flow, parties, tags
from edge.calls.conductor import Conductor
from edge.calls.world import World
from edge.consent.permit import PERMITTING
from edge.errors import CallwardenError
from edge.model.entities import NO_POLICY, CallRow, ConsentEvent, NewCall
from edge.model.lifecycle import LIVE
from edge.ports import Asterisk, CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

#: How often, and how long apart in seconds, the recordings of a call that ended unseen are looked at until they are
#: sealed or empty (a file is closed and sealed within a second of the hang-up).
SETTLE_TRIES = 50
SETTLE_PAUSE_S = 0.1

#: How long to wait before the end of a call is stored again in a journal that could not be written, seconds.
END_AGAIN_S = 5.0


class Tracker:
    """All calls that are not over. What happens within them is the conductor's."""

    def __init__(self, world: World, asterisk: Asterisk, conductor: Conductor) -> None:
        self._world = world
        self._asterisk = asterisk
        self._conductor = conductor
        self._open: dict[str, str] = {}
        self._talking: set[str] = set()
        self._gone_early: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._adopted = False
        self._from_before: dict[str, CallRow] = {}

    @property
    def open(self) -> int:
        """Calls whose caller is still on the line."""
        return len(self._open) + len(self._talking)

    async def recover(self) -> None:
        """After a start, before the AMI link: conversations that were under way are over, their callers went on."""
        for row in await self._world.journal.open_calls():
            self._open[row.channel_uid] = row.call_id
            self._from_before[row.channel_uid] = row
            if row.state in ("offered", "asking"):
                await self._world.journal.add_event(
                    row.call_id, self._event("unavailable", row.party_id, "daemon.restarted"),
                    state="declined", outcome="unavailable",
                )  # fmt: skip
            await self._conductor.follow(row)

    async def take(self, dialogue: Dialogue) -> None:
        """The AGI server's handler: one conversation, then the call is followed until its channel is gone."""
        if dialogue.script == "feature":
            await self._conductor.feature(dialogue)
            return
        uid = dialogue.channel_uid
        self._talking.add(uid)
        try:
            row = await flow.take_call(self._world, dialogue)
        except (CallerGone, DialogueLost):
            row = None
            log.info("the caller went before the call was on file", channel=uid)
        except CallwardenError as error:
            row = None
            log.error("the call goes on unrecorded", channel=uid, code=error.code, why=str(error))
            await self._world.journal.alarm(error.code, error.message, where=error.where)
        finally:
            self._talking.discard(uid)
        if row is None:
            self._gone_early.discard(uid)
            return
        self._open[uid] = row.call_id
        await self._conductor.follow(row)
        if uid in self._gone_early:
            self._gone_early.discard(uid)
            await self._end(uid)

    # ------------------------------------------------------------ what Asterisk tells

    def channel_gone(self, channel_uid: str) -> None:
        """The caller hung up. While the conversation still runs, its own end follows."""
        if channel_uid in self._talking:
            self._gone_early.add(channel_uid)
        elif channel_uid in self._open:
            self._spawn(self._end(channel_uid))

    def channel_bridged(self, channel_uid: str) -> None:
        """Nothing to do for the call."""

    def channel_unbridged(self, channel_uid: str) -> None:
        """Nothing to do for the call."""

    def company_changed(self, channel_uids: frozenset[str]) -> None:
        """The conductor's business."""

    def channel_held(self, channel_uid: str, on: bool) -> None:
        """The conductor's business."""

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        """Nothing to do for the call."""

    def link_up(self, alive: Mapping[str, str]) -> None:
        """Compare with Asterisk: calls without a channel are over; the first time, calls without a row are adopted."""
        for uid in [uid for uid in self._open if uid not in alive]:
            self._spawn(self._end_unseen(uid, self._from_before.pop(uid, None)))
        first, self._adopted = not self._adopted, True
        self._spawn(self._adopt(dict(alive), first))

    def link_down(self) -> None:
        """Nothing to do: hang-ups missed meanwhile show at the next link_up."""

    # ------------------------------------------------------------ adoption

    async def _adopt(self, alive: dict[str, str], first: bool) -> None:
        if first:
            for uid, row in list(self._from_before.items()):
                if uid in alive and row.outcome is not None:
                    await self._retag(alive[uid], row)
            self._from_before.clear()
        for uid, name in alive.items():
            if uid in self._open or uid in self._talking:
                continue
            try:
                await self._adopt_channel(uid, name)
            except CallwardenError as error:
                log.info("a channel could not be looked at", channel=uid, why=error.message)
        await self._conductor.unattended.look_at_all()  # behind the tags, which a withdrawal changes

    async def _adopt_channel(self, uid: str, name: str) -> None:
        """A channel tagged `unavailable` came in while the daemon was away: it gets its row and its outcome."""
        if await self._asterisk.get_variable(name, "CALLWARDEN_OUTCOME") != "unavailable":
            return
        linked_id = await self._asterisk.get_variable(name, "CHANNEL(linkedid)") or uid
        heard, number_class = parties.number(await self._asterisk.get_variable(name, "CALLERID(num)"))
        call = NewCall(
            call_id=secrets.token_hex(16),
            linked_id=linked_id,
            channel_uid=uid,
            channel_name=name,
            party_id=secrets.token_hex(16),
            direction="inbound",
            policy_id=NO_POLICY,
            policy_version="",
            policy_document="{}",
            mode="never",
            purposes=(),
            language="",
            number_heard=heard,
            number_class=number_class,
            started_at=self._world.clock.wall_text(),
        )
        row = await self._world.journal.open_call(call)
        if row.outcome is None:
            await self._world.journal.add_event(
                row.call_id, self._event("unavailable", row.party_id, "daemon.absent"),
                state="declined", outcome="unavailable",
            )  # fmt: skip
        self._open[uid] = row.call_id
        log.info("adopted a call that came in while the daemon was away", call=row.call_id)

    async def _retag(self, name: str, row: CallRow) -> None:
        """Record and tag must say the same. The record wins, unless the yes never led to a running monitor."""
        journal = self._world.journal
        try:
            tag = await self._asterisk.get_variable(name, "CALLWARDEN_OUTCOME")
            if tag in ("", row.outcome):
                return
            recordings = [r for r in [await journal.recording(i) for i in row.recordings] if r is not None]
            monitor = await self._asterisk.get_variable(name, "CALLWARDEN_MONITOR")
            if row.outcome in PERMITTING and not monitor:
                for recording in recordings:
                    if recording.state in LIVE:
                        await self._world.recorder.fail(recording.recording_id)
                await self._not_recorded(row)
                return
            for recording in recordings[-1:]:
                if recording.state in LIVE and not recording.monitor_id:
                    await self._world.recorder.confirm(recording.recording_id, monitor)
            policy = await self._conductor.policy_of(row)
            values = tags.words(
                str(row.outcome), row.call_id, row.policy_id, recordings[-1].recording_id if recordings else None,
                header=policy is not None and policy.header,
            )  # fmt: skip
            await tags.by_link(self._asterisk, name, values)
            log.info("a call was tagged after the restart", call=row.call_id, outcome=row.outcome)
        except CallwardenError as error:
            log.warning("a call could not be tagged after the restart", call=row.call_id, why=error.message)

    async def _not_recorded(self, row: CallRow) -> None:
        """The yes is stored, but the daemon was killed before any recording came of it: the tag says `unavailable`."""
        journal = self._world.journal
        await journal.add_event(row.call_id, self._event("recording_failed", row.party_id, "daemon.restarted"))
        await journal.add_event(
            row.call_id, self._event("unavailable", row.party_id, "daemon.restarted"), outcome="unavailable"
        )

    async def _end_unseen(self, uid: str, row: CallRow | None) -> None:
        """The caller hung up while nobody looked. `row`: as the last daemon left it, when it was that one's call."""
        if row is not None and row.outcome in PERMITTING:
            journal = self._world.journal
            for _ in range(SETTLE_TRIES):
                recordings = [r for r in [await journal.recording(i) for i in row.recordings] if r is not None]
                if not any(r.state in LIVE for r in recordings):
                    break
                await asyncio.sleep(SETTLE_PAUSE_S)
            if all(r.state == "no_audio" and not r.monitor_id for r in recordings):
                await self._not_recorded(row)
        await self._end(uid)
        if row is not None:
            await self._conductor.unattended.look_back(row.call_id)

    # ------------------------------------------------------------ helpers

    async def _end(self, uid: str) -> None:
        call_id = self._open.pop(uid, None)
        if call_id is not None:
            self._conductor.forget(call_id)
        ended_at = self._world.clock.wall_text()
        while call_id is not None:
            try:
                await self._world.journal.end_call(call_id, ended_at)
            except CallwardenError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(END_AGAIN_S)
            else:
                return

    def _event(self, kind: str, party_id: str, reason: str) -> ConsentEvent:
        clock = self._world.clock
        body = {"reason": reason, "edge_id": self._world.edge_id}
        return ConsentEvent(kind, clock.wall_text(), clock.mono_ns(), body, party_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except CallwardenError as error:
                log.error("a call could not be followed to its end", code=error.code, why=str(error))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
