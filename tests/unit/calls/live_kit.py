"""Calls that go on, on a real journal: an exchange whose bridges a test fills, and a recorder that remembers its orders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from io import FileIO
from typing import Any

from edge.calls.conductor import Conductor
from edge.calls.lamps import Lamps
from edge.calls.tracker import Tracker
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from tests.unit.calls.flow_kit import Caller, Gone, House, open_house


class Board(Gone):
    """Who is in which bridge. A summons opens a session on the channel, unless it is `deaf`."""

    def __init__(self) -> None:
        self.up = True
        self.names: dict[str, str] = {}
        self.bridges: list[set[str]] = []
        self.apart: set[str] = set()
        self.variables: dict[tuple[str, str], str] = {}
        self.set: dict[str, dict[str, str]] = {}
        self.deaf: set[str] = set()
        self.talks: dict[str, Caller] = {}
        self.ended: list[str] = []
        self.events: list[dict[str, str]] = []
        self.stopped: list[tuple[str, str]] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.conductor: Conductor

    def join(self, *channels: tuple[str, str]) -> None:
        """These are in one bridge now, and in no other."""
        uids = {uid for uid, _ in channels}
        self.names.update(channels)
        self.bridges = [bridge - uids for bridge in self.bridges if bridge - uids]
        self.bridges.append(uids)
        self.conductor.company_changed(frozenset(uids))

    def leave(self, uid: str) -> None:
        """Out of its bridge."""
        touched = frozenset({uid, *self.with_channel(uid)})
        self.bridges = [bridge - {uid} for bridge in self.bridges if bridge - {uid}]
        self.conductor.company_changed(touched)

    def in_bridge(self, channel_uid: str) -> bool:
        return any(channel_uid in bridge for bridge in self.bridges)

    def kept_apart(self, channel_uid: str) -> bool:
        return channel_uid in self.apart

    def channel_alive(self, channel_uid: str) -> bool | None:
        return channel_uid in self.names

    def channel_name(self, channel_uid: str) -> str | None:
        return self.names.get(channel_uid)

    def with_channel(self, channel_uid: str) -> Mapping[str, str]:
        together = next((bridge for bridge in self.bridges if channel_uid in bridge), set())
        return {uid: self.names[uid] for uid in together if uid != channel_uid}

    async def get_global(self, name: str) -> str:
        return self.variables.get(("", name), "")

    async def set_global(self, name: str, value: str) -> None:
        self.set.setdefault("", {})[name] = value

    async def get_variable(self, channel_name: str, name: str) -> str:
        return self.variables.get((channel_name, name), "")

    async def set_variable(self, channel_name: str, name: str, value: str) -> None:
        self.set.setdefault(channel_name, {})[name] = value

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        self.stopped.append((channel_name, monitor_id))
        return True

    async def hang_up(self, channel_name: str) -> None:
        self.ended.append(channel_name)

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        self.events.append(dict(fields))

    async def set_device(self, name: str, state: str) -> None: ...

    async def summon(self, channel_name: str) -> None:
        uid = {name: uid for uid, name in self.names.items()}[channel_name]
        if uid not in self.deaf:
            self.tasks.add(asyncio.create_task(self.press(uid, "errand")))

    async def press(self, uid: str, word: str) -> Caller:
        """A feature code on this channel; what was said to it."""
        talk = self.talks.setdefault(uid, Caller("1"))
        talk.script, talk.feature = "feature", word
        talk.channel_uid, talk.channel_name = uid, self.names[uid]
        await self.conductor.feature(talk)
        return talk


class Tape:
    """The real recorder, but for what needs bytes in a file: pauses are remembered. `failing`: pauses raise this."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.paused: set[str] = set()
        self.log: list[tuple[str, str]] = []
        self.failing: CallwardenError | None = None
        self.writers: list[FileIO] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def pause(self, recording_id: str) -> None:
        if self.failing is not None:
            raise self.failing
        if recording_id not in self.paused:
            self.paused.add(recording_id)
            self.log.append(("pause", recording_id))
            await self._file(recording_id, True)

    async def resume(self, recording_id: str) -> None:
        if recording_id in self.paused:
            self.paused.discard(recording_id)
            self.log.append(("resume", recording_id))
            await self._file(recording_id, False)

    async def _file(self, recording_id: str, muted: bool) -> None:
        journal = self._real._tools.journal
        recording = await journal.recording(recording_id)
        if recording.state in ("recording", "paused"):
            await journal.set_muted(recording_id, muted)

    async def stop(self, recording_id: str, reason: str) -> None:
        self.log.append((f"stop:{reason}", recording_id))
        for writer in self.writers:
            writer.close()  # what Asterisk does on StopMixMonitor
        await self._real.stop(recording_id, reason)

    async def shred_segment(self, recording_id: str, *, since: str) -> int:
        self.log.append(("shred", recording_id))
        return 1

    def words(self) -> list[str]:
        """What was ordered, in order."""
        return [word for word, _ in self.log]


