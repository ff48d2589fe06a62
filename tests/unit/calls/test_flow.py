"""Calls on a real journal, slots and recorder: callers who leave at every moment, a journal that fails at every commit,
and two hundred at once. Each call has one outcome at the end, no key stays without a recording, no task is left."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.calls.flow import World
from edge.calls.lamps import Lamps
from edge.calls.tracker import Tracker
from edge.clock import SystemClock
from edge.config.schema import TelephonySection
from edge.consent.prompt import Prompt
from edge.errors import CallwardenError
from edge.number_key import NumberKey
from edge.ports import CallerGone, DialogueLost
from tests.crash import capture_child as child


class Caller:
    """A dialogue with somebody who presses `key`, and is gone (or lost) at the `leaves`-th thing that is asked of him."""

    script, feature, on_failure, policy_name = "entry", "", "", "support"
    caller_number, caller_name, dialled, context, language = "100", "", "1001", "", "en"

    def __init__(self, key: str, leaves: int = 0, how: type[Exception] = CallerGone) -> None:
        self.channel_uid = self.linked_id = f"1.{secrets.token_hex(4)}"
        self.channel_name = f"SIP/x-{self.channel_uid}"
        self.key, self.leaves, self.how, self.steps = key, leaves, how, 0
        self.set: dict[str, str] = {}

    async def _step(self) -> None:
        await asyncio.sleep(0)
        self.steps += 1
        if self.leaves and self.steps >= self.leaves:
            raise self.how()

    async def answer(self) -> None:
        await self._step()

    async def play(self, path: str, keys: str, offset_ms: int = 0) -> tuple[str, int]:
        await self._step()
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
        return ""

    async def start_monitor(self, path: str, options: str) -> str:
        await self._step()
        return "0x1"

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        await self._step()


class Prompts:
    """One prompt of five seconds."""

    def resolve(self, prompt_id: str, language: str) -> Prompt:
        return Prompt(prompt_id, "1.0", language, "ab" * 32, "/x/ask", "/x/ask.wav", 5000, 1000, "Press 1.", ())

    def verify(self, prompt: Prompt) -> None: ...


class Gone(child.NoAsterisk):
    """Asterisk knows none of these channels any more."""

    async def get_variable(self, channel_name: str, name: str) -> str:
        raise CallwardenError("ami.refused", "No such channel")


class House:
    def __init__(self, state: Path, spool: Path) -> None:
        self.state, self.spool = state, spool
        self.journal, self.slots, self.vault, self.recorder = child.open_parts(state, spool)
        object.__setattr__(self.recorder._tools, "asterisk", Gone())
        world = World(
            self.journal, self.recorder, Prompts(), SystemClock(), "crash-1", lambda _: child.POLICY, lambda: None,
            NumberKey(self.journal, self.slots), TelephonySection, lambda _: False, Lamps(Gone()),
        )  # fmt: skip
        self.tracker = Tracker(world, Gone())

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
        assert not self.running.done()
        assert self.tracker.open == 0
        assert self.tracker._gone_early == set()
        assert self.rows("SELECT * FROM call WHERE state <> 'ended' OR outcome IS NULL") == []
        assert self.rows("SELECT * FROM recording WHERE state NOT IN ('no_audio', 'sealed')") == []
        assert os.listdir(self.spool) == []
        assert os.listdir(self.state.parent / "resume") == []
        named = self.rows("SELECT count(*) FROM header WHERE slot > 0")[0][0]
        assert self.slots.counts()["live"] == named + 1, "one is the audit log's; every other live key has a row"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    disk = Path(tempfile.mkdtemp(prefix="callwarden-test-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-test-", dir="/dev/shm"))
    (disk / "state" / "vault").mkdir(parents=True, mode=0o700)
    (disk / "resume").mkdir(mode=0o700)
    made = House(disk / "state", memory)
    await made.open()
    yield made
    made.running.cancel()
    await made.journal.close()
    await made.slots.close()
    shutil.rmtree(disk)
    shutil.rmtree(memory)


@pytest.mark.parametrize("how", [CallerGone, DialogueLost])
@pytest.mark.parametrize("key", ["1", "2", ""])
async def test_a_caller_who_leaves_at_any_moment(house: House, key: str, how: type[Exception]) -> None:
    whole = Caller(key)
    await house.tracker.take(whole)
    before = len(asyncio.all_tasks())
    for moment in range(1, whole.steps + 1):
        caller = Caller(key, moment, how)
        await house.tracker.take(caller)
    await house.all_gone()
    house.check()
    assert len(house.rows("SELECT * FROM call")) == whole.steps + 1
    assert len(asyncio.all_tasks()) <= before


@pytest.mark.parametrize("key", ["1", "2"])
async def test_a_journal_that_fails_at_any_commit(house: House, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once each: the call that meets it is unrecorded or recorded, never half; the ones after it are well."""
    writer = house.journal._writer
    real = writer._commit
    left = [0]

    def commit(batch: list[Any]) -> None:
        left[0] -= 1
        if left[0] == 0:
            writer._all_failed(batch, CallwardenError("journal.io", "the disk failed once", retryable=True))
        else:
            real(batch)

    monkeypatch.setattr("edge.calls.tracker.END_AGAIN_S", 0.05)
    monkeypatch.setattr(writer, "_commit", commit)
    for nth in range(1, 9):
        left[0] = nth
        await house.tracker.take(Caller(key))
        await house.all_gone()
    left[0] = 0
    await house.tracker.take(Caller(key))
    await house.all_gone()
    assert not house.running.done()
    assert house.tracker.open == 0
    assert house.rows("SELECT * FROM call WHERE state <> 'ended' OR outcome IS NULL") == []
    assert house.rows("SELECT * FROM recording WHERE state NOT IN ('no_audio', 'sealed')") == []
    assert os.listdir(house.spool) == []
    last = house.rows("SELECT outcome FROM call ORDER BY seq DESC LIMIT 1")[0][0]
    assert last == ("given" if key == "1" else "refused")


async def test_two_hundred_at_once(house: House) -> None:
    before = len(asyncio.all_tasks())
    callers = [Caller("12"[n % 2]) for n in range(200)]
    await asyncio.gather(*(house.tracker.take(caller) for caller in callers))
    assert house.recorder.live == 100
    spooled = {}
    for name in os.listdir(house.spool):
        spooled[name] = os.open(house.spool / name, os.O_WRONLY | os.O_APPEND)
        os.write(spooled[name], os.urandom(100_000))
    await asyncio.sleep(1.5)
    assert house.recorder.oldest_unsealed_s() < 10
    assert all(house.recorder._tools.spool.resident(name) < 256 << 10 for name in spooled)
    for fd in spooled.values():
        os.close(fd)
    await house.all_gone()
    house.check()
    assert {c.set["CALLWARDEN_OUTCOME"] for c in callers} == {"given", "refused"}
    assert house.rows("SELECT count(*) FROM recording WHERE state = 'sealed' AND frames = 25000") == [(100,)]
    assert len(asyncio.all_tasks()) <= before
