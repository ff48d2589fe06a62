"""The witness: an edge's log only grows, or central says so and cosigns nothing."""

from __future__ import annotations

from typing import Any

from central import setup
from formats import merkle
from formats.checkpoint import Checkpoint, open_checkpoint
from formats.note import ED25519, NoteKey
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id

ORIGIN = "callwarden/pbx-1/" + "a" * 32


def note(edge: TestEdge, entries: list[str], origin: str = ORIGIN) -> str:
    root = merkle.root_of([merkle.leaf_hash(entry.encode()) for entry in entries])
    return str(Checkpoint(origin, len(entries), root).note().sign(origin, edge.key))


async def send(
    edge: TestEdge, start: int, entries: list[str], checkpoint: str | None = None, origin: str = ORIGIN
) -> tuple[int, Any]:
    body = {"origin": origin, "start": start, "entries": entries, "checkpoint": checkpoint}
    return await edge.ask("POST", edge.path("audit"), body)


def log(length: int) -> list[str]:
    return [f'{{"n":{n}}}' for n in range(length)]


async def alarms(central: TestCentral) -> list[str]:
    _, answer = await central.admin("GET", "/v1/alarms")
    return [one["code"] for one in answer["alarms"]]


async def test_a_growing_log_is_mirrored_and_cosigned(edge: TestEdge) -> None:
    entries = log(150)
    witness = NoteKey.parse(setup.vkey(edge.central.config))
    key = NoteKey(ORIGIN, ED25519, edge.key.verify_key)
    for start, end in ((0, 1), (1, 64), (64, 65), (65, 150)):
        status, answer = await send(edge, start, entries[start:end], note(edge, entries[:end]))
        assert status == 200, answer
        seen = open_checkpoint(answer["cosigned"], key, [witness])
        assert seen.checkpoint.size == end
        assert list(seen.witnesses) == [witness.name]
    _, logs = await edge.ask("GET", edge.path("audit"))
    assert [(one["origin"], one["size"]) for one in logs["logs"]] == [(ORIGIN, 150)]
    assert await alarms(edge.central) == []


async def test_repeats_get_the_same_cosignature(edge: TestEdge) -> None:
    entries = log(9)
    first = await send(edge, 0, entries, note(edge, entries))
    assert await send(edge, 0, entries, note(edge, entries)) == first
    assert await send(edge, 5, entries[5:], note(edge, entries)) == first


async def test_a_gap_is_asked_for(edge: TestEdge) -> None:
    entries = log(9)
    await send(edge, 0, entries[:4])
    status, problem = await send(edge, 6, entries[6:], note(edge, entries))
    assert (status, problem["code"], problem["size"]) == (409, "audit.gap", 4)
    status, problem = await send(edge, 4, entries[4:6], note(edge, entries))
    assert (status, problem["code"], problem["size"]) == (409, "audit.gap", 6)
    assert (await send(edge, 6, entries[6:], note(edge, entries)))[0] == 200


async def test_66_a_rewritten_entry_is_a_fork(edge: TestEdge) -> None:
    entries = log(20)
    await send(edge, 0, entries, note(edge, entries))
    forged = [*entries[:7], '{"n":"forged"}', *entries[8:], '{"n":20}']
    for _ in range(3):
        status, problem = await send(edge, 0, forged, note(edge, forged))
        assert (status, problem["code"]) == (409, "audit.fork")
    assert await alarms(edge.central) == ["audit.fork"]


async def test_66_a_head_over_other_entries_is_a_fork(edge: TestEdge) -> None:
    entries = log(20)
    await send(edge, 0, entries, note(edge, entries))
    forged = [*entries[:7], '{"n":"forged"}', *entries[8:], '{"n":20}']
    status, problem = await send(edge, 20, forged[20:], note(edge, forged))
    assert (status, problem["code"]) == (409, "audit.fork")
    assert (await send(edge, 20, ['{"n":20}'], note(edge, log(21))))[0] == 200  # the forged entry was not kept


async def test_59_a_log_restored_from_an_old_backup_is_a_rollback(edge: TestEdge) -> None:
    entries = log(20)
    _, witnessed = await send(edge, 0, entries, note(edge, entries))
    status, problem = await send(edge, 12, [], note(edge, entries[:12]))
    assert (status, problem["code"]) == (409, "audit.rollback")
    assert problem["latest"] == witnessed["cosigned"]
    assert await alarms(edge.central) == ["audit.rollback"]


async def test_a_new_incarnation_is_its_own_log_and_an_alarm(edge: TestEdge) -> None:
    entries, other = log(3), "callwarden/pbx-1/" + "b" * 32
    await send(edge, 0, entries, note(edge, entries))
    assert (await send(edge, 0, entries, note(edge, entries, other), other))[0] == 200
    assert await alarms(edge.central) == ["audit.incarnation"]


async def test_another_edge_s_log_or_signature_is_refused(edge: TestEdge) -> None:
    other = TestEdge(edge.central, "pbx-2")
    entries = log(3)
    assert (await send(other, 0, entries, note(other, entries)))[0] == 400  # origin of pbx-1
    assert (await send(edge, 0, entries, note(other, entries)))[1]["code"] == "audit.signature"


async def test_central_s_own_log_verifies(edge: TestEdge) -> None:
    for _ in range(5):
        await edge.ask("POST", edge.path("keeper/shred"), {"recording_id": an_id()})
    _, answer = await edge.central.admin("GET", "/v1/log")
    leaves = [merkle.leaf_hash(one["entry"].encode()) for one in answer["entries"]]
    assert len(leaves) == answer["size"] >= 7  # a DPO key, an edge, five statements
    assert merkle.root_of(leaves).hex() == answer["root"]
