"""One erasure through every part but Asterisk: central, sync, inbox, executor, keeper, receipt, proof."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central import setup
from edge.errors import CallwardenError
from edge.model.entities import NewRecording
from edge.ports import KeeperPort
from edge.retention.executor import Executor, Means
from edge.vault.payloads import PayloadVault
from formats.keyset import KeySet
from formats.orders import open_receipt_document
from tests.unit.central.central_kit import a_central
from tests.unit.store.store_makers import SystemClock
from tests.unit.sync.sync_kit import SyncEdge, until


class IdleRecorder:
    """No call is live here: nothing to stop."""

    async def prepare(self, policy_id: str) -> object:
        raise AssertionError("an erasure prepares no recording")

    async def discard(self, prepared: object) -> None:
        raise AssertionError("an erasure discards nothing")

    async def stop(self, recording_id: str, reason: str) -> None:
        assert reason == "erase"


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[SyncEdge]:
    async with a_central(tmp_path / "central", tls=True) as central:
        edge = await SyncEdge.open(central, tmp_path)
        yield edge
        await edge.close()


async def no_head() -> str | None:
    return None


def means(edge: SyncEdge, vault: PayloadVault, worker: ThreadPoolExecutor, **other: Any) -> Means:
    given: dict[str, Any] = {
        "journal": edge.journal,
        "slots": edge.slots,
        "vault": vault,
        "recorder": IdleRecorder(),
        "keeper": edge.sync.keeper,
        "clock": SystemClock(),
        "key": edge.key,
        "trust": setup.trust(edge.central.config, "edge-1"),
        "edge_id": "edge-1",
        "terms_of": lambda _: None,
        "head": no_head,
        "worker": worker,
    }
    return Means(**{**given, **other})


class SlowKeeper:
    """Central away at the first `misses` asks."""

    def __init__(self, real: KeeperPort, misses: int) -> None:
        self.real, self.misses = real, misses

    async def shred(self, recording_id: str, key_ids: Sequence[str], jti: str | None) -> Mapping[str, Any]:
        if self.misses:
            self.misses -= 1
            raise CallwardenError("sync.unreachable", "central cannot be reached", retryable=True)
        return await self.real.shred(recording_id, key_ids, jti)


def retired_dpo(edge: SyncEdge) -> KeySet:
    """What the edge pins, with the DPO's key retired a moment ago."""
    now = SystemClock().wall_text()
    trust = setup.trust(edge.central.config, "edge-1")
    return KeySet.of(msgspec.structs.replace(one, retired=now) if one.role == "dpo" else one for one in trust.entries)


async def ordered(edge: SyncEdge) -> tuple[NewRecording, str]:
    """A recording, and the jti of an order to erase it that lies in the inbox."""
    recording, _ = await edge.record()
    await edge.sync.flush()
    order = await edge.central.signed_order(recording.recording_id)
    status, answer = await edge.central.admin("POST", "/v1/orders", {"order": order})
    assert status == 202, answer
    await edge.sync._inbox.poll(0)
    return recording, str(answer["jti"])


async def test_central_back_in_the_middle_of_a_pass_still_gets_the_whole_receipt(
    edge: SyncEdge, tmp_path: Path
) -> None:
    """The erasure that an order began is finished by that order, not as one that nobody asked for."""
    recording, jti = await ordered(edge)
    with ThreadPoolExecutor(1) as worker:
        keeper = SlowKeeper(edge.sync.keeper, misses=1)
        executor = Executor(means(edge, PayloadVault(str(tmp_path)), worker, keeper=keeper))
        await executor.once()
        await executor.once()
    assert [r.result for r in await edge.journal.receipts_of(jti)] == ["done"]
    tombstone = await edge.journal.tombstone(recording.recording_id)
    assert tombstone is not None
    assert tombstone["cause"] == "command"


