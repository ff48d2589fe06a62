"""Checkpoints are signed notes over the log as it was, made in time and never twice."""

from __future__ import annotations

import asyncio

import pytest

from edge.audit.checkpoints import Checkpointer
from edge.errors import CallwardenError
from edge.model.entities import Checkpoint
from edge.store.journal import Journal
from formats.checkpoint import open_checkpoint
from formats.errors import ProofError
from formats.keys import SigningKey
from formats.note import ED25519, NoteKey

KEY = SigningKey.from_seed(bytes(range(32)))


async def test_a_checkpoint_verifies_and_is_made_once(journal: Journal) -> None:
    maker = Checkpointer(journal, KEY)
    assert maker.origin == f"callwarden/edge-1/{journal.instance_id}"
    assert await maker.make() is None
    for _ in range(5):
        await journal.note_audit("a")
    made, again = await asyncio.gather(maker.make(), maker.make())
    assert made == again
    assert made is not None
    log = NoteKey(maker.origin, ED25519, KEY.verify_key)
    seen = open_checkpoint(made.note, log)
    assert (seen.checkpoint.size, seen.checkpoint.root) == (5, await journal.audit_root(5))
    assert seen.self_witnessed
    other = NoteKey(maker.origin, ED25519, SigningKey.from_seed(bytes(32)).verify_key)
    with pytest.raises(ProofError):
        open_checkpoint(made.note, other)


async def test_the_cosigned_form_is_kept(journal: Journal) -> None:
    await journal.save_checkpoint(Checkpoint(5, "note", None))
    await journal.save_checkpoint(Checkpoint(5, "note", "cosigned"))
    await journal.save_checkpoint(Checkpoint(5, "note", None))
    await journal.save_checkpoint(Checkpoint(9, "newer", None))
    assert await journal.last_checkpoint() == Checkpoint(9, "newer", None)
    assert await journal.last_cosigned() == Checkpoint(5, "note", "cosigned")


async def wait_for_size(journal: Journal, size: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            last = await journal.last_checkpoint()
            if last is not None and last.size >= size:
                return
            await asyncio.sleep(0.02)


async def test_run_signs_after_enough_entries_or_enough_time(journal: Journal) -> None:
    task = asyncio.create_task(Checkpointer(journal, KEY, every_seconds=0.5, every_entries=10).run())
    await journal.note_audit("one")
    await asyncio.sleep(0.2)
    assert await journal.last_checkpoint() is None
    await wait_for_size(journal, 1, 5)
    for _ in range(10):
        await journal.note_audit("many")
    await wait_for_size(journal, 11, 5)
    await asyncio.sleep(1.2)
    rows = await journal._readers.read(lambda conn: conn.execute("SELECT count(*) FROM checkpoint").fetchone()[0])
    assert rows == 2, "a quiet log gets no further checkpoints"
    task.cancel()


async def test_run_goes_on_after_a_failure(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[str] = []
    maker = Checkpointer(journal, KEY, every_seconds=0.05)
    real = maker.make

    async def flaky() -> Checkpoint | None:
        if not failures:
            raise CallwardenError("journal.full", "no room", retryable=True)
        return await real()

    monkeypatch.setattr(maker, "make", flaky)
    task = asyncio.create_task(maker.run(lambda error: failures.append(error.code)))
    await journal.note_audit("one")
    await wait_for_size(journal, 1, 10)
    assert failures == ["journal.full"]
    task.cancel()
