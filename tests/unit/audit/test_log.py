"""The tree in the journal equals a tree computed from its entries; entries say nothing about people."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from edge.audit.log import AuditLog
from edge.errors import CallwardenError
from edge.store.journal import Journal
from edge.vault.slots import ShredSlots
from formats import canonical, merkle
from tests.unit.store import store_makers as makers


async def check_tree(journal: Journal) -> int:
    """The stored root equals one recomputed from the entries' bytes alone; returns the size."""
    size = await journal.audit_size()
    rows = await journal.audit_entries(0, size)
    assert [row.index for row in rows] == list(range(size))
    leaves = [merkle.leaf_hash(row.entry.encode()) for row in rows]
    assert leaves == [row.leaf for row in rows]
    assert await journal.audit_root(size) == merkle.root_of(leaves)
    return size


async def test_entries_are_canonical_json(journal: Journal) -> None:
    odd = 'quote " back \\ slash / tab \t nl \n bell \x07 del \x7f ěščř 😀 \u2028 <>&'
    body = {"text": odd, "list": [1, -5, True, None, 2**53 - 1, {"b": 1, "a": ""}], "empty": {}, "A": 0, "a": 0}
    await journal.note_audit("test.canonical", body=body)
    entry = (await journal.audit_entries(0, 1))[0].entry
    assert entry.encode() == canonical.dumps(json.loads(entry))
    assert json.loads(entry)["body"] == body


@pytest.mark.parametrize("body", [{"caller": "x"}, {"a": {"number": 1}}, {"a": 1.5}, {"ž": 1}, {"a": [b"x"]}, {1: 2}])
async def test_what_the_log_must_not_have(journal: Journal, body: dict[str, object]) -> None:
    with pytest.raises(CallwardenError) as refused:
        await journal.note_audit("test.refused", body=body)
    assert refused.value.code == "audit.body"
    assert await journal.audit_size() == 0


async def test_no_number_name_or_call_id_gets_into_the_log(journal: Journal) -> None:
    call = makers.call()
    await journal.open_call(call)
    await journal.add_event(call.call_id, makers.event("requested", call.party_id), state="asking")
    new = makers.recording(call.call_id, 1)
    await journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new)
    await journal.close_segment(makers.closed(new, 1))
    await journal.note_audit("recording.read", subject=new.recording_id, body={"reader": "uid 0"})
    await journal.end_call(call.call_id, makers.AT)
    rows = await journal.audit_entries(0, 100)
    text = "".join(row.entry for row in rows)
    for secret in (makers.NUMBER, call.call_id, call.linked_id, call.party_id, call.channel_name):
        assert secret not in text
    subjects = {json.loads(row.entry)["subject"] for row in rows}
    assert len(subjects) == 1, "entries about one call are linked, also those about its recording"
    assert await check_tree(journal) == len(rows)


async def test_ten_thousand_interleaved_entries(journal: Journal) -> None:
    """Many tasks append at once, some of them fail after appending; the tree holds at every size looked at."""
    rng = random.Random(20)

    def failing(conn: object) -> None:
        journal._audit.append(conn, makers.AT, "test.lost", body={})  # type: ignore[arg-type]
        raise ValueError("taken back")

    async def one(n: int) -> int:
        if rng.random() < 0.2:
            with pytest.raises(CallwardenError):
                await journal._writer.do(failing)  # type: ignore[arg-type]
            return 0
        await journal.note_audit("test.entry", subject=f"s{n % 7}", body={"n": n})
        return 1

    expected = 0
    for start in range(0, 10_000, 1000):
        expected += sum(await asyncio.gather(*[one(n) for n in range(start, start + 1000)]))
        assert await check_tree(journal) == expected
    rows = await journal.audit_entries(0, expected)
    assert not any("test.lost" in row.entry for row in rows)
    for _ in range(50):
        size = rng.randint(1, expected)
        index = rng.randrange(size)
        root = await journal.audit_root(size)
        proof = await journal.audit_proof(index, size)
        merkle.verify_inclusion(rows[index].leaf, index, size, proof, root)
        assert root == merkle.root_of([row.leaf for row in rows[:size]])


async def test_sizes_that_are_not_there(journal: Journal) -> None:
    await journal.note_audit("a")
    for call in (journal.audit_root(2), journal.audit_root(-1), journal.audit_proof(1, 1), journal.audit_proof(0, 2)):
        with pytest.raises(CallwardenError) as refused:
            await call
        assert refused.value.code == "audit.size"


async def test_the_secret_lies_in_a_slot_and_survives_a_restart(tmp_path: Path) -> None:
    subjects = []
    call = makers.call()
    for _ in range(2):
        log = AuditLog()
        journal = Journal.open(tmp_path / "j.db", audit=log, clock=makers.SystemClock(), edge_id="edge-1")
        slots = ShredSlots.open(str(tmp_path / "shred.keys"), owner=journal.instance_id, count=64)
        assert slots.sweep(await journal.slots_in_use()) == 0
        slot = await log.unlock(journal, slots)
        secret = await slots.read(slot)
        subjects.append(log.subject(call.call_id, call.call_id))
        assert list(await journal.slots_in_use()) == [slot]
        await journal.close()
        await slots.close()
        assert secret not in (tmp_path / "j.db").read_bytes()
    assert subjects[0] == subjects[1]
    assert subjects[0] != AuditLog.subject(_locked_with(bytes(32)), call.call_id, call.call_id)


def _locked_with(secret: bytes) -> AuditLog:
    log = AuditLog()
    log._secret = secret
    return log


async def test_before_unlock_nothing_about_anybody_is_written(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "j.db", audit=AuditLog(), clock=makers.SystemClock(), edge_id="edge-1")
    with pytest.raises(CallwardenError) as refused:
        await journal.open_call(makers.call())
    assert refused.value.code == "audit.locked"
    assert await journal.open_calls() == []
    await journal.close()
