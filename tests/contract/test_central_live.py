"""Central's orders about a call that goes on, and a withdrawal's receipt, through every part but Asterisk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from central import setup
from edge.retention.executor import Executor, Means
from edge.vault.payloads import PayloadVault
from formats.orders import OrderClaims, open_receipt_document, sign_order
from tests.unit.central.central_kit import a_central
from tests.unit.retention.retention_kit import AUDITOR, Calls, NobodyLive
from tests.unit.store import store_makers as makers
from tests.unit.sync.sync_kit import SyncEdge, until


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[SyncEdge]:
    async with a_central(tmp_path / "central", tls=True) as central:
        setup.register_key(central.config, "auditor", "Ann", AUDITOR.verify_key)
        edge = await SyncEdge.open(central, tmp_path)
        yield edge
        await edge.close()


@pytest.fixture
async def calls(edge: SyncEdge, tmp_path: Path) -> AsyncIterator[Calls]:
    """Sync and retention at work."""
    calls = Calls(edge.journal)

    async def head() -> str | None:
        made = await edge.checkpointer.make()
        return None if made is None else made.note

    with ThreadPoolExecutor(1) as worker:
        means = Means(
            journal=edge.journal, slots=edge.slots, vault=PayloadVault(str(tmp_path / "vault")),
            recorder=NobodyLive(), keeper=edge.sync.keeper, clock=makers.SystemClock(),  # type: ignore[arg-type]
            key=edge.key, trust=setup.trust(edge.central.config, "edge-1"), edge_id="edge-1",
            terms_of=lambda _: None, head=head, worker=worker, live=calls,  # type: ignore[arg-type]
        )  # fmt: skip
        executor = Executor(means)
        edge.run()
        running = asyncio.create_task(executor.run())
        await until(lambda: edge.sync.status()["central_up"])
        yield calls
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def order(edge: SyncEdge, cmd: str, call_id: str) -> Any:
    """Drafted and signed by central alone; the receipt's proof."""
    asked = {"cmd": cmd, "target": {"kind": "call", "id": call_id}, "reason": "the caller wrote to us"}
    _, draft = await edge.central.admin("POST", "/v1/orders/draft", asked)
    status, answer = await edge.central.admin("POST", "/v1/orders", {"claims": draft["claims"]})
    assert status == 202, answer
    document: dict[str, Any] = {}

    async def complete() -> bool:
        _, now = await edge.central.admin("GET", f"/v1/orders/{answer['jti']}")
        document.update(now["receipts"][0]["document"] if now["receipts"] else {})
        return bool(now["complete"])

    await until(complete, 20)
    return open_receipt_document(document, setup.trust(edge.central.config))


async def test_a_call_is_paused_resumed_and_withdrawn_from_by_central(edge: SyncEdge, calls: Calls) -> None:
    recording, shred_key = await edge.record()
    await edge.sync.flush()
    for cmd, did in (("pause", "paused"), ("resume", "resumed"), ("withdraw", "withdrawn")):
        proof = await order(edge, cmd, recording.call_id)
        assert (proof.claims.result, proof.order.cmd) == ("done", cmd)
        assert proof.claims.evidence["did"] == did
        assert [one.role for one in proof.ordered_by] == ["store"]
    assert [what for what, _, _ in calls.asked] == ["pause", "resume", "withdraw"]
    assert {actor.kind for _, _, actor in calls.asked} == {"central"}
    # `stop_and_erase`: the call ends, the recording goes by itself, and central gets a receipt that proves itself.
    await edge.journal.end_call(recording.call_id, makers.AT)
    listed: list[dict[str, Any]] = []

    async def there() -> bool:
        await edge.sync.flush()
        _, found = await edge.central.admin("GET", f"/v1/receipts?recording_id={recording.recording_id}")
        listed[:] = [one for one in found["receipts"] if one["document"]["order"] is None]
        return bool(listed)

    await until(there, 20)
    proof = open_receipt_document(listed[0]["document"], setup.trust(edge.central.config))
    assert proof.ground is not None
    assert (proof.ground.cause, proof.ground.call_id) == ("withdrawal", recording.call_id)
    assert proof.claims.key_ids == (recording.segment.header.key_id.hex(),)
    assert proof.claims.keeper_evidence is not None
    assert proof.claims.keeper_evidence["claims"]["result"] == "destroyed"
    assert proof.claims.keeper_evidence["claims"]["jti"] == proof.ground.jti
    row = await edge.journal.recording(recording.recording_id)
    assert row is not None
    assert row.state == "erased"
    assert shred_key not in (edge.folder / "shred.keys").read_bytes()


async def test_central_holds_and_two_people_release(edge: SyncEdge, calls: Calls) -> None:
    recording, _ = await edge.record()
    await edge.journal.end_call(recording.call_id, makers.AT)
    await edge.sync.flush()
    proof = await order(edge, "hold", recording.call_id)
    assert (proof.claims.result, [one.role for one in proof.ordered_by]) == ("done", ["store"])
    hold = proof.claims.evidence["hold"]
    assert list(await edge.journal.holds_on(recording.recording_id, recording.call_id)) == ["the caller wrote to us"]
    asked = {"cmd": "release", "target": {"kind": "hold", "id": hold}, "reason": "settled"}
    _, draft = await edge.central.admin("POST", "/v1/orders/draft", asked)
    claims = msgspec.convert(draft["claims"], OrderClaims)
    status, answer = await edge.central.admin("POST", "/v1/orders", {"claims": draft["claims"]})
    assert (status, answer["code"]) == (403, "auth.count"), "the store releases nothing"
    for keys in ([edge.central.dpo], [edge.central.dpo, edge.central.dpo]):
        document = sign_order(claims, keys)
        assert (await edge.central.admin("POST", "/v1/orders", {"order": document}))[0] == 403
    document = sign_order(claims, [edge.central.dpo, AUDITOR])
    status, answer = await edge.central.admin("POST", "/v1/orders", {"order": document})
    assert status == 202, answer

    async def released() -> bool:
        return not await edge.journal.holds()

    await until(released, 20)
    assert list(await edge.journal.holds_on(recording.recording_id, recording.call_id)) == []


async def test_a_call_that_no_edge_reported_cannot_be_ordered_about(edge: SyncEdge) -> None:
    asked = {"cmd": "pause", "target": {"kind": "call", "id": makers.new_id()}, "reason": "x"}
    status, answer = await edge.central.admin("POST", "/v1/orders/draft", asked)
    assert (status, answer["code"]) == (404, "not_found.call")