async def test_a_key_that_retires_after_the_intent_does_not_turn_an_erasure_into_a_refusal(
    edge: SyncEdge, tmp_path: Path
) -> None:
    _, jti = await ordered(edge)
    with ThreadPoolExecutor(1) as worker:
        vault = PayloadVault(str(tmp_path))
        await Executor(means(edge, vault, worker, keeper=SlowKeeper(edge.sync.keeper, 9))).once()
        order = await edge.journal.order(jti)
        assert order is not None
        assert order.state == "executing"
        await Executor(means(edge, vault, worker, trust=retired_dpo(edge))).once()
    assert [r.result for r in await edge.journal.receipts_of(jti)] == ["done"]


async def test_61_an_old_order_sent_again_after_its_key_retired_is_refused(edge: SyncEdge, tmp_path: Path) -> None:
    """The thief of a retired key, with central's help, erases nothing: the edge asks what counts now."""
    recording, jti = await ordered(edge)
    with ThreadPoolExecutor(1) as worker:
        await Executor(means(edge, PayloadVault(str(tmp_path)), worker, trust=retired_dpo(edge))).once()
    assert [r.result for r in await edge.journal.receipts_of(jti)] == ["refused:auth.unknown_key"]
    kept = await edge.journal.recording(recording.recording_id)
    assert kept is not None
    assert kept.state == "sealed"


async def test_an_order_for_another_fleet_is_refused(edge: SyncEdge, tmp_path: Path) -> None:
    """Both fleets trust the same people: what Dana signed for one is not good for the other."""
    _, jti = await ordered(edge)
    trust = setup.trust(edge.central.config, "edge-1")
    elsewhere = KeySet.of(
        msgspec.structs.replace(one, owner="callwarden/north/witness") if one.role == "witness" else one
        for one in trust.entries
    )
    with ThreadPoolExecutor(1) as worker:
        await Executor(means(edge, PayloadVault(str(tmp_path)), worker, trust=elsewhere)).once()
    assert [r.result for r in await edge.journal.receipts_of(jti)] == ["refused:command.fleet"]


async def test_an_erase_order_of_central_ends_in_a_receipt_that_proves_itself(edge: SyncEdge, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir(mode=0o700)
    vault = PayloadVault(str(tmp_path / "vault"))
    recording, shred_key = await edge.record()
    vault.create(recording.recording_id, recording.segment.segment_id)
    vault.append(recording.recording_id, recording.segment.segment_id, 0, b"sealed audio")

    async def head() -> str | None:
        made = await edge.checkpointer.make()
        return None if made is None else made.note

    with ThreadPoolExecutor(1) as worker:
        executor = Executor(means(edge, vault, worker, head=head))
        edge.run()
        running = asyncio.create_task(executor.run())
        await until(lambda: edge.sync.status()["central_up"])
        await edge.sync.flush()
        order = await edge.central.signed_order(recording.recording_id)
        _, answer = await edge.central.admin("POST", "/v1/orders", {"order": order})

        async def complete() -> bool:
            _, now = await edge.central.admin("GET", f"/v1/orders/{answer['jti']}")
            return bool(now["complete"])

        await until(complete, 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    _, listed = await edge.central.admin("GET", f"/v1/receipts?jti={answer['jti']}")
    proof = open_receipt_document(listed["receipts"][0]["document"], setup.trust(edge.central.config))
    assert proof.claims.result == "done"
    assert sorted(one.role for one in proof.ordered_by) == ["dpo", "store"]
    assert proof.claims.key_ids == (recording.segment.header.key_id.hex(),)
    assert proof.claims.keeper_evidence is not None
    assert proof.claims.keeper_evidence["claims"]["result"] == "destroyed"
    with pytest.raises(CallwardenError):
        await edge.slots.read(recording.segment.header.slot)
    assert not list((tmp_path / "vault").rglob("*.payload"))

    async def told() -> bool:
        _, one = await edge.central.admin("GET", f"/v1/recordings/{recording.recording_id}")
        return one["state"] == "erased" and not any(h["kept"] for h in one["headers"])

    await until(told)
    for path in [*tmp_path.glob("*.keys"), *tmp_path.glob("journal*"), *(tmp_path / "central").iterdir()]:
        assert shred_key not in path.read_bytes(), path
