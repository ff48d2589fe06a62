"""Pauses that somebody asked for: a row with the time at which the policy's limit ends it, and the timer that does."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from edge.calls.followed import Followed, text_of
from edge.calls.world import World
from edge.consent.permit import PERMITTING
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.model.live import Actor, PauseRow


class Pausing:
    """`touch(call_id)`: have the call judged anew. `spawn`: run in the background, errors logged."""

    def __init__(
        self, world: World, touch: Callable[[str], None], spawn: Callable[[Coroutine[Any, Any, Any]], object]
    ) -> None:
        self._world = world
        self._touch = touch
        self._spawn = spawn

    async def open(self, followed: Followed, actor: Actor) -> PauseRow:
        """The pause of this call, a new one or the one that is open. Raises CallwardenError journal.*."""
        now, limit = self._world.clock.wall(), followed.policy.pause_limit
        until = text_of(now + timedelta(milliseconds=limit.ms)) if limit else None
        pause = await self._world.journal.open_pause(
            PauseRow(secrets.token_hex(16), followed.call_id, "asked", actor, text_of(now), until)
        )
        self.arm(followed, pause)
        return pause

    async def proved(self, followed: Followed) -> None:
        """Nothing of this call is being kept. Raises calls.pause_late when that is not so: nobody may read out a card
        number because of a row."""
        for recording_id in self._world.recorder.live_of(followed.call_id):
            recording = await self._world.journal.recording(recording_id)
            if recording is not None and recording.state == "recording":
                raise CallwardenError(
                    "calls.pause_late",
                    "the pause is on file, but the recording is not paused yet",
                    retryable=True,
                    where=followed.call_id,
                    hint="is Asterisk's manager reachable (`callwarden status`)? It is paused as soon as it is",
                )

    async def how_it_is(self, call_id: str) -> str:
        """A sentence about a call whose recording runs. Raises CallwardenError journal.*."""
        pauses = await self._world.journal.pauses(call_id)
        reasons = ", ".join(sorted(pause.reason for pause in pauses if pause.ended_at is None))
        return f"The recording is paused: {reasons}." if reasons else "The call is being recorded."

    async def failed(self, call: CallRow) -> bool:
        """Whether the call's last recording was stopped only because it could not be muted: it may begin again after the
        pause, also under another daemon. Raises CallwardenError journal.*."""
        journal = self._world.journal
        if call.outcome not in PERMITTING or not call.recordings or await journal.permit(call.call_id) is None:
            return False
        return "mute_failed" in {flag for flag, _ in await journal.flags(call.recordings[-1])}

    async def close(self, followed: Followed, by: Actor) -> bool:
        """Whether there was one. Raises CallwardenError journal.*."""
        if followed.timer is not None:
            followed.timer.cancel()
            followed.timer = None
        journal, closed = self._world.journal, False
        for pause in await journal.pauses(followed.call_id):
            if pause.reason == "asked" and pause.ended_at is None:
                await journal.close_pause(pause.pause_id, self._world.clock.wall_text(), by)
                closed = True
        return closed

    def arm(self, followed: Followed, pause: PauseRow) -> None:
        """End it when its time comes; also one that was opened by an earlier daemon, whose time may have passed."""
        if pause.until_at is None or pause.ended_at is not None:
            return
        if followed.timer is not None:
            followed.timer.cancel()
        until = datetime.fromisoformat(pause.until_at).astimezone(UTC)
        left = max(0.0, (until - self._world.clock.wall()).total_seconds())
        loop = asyncio.get_running_loop()
        followed.timer = loop.call_later(left, lambda: self._spawn(self._limit(followed)))

    async def _limit(self, followed: Followed) -> None:
        if await self.close(followed, Actor("system", "pause_limit")):
            message = "a pause reached the policy's limit; the recording goes on by itself"
            await self._world.journal.alarm("pause.limit", message, where=followed.call_id)
            self._touch(followed.call_id)
