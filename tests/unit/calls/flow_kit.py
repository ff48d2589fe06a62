"""Calls on a real journal, slots and recorder, with a dialogue that does what a test says."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.calls.conductor import Conductor
from edge.calls.flow import World
from edge.calls.lamps import Lamps
from edge.calls.tracker import Tracker
from edge.clock import SystemClock
from edge.config.schema import TelephonySection
from edge.consent.policy import Policy
from edge.consent.prompt import Prompt
from edge.errors import CallwardenError
from edge.number_key import NumberKey
from edge.ports import CallerGone
from tests.crash import capture_child as child


class Caller:
    """A dialogue with somebody who presses `key`, and is gone (or lost) at the `leaves`-th thing that is asked of him."""

    script, feature, on_failure, policy_name, queue = "entry", "", "", "support", ""
    caller_number, caller_name, dialled, context, language = "100", "", "1001", "", "en"

    def __init__(self, key: str, leaves: int = 0, how: type[Exception] = CallerGone) -> None:
        self.channel_uid = self.linked_id = f"1.{secrets.token_hex(4)}"
        self.channel_name = f"SIP/x-{self.channel_uid}"
        self.key, self.leaves, self.how, self.steps = key, leaves, how, 0
        self.set: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.played: list[str] = []
        self.answered = False
        self.events: list[Mapping[str, str]] = []

    async def _step(self) -> None:
        await asyncio.sleep(0)
        self.steps += 1
        if self.leaves and self.steps >= self.leaves:
            raise self.how()

    async def answer(self) -> None:
        await self._step()
        self.answered = True

    async def play(self, path: str, keys: str, offset_ms: int = 0) -> tuple[str, int]:
        await self._step()
        if not offset_ms:
            self.played.append(path)
        return (self.key, 3000) if self.key in keys and self.key else ("", 5000)

    async def wait_key(self, timeout_ms: int) -> str:
        await self._step()
        return self.key

    async def discard_keys(self) -> None:
        await self._step()

    async def set_variable(self, name: str, value: str) -> None:
        await self.set_variables({name: value})

    async def set_variables(self, values: Mapping[str, str]) -> None:
        await self._step()
        self.set.update(values)

    async def get_variable(self, name: str) -> str:
        await self._step()
        return self.variables.get(name, "")

    async def start_monitor(self, path: str, options: str) -> str:
        await self._step()
        return "0x1"

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        await self._step()
        self.events.append(fields)


class Prompts:
    """Prompts of five seconds, all there but the `missing`."""

    def __init__(self) -> None:
        self.version = "1.0"
        self.missing: set[str] = set()

    def resolve(self, prompt_id: str, language: str) -> Prompt:
        if prompt_id in self.missing:
            raise CallwardenError("prompt.unknown", f"there is no prompt {prompt_id}")
        path = f"/x/{language}-{prompt_id}"
        return Prompt(
            prompt_id, self.version, language, "ab" * 32, path, f"{path}.wav", 5000, 1000, "Press 1.", ("key:1",)
        )  # fmt: skip

    def verify(self, prompt: Prompt) -> None: ...


class Gone(child.NoAsterisk):
    """Asterisk knows none of these channels any more."""

    async def get_variable(self, channel_name: str, name: str) -> str:
        raise CallwardenError("ami.refused", "No such channel")

    def channel_name(self, channel_uid: str) -> str | None:
        return None

    def with_channel(self, channel_uid: str) -> Mapping[str, str]:
        return {}

    def in_bridge(self, channel_uid: str) -> bool:
        return False

    def kept_apart(self, channel_uid: str) -> bool:
        return False

    async def hang_up(self, channel_name: str) -> None:
        raise CallwardenError("ami.refused", "No such channel")

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        raise CallwardenError("ami.refused", "No such channel")

    async def summon(self, channel_name: str) -> None:
        raise CallwardenError("ami.refused", "No such channel")

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None: ...
    async def set_device(self, name: str, state: str) -> None:
        raise CallwardenError("ami.refused", "no")


class Desks(Gone):
    """An Asterisk that keeps the state of lamps."""

    def __init__(self) -> None:
        self.lamps: dict[str, str] = {}

    async def set_device(self, name: str, state: str) -> None:
        self.lamps[name] = state


class House:
    """Journal, slots, vault, recorder and tracker, and what a test may change of the world."""

    def __init__(self, state: Path, spool: Path) -> None:
        self.state, self.spool = state, spool
        self.journal, self.slots, self.vault, self.recorder = child.open_parts(state, spool)
        object.__setattr__(self.recorder._tools, "asterisk", Gone())
        self.policy: Policy = child.POLICY
        self.telephony = TelephonySection()
        self.not_ready: CallwardenError | None = None
        self.silent_prior = False
        self.prompts = Prompts()
        self.desks = Desks()
        self.world = World(
            journal=self.journal,
            recorder=self.recorder,
            prompts=self.prompts,
            clock=SystemClock(),
            edge_id="crash-1",
            policy_for=lambda _: self.policy,
            not_ready=lambda: self.not_ready,
            number_key=NumberKey(self.journal, self.slots),
            telephony=lambda: self.telephony,
            silent_prior=lambda _: self.silent_prior,
            lamps=Lamps(self.desks),
        )
        self.conductor = Conductor(self.world, Gone(), lambda _: "none")
        self.tracker = Tracker(self.world, Gone(), self.conductor)

    async def open(self) -> None:
        self.slots.sweep(await self.journal.slots_in_use())
        await self.journal.audit_log.unlock(self.journal, self.slots)  # type: ignore[attr-defined]
        self.running = asyncio.create_task(self.recorder.run())

    async def all_gone(self) -> None:
        """Everybody hung up; what is to end has ended."""
        self.tracker.link_up({})
        self.recorder.link_up({})
        for _ in range(500):
            await asyncio.sleep(0.02)
            if not self.recorder.live and not self.tracker._tasks and not self.recorder._tasks:
                return
        raise AssertionError((self.recorder.live, self.tracker._tasks, self.recorder._tasks))

    def rows(self, query: str) -> list[Any]:
        with sqlite3.connect(self.state / "journal.db") as conn:
            return conn.execute(query).fetchall()

    def check(self) -> None:
        """Nothing is left of any call but its rows."""
        self.check_calls()
        named = self.rows("SELECT count(*) FROM header WHERE slot > 0")[0][0]
        remembers = len(self.rows("SELECT 1 FROM meta WHERE key = 'memory_slot'"))
        assert self.slots.counts()["live"] == named + remembers + 1, "one is the audit log's; every other has a row"

    def check_calls(self) -> None:
        """Every call has ended with an outcome, and nothing is captured any more."""
        assert not self.running.done()
        assert self.tracker.open == 0
        assert self.tracker._gone_early == set()
        assert self.rows("SELECT * FROM call WHERE state <> 'ended' OR outcome IS NULL") == []
        assert self.rows("SELECT * FROM recording WHERE state NOT IN ('no_audio', 'sealed')") == []
        assert os.listdir(self.spool) == []
        assert os.listdir(self.state.parent / "resume") == []


@asynccontextmanager
async def open_house(disk: str = "/var/tmp") -> AsyncIterator[House]:
    """A house that is torn down behind the test. `disk`: where journal and slots lie."""
    durable = Path(tempfile.mkdtemp(prefix="callwarden-test-", dir=disk))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-test-", dir="/dev/shm"))
    (durable / "state" / "vault").mkdir(parents=True, mode=0o700)
    (durable / "resume").mkdir(mode=0o700)
    made = House(durable / "state", memory)
    await made.open()
    try:
        yield made
    finally:
        made.running.cancel()
        await made.journal.close()
        await made.slots.close()
        shutil.rmtree(durable)
        shutil.rmtree(memory)
