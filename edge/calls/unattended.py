"""Withdrawals that nobody took: the star code was pressed while the daemon was dead or frozen, and the dialplan stopped the
capture itself and left a mark in a global, which outlives the channel. Write order `unattended`: the withdrawal
is filed, then the mark is cleared; a kill in between has it filed again, which finds the call withdrawn (or notes the same
objection a second time).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from edge.calls import parties, tags
from edge.calls.followed import Exchange, text_of
from edge.calls.world import World
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.live import Actor

log = structlog.get_logger("calls")


class Unattended:
    """`by_uid`: calls that go on, by their own channel. `withdraw(call_id, actor, reason, who, pressed_at)`: the conductor's."""

    def __init__(
        self,
        world: World,
        asterisk: Exchange,
        by_uid: Mapping[str, str],
        withdraw: Callable[..., Awaitable[Any]],
    ) -> None:
        self._world = world
        self._asterisk = asterisk
        self._by_uid = by_uid
        self._withdraw = withdraw

    async def look_at_all(self) -> None:
        """After a link-up: every call. Never raises CallwardenError."""
        for uid in list(self._by_uid):
            await self.look(uid)

    async def look(self, uid: str) -> None:
        """This channel, if it is a call's own."""
        if (call_id := self._by_uid.get(uid)) is not None:
            await self.look_back(call_id)

    async def look_back(self, call_id: str) -> None:
        """This call, which may have ended meanwhile. What fails is left for the next link-up; never raises CallwardenError."""
        try:
            mark = await self._asterisk.get_global(tags.withdrawn_mark(call_id))
            call = await self._world.journal.call(call_id) if mark else None
            if call is None:
                return
            who = parties.of_call(call)
            log.info("a withdrawal that the dialplan took", call=call_id, at=mark)
            await self._withdraw(call_id, Actor(who.role, ""), "star_code", who, pressed_at=_when(mark))
            hit("unattended.filed")
            await self._asterisk.set_global(tags.withdrawn_mark(call_id), "")
        except CallwardenError as error:
            log.warning("a withdrawal's mark could not be followed", call=call_id, code=error.code, why=error.message)


def _when(mark: str) -> str:
    """Epoch seconds as RFC 3339, "" for what is no moment."""
    return text_of(datetime.fromtimestamp(int(mark), UTC)) if mark.isdecimal() and len(mark) <= 11 else ""
