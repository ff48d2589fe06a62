"""Calls on a real journal, slots and recorder: callers who leave at every moment, a journal that fails at every commit,
and two hundred at once. Each call has one outcome at the end, no key stays without a recording, no task is left."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from edge.errors import CallwardenError
from edge.ports import CallerGone, DialogueLost
from tests.unit.calls.flow_kit import Caller, House, open_house


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as made:
        yield made


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


async def test_row_49_no_randomness_no_recording(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without random bytes seals nothing: who says yes is unrecorded, nobody's audio waits; later calls are well."""

    def none(size: int) -> bytes:
        raise OSError(errno.ENOSYS, "no randomness")

    with monkeypatch.context() as broken:
        broken.setattr("edge.recorder.keys.secrets", SimpleNamespace(token_bytes=none, token_hex=secrets.token_hex))
        await house.tracker.take(Caller("1"))
        await house.all_gone()
    assert house.rows("SELECT outcome FROM call") == [("unavailable",)]
    assert house.rows("SELECT * FROM recording") == []
    assert os.listdir(house.spool) == []
    assert not house.running.done()
    await house.tracker.take(Caller("1"))
    await house.all_gone()
    assert house.rows("SELECT outcome FROM call ORDER BY seq") == [("unavailable",), ("given",)]


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
