"""Deliveries in, receipts back, checkpoints witnessed, keeper asked; and the ways each can be wrong."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from central import setup
from edge.audit.checkpoints import Checkpointer
from edge.errors import CallwardenError
from edge.model.entities import ReceiptRow
from edge.sync.enrol import enrol
from edge.sync.keeper import Keeper
from edge.sync.tlskey import read_certificate, write_certificate
from edge.sync.uplink import Uplink
from formats.checkpoint import open_checkpoint
from formats.keyset import KeySet, entry
from formats.note import ED25519, NoteKey
from formats.orders import (
    ReceiptClaims,
    order_sha256,
    sign_delivery,
    sign_receipt,
    sign_void,
    verify_order,
    verify_receipt_document,
)
from tests.unit.central.central_kit import TestCentral, a_central, a_key, an_id
from tests.unit.store import store_makers as make
from tests.unit.sync.sync_kit import LossyProxy, SyncEdge, until


async def order_for(edge: SyncEdge, recording_id: str = "") -> tuple[str, dict[str, Any]]:
    """A recording that central knows and a submitted erase order for it: (recording id, central's answer)."""
    if not recording_id:
        recording, _ = await edge.record()
        await edge.sync.flush()
        recording_id = recording.recording_id
    order = await edge.central.signed_order(recording_id)
    status, answer = await edge.central.admin("POST", "/v1/orders", {"order": order})
    assert status == 202, answer
    return recording_id, answer


async def replace_delivery(edge: SyncEdge, seq: int, jws: str) -> None:
    assert edge.central.running is not None
    await edge.central.running.central.db.run(
        lambda conn: conn.execute("UPDATE delivery SET jws=? WHERE edge_id='edge-1' AND seq=?", (jws, seq))
    )


async def audited(edge: SyncEdge) -> str:
    return " ".join(row.entry for row in await edge.journal.audit_entries(0, await edge.journal.audit_size()))


def sign_answer(edge: SyncEdge, answer: dict[str, Any], recording_id: str, n: int = 0) -> ReceiptRow:
    claims = ReceiptClaims(
        receipt_id=an_id(), jti=answer["jti"], n=n, result="done", edge_id="edge-1", at=make.SystemClock().wall_text(),
        order_sha256=order_sha256(answer["order"]), recording_id=recording_id, key_ids=("ab" * 32,), slots=(1,),
        evidence={"slots_overwritten": 1},
    )  # fmt: skip
    return ReceiptRow(claims.receipt_id, claims.jti, n, claims.result, sign_receipt(claims, edge.key), None)


async def test_an_order_arrives_byte_for_byte_and_its_receipt_returns(edge: SyncEdge) -> None:
    edge.run()
    recording_id, answer = await order_for(edge)
    await until(lambda: edge.delivered)
    row = await edge.journal.order(answer["jti"])
    assert row is not None
    assert row.state == "received"
    assert order_sha256(row.jws) == answer["order_sha256"]
    verify_order(row.jws, setup.trust(edge.central.config, "edge-1"), now=make.SystemClock().wall_text(), fleet="fleet")
    await edge.journal.answer(sign_answer(edge, answer, recording_id), state="answered")

    async def acknowledged() -> bool:
        stored = await edge.journal.order(answer["jti"])
        return stored is not None and stored.state == "acknowledged"

    await until(acknowledged)
    _, order = await edge.central.admin("GET", f"/v1/orders/{answer['jti']}")
    assert order["complete"] is True
    assert verify_receipt_document(order["receipts"][0]["document"], setup.trust(edge.central.config)).result == "done"


async def test_central_restarts_in_the_middle_of_a_long_poll(edge: SyncEdge) -> None:
    edge.run()
    recording, _ = await edge.record()
    await until(lambda: not edge.sync.status()["errors"])
    await edge.sync.flush()
    await edge.central.stop()
    await until(lambda: "deliveries" in edge.sync.status()["errors"])
    await edge.central.start()
    order = await edge.central.signed_order(recording.recording_id)
    await edge.central.admin("POST", "/v1/orders", {"order": order})
    await until(lambda: edge.delivered, 20)
    assert await edge.journal.last_delivery() == 1


async def test_55_a_receipt_whose_acknowledgement_is_lost_is_stored_once(central: TestCentral, tmp_path: Path) -> None:
    proxy = LossyProxy(central.config.port)
    edge = await SyncEdge.open(central, tmp_path, url=await proxy.start())
    recording_id, answer = await order_for(edge)
    await edge.sync._inbox.poll(0)
    await edge.journal.answer(sign_answer(edge, answer, recording_id), state="answered")
    proxy.lose = True
    with pytest.raises(CallwardenError):
        await edge.sync._receipts.send()
    assert len(await edge.journal.receipts_to_send()) == 1
    proxy.lose = False
    assert await edge.sync._receipts.send() == 1
    assert await edge.journal.receipts_to_send() == []
    assert await central.rows("SELECT count(*) FROM receipt") == [(1,)]
    await edge.close()
    await proxy.stop()


async def test_a_receipt_central_refuses_does_not_hold_up_the_others(edge: SyncEdge) -> None:
    first, one = await order_for(edge)
    second, two = await order_for(edge)
    await edge.sync._inbox.poll(0)
    bad = dataclasses.replace(sign_answer(edge, one, first), result="already")
    await edge.journal.answer(bad, state="answered")
    await edge.journal.answer(sign_answer(edge, two, second), state="answered")
    assert await edge.sync._receipts.send() == 1
    assert await edge.sync._receipts.send() == 0
    assert [r.receipt_id for r in await edge.journal.receipts_to_send()] == [bad.receipt_id]
    assert "sync.receipt_refused" in await audited(edge)


async def test_61_deliveries_that_are_not_central_s_or_not_ours_are_refused(edge: SyncEdge) -> None:
    _, answer = await order_for(edge)
    assert edge.central.running is not None
    store, order = edge.central.running.central.store, answer["order"]
    good = sign_delivery(store, aud="edge-1", seq=1, order=order)
    wrong = {
        "auth.unknown_key": sign_delivery(a_key(), aud="edge-1", seq=1, order=order),
        "command.audience": sign_delivery(store, aud="edge-2", seq=1, order=order),
        "command.sequence": sign_delivery(store, aud="edge-1", seq=2, order=order),
        "auth.signature": good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"),
        "auth.encoding": "x",
        "auth.role": sign_delivery(edge.key, aud="edge-1", seq=1, order=order),
    }
    for code, jws in wrong.items():
        await replace_delivery(edge, 1, jws)
        assert await edge.sync._inbox.poll(0) == 0
        assert edge.sync._inbox.stuck
        assert f'"code":"{code}"' in await audited(edge), code
    assert await edge.journal.orders(("received",)) == []
    size = await edge.journal.audit_size()
    await edge.sync._inbox.poll(0)
    assert await edge.journal.audit_size() == size  # said once
    await replace_delivery(edge, 1, good)
    assert await edge.sync._inbox.poll(0) == 1
    assert len(await edge.journal.orders(("received",))) == 1


async def test_56_a_gap_is_asked_for_again_and_a_void_closes_it(edge: SyncEdge) -> None:
    for _ in range(3):
        await order_for(edge)
    assert edge.central.running is not None
    central = edge.central.running.central
    ((second,),) = await edge.central.rows("SELECT jws FROM delivery WHERE seq=2")
    await replace_delivery(edge, 2, "lost")
    assert await edge.sync._inbox.poll(0) == 2
    assert await edge.journal.last_delivery() == 1
    assert await edge.sync._inbox.poll(0) == 0
    assert edge.sync._inbox.stuck
    await replace_delivery(edge, 2, second)
    assert await edge.sync._inbox.poll(0) == 1
    assert await edge.journal.last_delivery() == 3
    await order_for(edge)
    await replace_delivery(edge, 4, sign_void(central.store, aud="edge-1", seq=4))
    assert await edge.sync._inbox.poll(0) == 1
    assert await edge.journal.last_delivery() == 4
    assert len(await edge.journal.orders(("received",))) == 3


async def test_61_an_expired_delivery_uses_up_its_number_only(edge: SyncEdge) -> None:
    _, answer = await order_for(edge)
    assert edge.central.running is not None
    store = edge.central.running.central.store
    await replace_delivery(
        edge, 1, sign_delivery(store, aud="edge-1", seq=1, order=answer["order"], exp="2026-01-01T00:00:00.000Z")
    )
    await edge.sync._inbox.poll(0)
    assert await edge.journal.last_delivery() == 1
    assert await edge.journal.orders(("received",)) == []
    assert "command.expired" in await audited(edge)


async def test_61_a_replayed_delivery_is_one_order(edge: SyncEdge) -> None:
    _, answer = await order_for(edge)
    assert await edge.sync._inbox.poll(0) == 1
    assert edge.central.running is not None
    again = sign_delivery(edge.central.running.central.store, aud="edge-1", seq=2, order=answer["order"])
    await edge.central.running.central.db.run(
        lambda c: c.execute(
            "INSERT INTO delivery(edge_id, seq, jti, jws, queued_at) VALUES ('edge-1', 2, ?, ?, '')",
            (answer["jti"], again),
        )
    )
    assert await edge.sync._inbox.poll(0) == 1
    assert len(await edge.journal.orders(("received",))) == 1


async def test_checkpoints_are_cosigned_and_kept(edge: SyncEdge) -> None:
    await edge.record()
    made = await edge.checkpointer.make()
    assert made is not None
    await edge.sync.flush()
    stored = await edge.journal.last_cosigned()
    assert stored is not None
    assert stored.cosigned is not None
    witness = NoteKey.parse(setup.vkey(edge.central.config))
    seen = open_checkpoint(stored.cosigned, NoteKey(edge.checkpointer.origin, ED25519, edge.key.verify_key), [witness])
    assert (seen.checkpoint.size, list(seen.witnesses)) == (made.size, [witness.name])
    for _ in range(30):
        await edge.record()
    await edge.checkpointer.make()
    await edge.sync.flush()
    size = await edge.journal.audit_size()
    assert await edge.central.rows("SELECT count(*) FROM mirror") == [(size,)]


async def test_a_cosignature_of_an_unknown_witness_is_not_kept(central: TestCentral, tmp_path: Path) -> None:
    trust = setup.trust(central.config, "edge-1")
    name = trust.with_role("witness")[0].owner
    others = [one for one in trust.entries if one.role != "witness"]
    wrong = KeySet.of([*others, entry(a_key().verify_key, "witness", name)])
    edge = await SyncEdge.open(central, tmp_path, trust=wrong)
    await edge.record()
    await edge.checkpointer.make()
    with pytest.raises(CallwardenError, match="no witness"):
        await edge.sync._audit.send()
    assert await edge.journal.last_cosigned() is None
    await edge.close()


async def test_66_a_rewritten_log_is_an_alarm_on_the_edge_too(edge: SyncEdge) -> None:
    await edge.record()
    await edge.checkpointer.make()
    await edge.sync.flush()
    assert edge.central.running is not None
    await edge.central.running.central.db.run(lambda conn: conn.execute("UPDATE mirror_node SET hash=zeroblob(32)"))
    await edge.record()
    await edge.checkpointer.make()
    for _ in range(2):
        with pytest.raises(CallwardenError, match=r"audit\.fork"):
            await edge.sync._audit.send()
    assert (await audited(edge)).count('"code":"audit.fork"') == 1
    _, alarms = await edge.central.admin("GET", "/v1/alarms")
    assert "audit.fork" in {one["code"] for one in alarms["alarms"]}


async def test_the_keeper_s_statement_is_verified(edge: SyncEdge) -> None:
    recording, shred_key = await edge.record()
    await edge.sync.flush()
    jti = an_id()
    statement = await edge.sync.keeper.shred(recording.recording_id, ["ab"], jti)
    assert statement["claims"]["result"] == "destroyed"
    assert statement["claims"]["key_ids"] == [recording.segment.header.key_id.hex()]
    assert shred_key not in edge.central.config.keeper.read_bytes()
    wrong = Keeper(edge.sync._uplink, KeySet.of([entry(a_key().verify_key, "store", "central")]))
    with pytest.raises(CallwardenError) as caught:
        await wrong.shred(recording.recording_id, [], jti)
    assert caught.value.code == "sync.statement"
    await edge.central.stop()
    with pytest.raises(CallwardenError) as caught:
        await edge.sync.keeper.shred(recording.recording_id, [], jti)
    assert (caught.value.code, caught.value.retryable) == ("sync.unreachable", True)
    await edge.central.start()


async def test_enrolment_over_tls_pins_the_ca_and_the_keys(tmp_path: Path) -> None:
    async with a_central(tmp_path / "central", tls=True) as central:
        token, _ = setup.enrol_token(central.config)
        key = a_key()
        enrolled = await enrol(central.url, token, "pbx-7", key)
        assert enrolled.ca_pem == central.config.ca.read_bytes()
        assert enrolled.keyset.with_role("dpo")[0].kid == central.dpo.kid
        assert enrolled.keyset.find(key.kid).edge_id == "pbx-7"
        assert enrolled.witness_vkey == setup.vkey(central.config)
        _, shown = await central.admin("GET", "/v1/edges/pbx-7")
        assert (enrolled.state, enrolled.code) == ("enrolled", shown["code"])
        assert enrolled.tls_pem is not None
        write_certificate(tmp_path / "tls.pem", enrolled.tls_pem)
        uplink = Uplink(
            central.url, "pbx-7", key, ca_pem=enrolled.ca_pem, clock=make.SystemClock(), random_bytes=os.urandom
        )
        uplink.offer(read_certificate(tmp_path / "tls.pem"))
        assert await uplink.get(uplink.edge_path("tombstones")) == {"tombstones": [], "last": ""}
        await uplink.close()
        with pytest.raises(CallwardenError) as caught:
            await enrol(central.url, token[:-1] + ("0" if token[-1] != "0" else "1"), "pbx-8", a_key())
        assert caught.value.code == "auth.fingerprint"
        with pytest.raises(CallwardenError) as caught:
            await enrol(central.url, token, "pbx-8", a_key())
        assert caught.value.code == "auth.enrolment"


async def test_a_server_with_another_ca_is_not_believed(tmp_path: Path) -> None:
    other = setup.init(tmp_path / "other", "127.0.0.1:0")
    async with a_central(tmp_path / "central", tls=True) as central:
        uplink = Uplink(
            central.url, "e", a_key(), ca_pem=other.config.ca.read_bytes(), clock=make.SystemClock(),
            random_bytes=os.urandom,
        )  # fmt: skip
        with pytest.raises(CallwardenError) as caught:
            await uplink.get("/v1/health")
        assert caught.value.code == "sync.certificate"
        await uplink.close()


def test_plain_http_is_for_loopback_only() -> None:
    with pytest.raises(CallwardenError) as caught:
        Uplink("http://192.0.2.1", "e", a_key(), ca_pem=None, clock=make.SystemClock(), random_bytes=os.urandom)
    assert caught.value.code == "config.central"


async def test_a_wrong_clock_is_named(edge: SyncEdge) -> None:
    edge.central.offset = timedelta(hours=1)
    await edge.record()
    with pytest.raises(CallwardenError, match=r"auth\.clock") as caught:
        await edge.sync.flush()
    assert "clock" in caught.value.hint


async def test_a_restarted_edge_goes_on(edge: SyncEdge) -> None:
    await edge.record()
    await edge.sync.flush()
    await edge.record()
    again = SyncEdge.sync_of(edge.central, edge.key, edge.journal, edge.slots)
    await Checkpointer(edge.journal, edge.key).make()
    await again.flush()
    await again.close()
    assert await edge.waiting() == 0
    ((count, highest),) = await edge.central.rows("SELECT count(*), max(seq) FROM event")
    assert count == highest


async def restored(edge: SyncEdge, backup: bytes) -> None:
    """Central's database as it was at the backup; keys and keeper as they are."""
    await edge.central.stop()
    for tail in ("-wal", "-shm"):
        edge.central.config.database.with_name(edge.central.config.database.name + tail).unlink(missing_ok=True)
    edge.central.config.database.write_bytes(backup)
    await edge.central.start()


async def backup_of(edge: SyncEdge) -> bytes:
    await edge.central.stop()
    content = edge.central.config.database.read_bytes()
    await edge.central.start()
    return content


async def test_59_events_go_on_to_a_central_restored_from_a_backup(edge: SyncEdge) -> None:
    """What was acknowledged and then lost there is an alarm, not a reason to be silent for ever."""
    await edge.record()
    await edge.sync.flush()
    backup = await backup_of(edge)
    await edge.record()
    await edge.sync.flush()
    await restored(edge, backup)
    later, _ = await edge.record()
    await edge.sync.flush()
    await edge.sync.flush()
    assert await edge.waiting() == 0
    _, one = await edge.central.admin("GET", f"/v1/recordings/{later.recording_id}")
    assert one["state"] == "sealed"
    assert (await audited(edge)).count("sync.central_lost_events") == 1


async def test_59_orders_reach_the_edge_of_a_central_restored_from_a_backup(edge: SyncEdge) -> None:
    recording, _ = await edge.record()
    await edge.sync.flush()
    backup = await backup_of(edge)
    for _ in range(3):
        await order_for(edge, recording.recording_id)
    assert await edge.sync._inbox.poll(0) == 3
    await restored(edge, backup)
    # Issued under a number that this edge has seen already, before it asks for the first time.
    _, early = await order_for(edge, recording.recording_id)
    await edge.sync._inbox.poll(0)
    _, late = await order_for(edge, recording.recording_id)
    await edge.sync._inbox.poll(0)
    waiting = [row.jti for row in await edge.journal.orders(("received",))]
    assert waiting[3:] == [early["jti"], late["jti"]]
    _, alarms = await edge.central.admin("GET", "/v1/alarms")
    assert [a["code"] for a in alarms["alarms"]].count("delivery.rolled_back") == 1


async def test_an_answered_order_that_comes_again_is_answered_with_the_stored_receipt(edge: SyncEdge) -> None:
    recording, _ = await edge.record()
    await edge.sync.flush()
    backup = await backup_of(edge)
    order = await edge.central.signed_order(recording.recording_id)
    _, answer = await edge.central.admin("POST", "/v1/orders", {"order": order})
    await edge.sync._inbox.poll(0)
    await edge.journal.answer(sign_answer(edge, answer, recording.recording_id), state="answered")
    await edge.sync.flush()
    await restored(edge, backup)
    await edge.sync._inbox.poll(0)
    await edge.central.admin("POST", "/v1/orders", {"order": order})
    await edge.sync._inbox.poll(0)
    await edge.sync.flush()
    _, now = await edge.central.admin("GET", f"/v1/orders/{answer['jti']}")
    assert [r["result"] for r in now["receipts"]] == ["done"]
    assert await edge.journal.orders(("received", "answered")) == []
