"""Makes the recordings of a call what is wanted: recording, paused or stopped.

The journal says what is wanted (outcome, parties, open pauses); the recorder is told the whole state, not a change. So
the same comparison serves after every event, at every link-up, and after a restart.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from edge.calls.crowd import Crowd, Somebody
from edge.calls.followed import Exchange, Followed
from edge.calls.world import World
from edge.consent.permit import PERMITTING
from edge.consent.standing import Wanted, judge
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import CallRow
from edge.model.live import Actor, PauseRow

log = structlog.get_logger("calls")

#: A capture that still runs so long after its permit was revoked was not stopped by the withdrawal itself.
LATE: Final = timedelta(seconds=1)


class Keeper:
    """Judges a call anew and acts on it. `held`: channels that put others on hold, or hear music, as Asterisk said."""

    def __init__(self, world: World, asterisk: Exchange, crowd: Crowd) -> None:
        self._world = world
        self._asterisk = asterisk
        self._crowd = crowd
        self.held: set[str] = set()

    async def settle(self, followed: Followed) -> tuple[Wanted, Sequence[Somebody]] | None:
        """What is wanted now and who is on the call, once it is so. None for a call that is over, and while nobody can
        be asked who is on it. Raises CallwardenError: then it is to be tried again."""
        async with followed.lock:
            journal = self._world.journal
            call = await journal.call(followed.call_id)
            if call is None:
                return None
            if call.outcome not in PERMITTING:
                await self._shred_late(followed)
                await self._stop(followed, "withdraw")
                return Wanted("stop", why="answered_no"), ()
            if call.state == "ended" or not self._asterisk.up:
                return None
            company = await self._crowd.look(call, followed.channel_uid)
            pauses = [p for p in await journal.pauses(call.call_id) if p.ended_at is None]
            holder = self._holder(followed.channel_uid)
            wanted = judge(
                outcome=call.outcome,
                basis=followed.policy.basis,
                hold=followed.policy.hold,
                standing_agents=followed.policy.standing_agents,
                present=[somebody.present for somebody in company],
                asked=any(p.reason == "asked" for p in pauses),
                held=bool(holder),
            )
            await self._file(call, wanted, pauses, holder)
            await self._make(followed, wanted)
            return wanted, company

    def _holder(self, uid: str) -> str:
        """The channel that holds this call's conversation up, "" for none. Nobody is on hold before being joined."""
        if not self._asterisk.in_bridge(uid):
            return ""
        if self._asterisk.kept_apart(uid):
            return uid
        return next((u for u in (uid, *self._asterisk.with_channel(uid)) if u in self.held), "")

    async def _file(self, call: CallRow, wanted: Wanted, pauses: Sequence[PauseRow], holder: str) -> None:
        """Pauses that the rules make are rows like those that people ask for. Their actor names the holding channel."""
        journal, at = self._world.journal, self._world.clock.wall_text()
        for reason in ("hold", "party"):
            row = next((p for p in pauses if p.reason == reason), None)
            actor = Actor("system", holder if reason == "hold" else wanted.why)
            if reason in wanted.reasons and row is None:
                new = PauseRow(secrets.token_hex(16), call.call_id, reason, actor, at, None)
                await journal.open_pause(new)
                hit("live.pause_opened")
            elif reason not in wanted.reasons and row is not None:
                await journal.close_pause(row.pause_id, at, Actor("system", ""))

    async def _make(self, followed: Followed, wanted: Wanted) -> None:
        if wanted.state == "stop":
            followed.again = False
            await self._stop(followed, "party")
            return
        for recording_id in self._world.recorder.live_of(followed.call_id):
            if wanted.state == "record":
                await self._world.recorder.resume(recording_id)
                continue
            try:
                await self._world.recorder.pause(recording_id)
            except CallwardenError as error:
                if error.code != "recorder.mute_failed":
                    raise
                followed.again = True
                await self._world.recorder.stop(recording_id, "pause")
        log.info("a call was judged", call=followed.call_id, wanted=wanted.state, why=wanted.why)

    async def _shred_late(self, followed: Followed) -> None:
        """Capture went on after the answer was taken back (a kill, a lost link): what was open since then goes, with what
        the same segment holds of before. Nobody's words after a withdrawal are kept."""
        live = self._world.recorder.live_of(followed.call_id)
        since = await self._world.journal.revoked_at(followed.call_id) if live else None
        if since is None:
            return
        if self._world.clock.wall() - datetime.fromisoformat(since).astimezone(UTC) > LATE:
            for recording_id in live:
                await self._world.recorder.shred_segment(recording_id, since=since)

    async def _stop(self, followed: Followed, reason: str) -> None:
        live = self._world.recorder.live_of(followed.call_id)
        if live:
            await asyncio.gather(*(self._world.recorder.stop(recording_id, reason) for recording_id in live))
            await self._world.lamps.dark(followed.call_id)