class Scene:
    """A house with a conductor over the board and the tape, and calls whose caller agreed."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.journal = house.journal
        self.board = Board()
        self.tape = Tape(house.recorder)
        object.__setattr__(house.recorder._tools, "asterisk", self.board)
        self.standings: dict[str, str] = {}
        world = replace(house.world, recorder=self.tape, lamps=Lamps(self.board))
        self.conductor = Conductor(world, self.board, lambda device: self.standings.get(device, "none"))
        self.board.conductor = self.conductor
        self.tracker = Tracker(world, self.board, self.conductor)

    async def call(self, key: str = "1", number: str = "+420777000001") -> CallRow:
        """A caller who answered with `key`; alone as yet."""
        caller = Caller(key)
        caller.caller_number = number
        self.board.names[caller.channel_uid] = caller.channel_name
        await self.tracker.take(caller)
        query = f"SELECT call_id FROM leg JOIN party USING(party_id) WHERE channel_uid='{caller.channel_uid}'"
        (call_id,) = self.house.rows(query)[0]
        return await self.now(call_id)

    async def now(self, call_id: str) -> CallRow:
        """Its row as it is."""
        row = await self.journal.call(call_id)
        assert row is not None
        return row

    async def with_agent(self, call: CallRow) -> str:
        """Joined with agent1; the recording's id."""
        self.board.join((call.channel_uid, self.board.names[call.channel_uid]), ("a1", "PJSIP/agent1-00000001"))
        await self.quiet()
        return str(self.tape.live_of(call.call_id)[0])

    async def speak(self, recording_id: str) -> None:
        """Sound in its file, until the journal says that it grows."""
        recording = await self.journal.recording(recording_id)
        assert recording is not None
        writer = open(self.house.spool / recording.spool_name, "ab", buffering=0)  # noqa: SIM115 - Asterisk's, open on
        self.tape.writers.append(writer)
        writer.write(os.urandom(100_000))
        for _ in range(500):
            await asyncio.sleep(0.02)
            recording = await self.journal.recording(recording_id)
            if recording is not None and recording.state == "recording":
                return
        raise AssertionError(f"nobody sees it grow: {self.house.running}")

    async def quiet(self) -> None:
        """Until nothing is under way."""
        for _ in range(1000):
            await asyncio.sleep(0.005)
            busy = [*self.conductor._tasks, *self.conductor.mending._tasks, *self.board.tasks]
            if all(task.done() for task in busy):
                return
        raise AssertionError("something never ends")

    async def pauses(self, call: CallRow) -> list[tuple[str, bool]]:
        """(reason, open) of each."""
        return [(p.reason, p.ended_at is None) for p in await self.journal.pauses(call.call_id)]

    async def others(self, call: CallRow) -> list[tuple[str, str, bool]]:
        """(role, standing, present) of everybody but the caller."""
        found: Sequence[Any] = await self.journal.parties(call.call_id)
        return [(p.role, p.standing, bool(p.present)) for p in found if p.role != "caller"]

    def events(self, call: CallRow) -> list[str]:
        """Kinds, in order."""
        query = f"SELECT kind FROM consent_event WHERE call_id='{call.call_id}' ORDER BY seq"
        return [str(kind) for (kind,) in self.house.rows(query)]

    def alarms(self) -> str:
        """All audit entries as text."""
        return " ".join(str(entry) for (entry,) in self.house.rows("SELECT entry FROM audit"))


@asynccontextmanager
async def open_scene() -> AsyncIterator[Scene]:
    async with open_house() as house:
        scene = Scene(house)
        yield scene
        for writer in scene.tape.writers:
            writer.close()
