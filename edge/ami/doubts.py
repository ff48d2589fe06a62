"""What an event announced is asked about before it counts: hang-ups, names, and who is in a bridge (ADR 0033, ADR 0047)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from edge.ami.connection import AmiConnection
from edge.ami.reconcile import Picture, members_listed
from edge.errors import CallwardenError
from edge.ports import ChannelSink

log = structlog.get_logger("edge.ami")

CONFIRM_S = 0.2  # between the two questions whether a channel that was said to be gone is gone
FORGED_ALARM_S = 60.0  # at most one alarm in this time: whoever forges one event can forge a thousand


class Doubts:
    """Asks over the connection that is up; without one the next snapshot tells. `on_forged(message)` alarms."""

    def __init__(
        self, picture: Picture, sink: ChannelSink, on_forged: Callable[[str], None], answer_limit_s: float
    ) -> None:
        self._picture = picture
        self._sink = sink
        self._on_forged = on_forged
        self._limit_s = answer_limit_s
        self._connection: AmiConnection | None = None
        self._ended: set[str] = set()  # said to have hung up, not yet confirmed
        self._unsure: set[str] = set()  # bridges somebody moved in since they were looked at
        self._looking: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._forged_at = float("-inf")

    def connected(self, connection: AmiConnection | None) -> None:
        """Whom to ask from now on; None while the picture is not true."""
        self._connection = connection
        if connection is None:
            self._unsure.clear()

    def begin(self) -> None:
        """A new picture is being made: hang-ups announced from now on are for `settle`."""
        self._ended.clear()

    async def settle(self, connection: AmiConnection) -> None:
        """At the end of a snapshot: believe or drop the hang-ups that were announced during it."""
        while self._ended:
            uid = self._ended.pop()
            if not await self.exists(connection, uid):
                self._picture.gone(uid)

    async def exists(self, connection: AmiConnection, uid: str) -> bool:
        """Asterisk finds a channel by its unique id where a name is expected."""
        fields = {"Channel": uid, "Variable": "UNIQUEID"}
        answer = await connection.action("Getvar", fields, limit_s=self._limit_s)
        return answer.get("Response") == "Success" and answer.get("Value") == uid

    # ------------------------------------------------------------ hang-ups

    def hung_up(self, uid: str) -> None:
        """A hang-up was announced, or a channel is missing from a list."""
        if self._connection is None:
            self._ended.add(uid)  # the snapshot asks about it
        elif uid in self._picture.channels and uid not in self._ended:
            self._ended.add(uid)
            self._spawn(self._confirm(uid))

    async def _confirm(self, uid: str) -> None:
        """Ask twice, in case the event was quicker, and only then believe it."""
        connection = self._connection
        try:
            for pause in (0.0, CONFIRM_S):
                await asyncio.sleep(pause)
                if connection is None or connection is not self._connection:
                    return  # the next snapshot tells
                if not await self.exists(connection, uid):
                    self._gone(connection, uid)
                    return
        except CallwardenError:
            return  # the link is going down: the next snapshot tells
        finally:
            self._ended.discard(uid)
        log.warning("a hang-up was announced for a channel that is there: forged", channel=uid)
        if time.monotonic() - self._forged_at > FORGED_ALARM_S:
            self._forged_at = time.monotonic()
            self._on_forged(f"a hang-up of {uid} was announced, but the channel is there")

    def _gone(self, connection: AmiConnection, uid: str) -> None:
        left = self._picture.connected(uid) - {uid}
        if connection is self._connection and self._picture.gone(uid):
            self._sink.channel_gone(uid)
            if left:
                self._sink.company_changed(frozenset(left))

    # ------------------------------------------------------------ names

    def renamed(self, uid: str, name: str) -> None:
        """This channel is said to be called otherwise now."""
        self._spawn(self._name(uid, name))

    async def _name(self, uid: str, announced: str) -> None:
        connection = self._connection
        if connection is None:
            return  # the snapshot tells
        try:
            answer = await connection.action("Getvar", {"Channel": uid, "Variable": "CHANNEL"}, limit_s=self._limit_s)
        except CallwardenError:
            return  # the link is going down: the next snapshot tells
        if connection is self._connection and answer.get("Response") == "Success" and uid in self._picture.channels:
            self._picture.appeared(uid, answer.get("Value") or announced)

    # ------------------------------------------------------------ bridges

    def moved(self, bridge: str) -> None:
        """Somebody is said to have come to this bridge, or to have left it."""
        if self._connection is None:
            return  # a snapshot is being taken
        self._unsure.add(bridge)
        if bridge not in self._looking:
            self._looking.add(bridge)
            self._spawn(self._look(bridge))

    async def _look(self, bridge: str) -> None:
        """Ask who is in it until nothing more was announced meanwhile."""
        try:
            while bridge in self._unsure:
                self._unsure.discard(bridge)
                connection = self._connection
                if connection is None:
                    return
                listing = await connection.listing("BridgeInfo", {"BridgeUniqueid": bridge}, limit_s=self._limit_s)
                if connection is not self._connection:
                    return
                if bridge not in self._unsure:
                    self._take(bridge, set(members_listed(listing)))
        except CallwardenError:
            return  # the link is going down: the next snapshot tells
        finally:
            self._looking.discard(bridge)

    def _take(self, bridge: str, members: set[str]) -> None:
        """Make the picture what Asterisk says, and tell what that changes."""
        picture, sink = self._picture, self._sink
        before = set(picture.bridges.get(bridge, ()))
        if before == members:
            return
        touched = set().union(*(picture.connected(uid) for uid in before))
        for uid in members - before:
            picture.entered(bridge, uid)
        for uid in before - members:
            picture.left(bridge, uid)
        for uid in members - before:
            sink.channel_bridged(uid)
            touched |= picture.connected(uid)
        bridged = picture.bridged()
        for uid in before - members - bridged:
            sink.channel_unbridged(uid)
        sink.company_changed(frozenset(touched))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
