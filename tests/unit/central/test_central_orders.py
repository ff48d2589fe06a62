"""Orders: who must sign, what is refused, how they reach an edge, and the receipts that come back."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from central import setup
from central.errors import CentralError
from central.people import wipe_what_is_over
from formats import canonical
from formats.errors import ReceiptError
from formats.ids import format_time
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.orders import (
    Person,
    ReceiptClaims,
    countersign_order,
    order_sha256,
    read_order,
    sign_order,
    sign_receipt,
    verify_delivery,
    verify_order,
    verify_receipt_document,
)
from formats.orders.claims import OrderClaims, decode
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id


@pytest.fixture
async def recording(edge: TestEdge) -> str:
    recording_id = an_id()
    await edge.send(edge.opened(1, recording_id, key=secrets.token_bytes(32)))
    return recording_id


def trust(central: TestCentral) -> KeySet:
    return setup.trust(central.config)


def receipt(
    edge: TestEdge, order: dict[str, Any], jti: str, recording_id: str | None, **changed: Any
) -> dict[str, Any]:
    claims = {
        "receipt_id": an_id(),
        "jti": jti,
        "n": 0,
        "result": "done",
        "edge_id": edge.edge_id,
        "at": format_time(edge.central.wall()),
        "order_sha256": order_sha256(order),
        "recording_id": recording_id,
        "key_ids": ("ab" * 32,),
        "slots": (4,),
        "evidence": {"slots_overwritten": True},
    } | changed
    jws = sign_receipt(ReceiptClaims(**claims), edge.key)
    return {name: claims[name] for name in ("receipt_id", "jti", "n", "result")} | {"jws": jws}


async def submit(central: TestCentral, order: Any) -> tuple[int, Any]:
    return await central.admin("POST", "/v1/orders", {"order": order})


async def deliveries(edge: TestEdge, after: int = 0, wait: int = 0) -> list[Any]:
    status, answer = await edge.ask("GET", edge.path(f"deliveries?after={after}&wait={wait}"))
    assert status == 200, answer
    found: list[Any] = answer["deliveries"]
    return found


async def test_a_dpo_only_order_gets_the_store_s_signature_and_is_delivered(edge: TestEdge, recording: str) -> None:
    central = edge.central
    bystander = TestEdge(central, "pbx-2")
    order = await central.signed_order(recording)
    status, answer = await submit(central, order)
    assert status == 202
    assert answer["deliveries"] == [{"edge_id": "pbx-1", "seq": 1}]
    (delivery,) = await deliveries(edge)
    now = format_time(central.wall())
    claims = verify_delivery(delivery["jws"], trust(central), aud="pbx-1", now=now)
    assert claims.order is not None
    verified = verify_order(claims.order, trust(central), now=now, fleet="fleet")
    assert Counter(one.role for one in verified.signers) == Counter({"store": 1, "dpo": 1})
    assert verified.claims.target.id == recording
    assert await deliveries(bystander) == []
    assert await submit(central, order) == (202, answer)  # asked twice, queued once
    assert len(await deliveries(edge)) == 1


async def test_an_order_that_people_sign_needs_no_edge_s_key(edge: TestEdge, recording: str) -> None:
    """A fleet has ten thousand of them."""
    central = edge.central
    assert central.running is not None
    await central.running.central.db.run(lambda conn: conn.execute("UPDATE edge SET jwk='{}'").rowcount)
    assert (await submit(central, await central.signed_order(recording)))[0] == 202


async def test_61_orders_with_the_wrong_signatures_are_refused(edge: TestEdge, recording: str) -> None:
    central = edge.central
    good = await central.signed_order(recording)
    auditor, second, stranger = a_key(), a_key(), a_key()
    setup.register_key(central.config, "auditor", "Ann", auditor.verify_key)
    setup.register_key(central.config, "dpo", "Dora", second.verify_key)
    one = good["signatures"][0]
    wrong: dict[str, dict[str, Any]] = {
        "unsigned": good | {"signatures": []},
        "doubled": good | {"signatures": [one, one]},
        "one too many": countersign_order(good, second),
        "wrong role": await central.signed_order(recording, auditor),
        "stranger": await central.signed_order(recording, stranger),
        "an edge": await central.signed_order(recording, edge.key),
        "swapped": good | {"signatures": (await central.signed_order(recording))["signatures"]},
        "unprotected header": good | {"signatures": [one | {"header": {"alg": "none"}}]},
        "flattened": {"payload": good["payload"], **one},
        "bit": good
        | {
            "signatures": [
                one | {"signature": one["signature"][:-2] + ("AA" if one["signature"][-2:] != "AA" else "BA")}
            ]
        },
    }
    for name, order in wrong.items():
        status, problem = await submit(central, order)
        assert status in (400, 403), (name, problem)
    assert await central.rows("SELECT count(*) FROM orders") == [(0,)]
    assert await deliveries(edge) == []
    assert (await submit(central, good))[0] == 202


async def test_orders_of_another_fleet_from_the_future_or_for_nothing(edge: TestEdge, recording: str) -> None:
    central = edge.central
    central.offset = timedelta(minutes=10)
    order = await central.signed_order(recording)
    central.offset = timedelta(0)
    assert (await submit(central, order))[1]["code"] == "command.future"
    body = {"cmd": "erase", "target": {"kind": "recording", "id": an_id()}, "reason": "x"}
    status, problem = await central.admin("POST", "/v1/orders/draft", body)
    assert (status, problem["code"]) == (404, "not_found.recording")


async def test_a_retired_dpo_key_orders_nothing(edge: TestEdge, recording: str) -> None:
    central = edge.central
    order = await central.signed_order(recording)
    assert central.running is not None
    past = format_time(central.wall() - timedelta(days=1))
    await central.running.central.db.run(lambda c: c.execute("UPDATE key SET retired_at=?", (past,)))
    assert (await submit(central, order))[0] == 403


async def test_the_store_alone_orders_only_what_it_may(edge: TestEdge, recording: str) -> None:
    central = edge.central
    for cmd, expected in (("hold", 202), ("erase", 403)):
        body = {"cmd": cmd, "target": {"kind": "recording", "id": recording}, "reason": "x"}
        _, draft = await central.admin("POST", "/v1/orders/draft", body)
        assert (await central.admin("POST", "/v1/orders", {"claims": draft["claims"]}))[0] == expected
    assert len(await deliveries(edge)) == 1


async def test_the_same_jti_for_another_order_is_a_conflict(edge: TestEdge, recording: str) -> None:
    central = edge.central
    order = await central.signed_order(recording)
    await submit(central, order)
    other = sign_order(msgspec.structs.replace(read_order(order), reason="another"), [central.dpo])
    assert (await submit(central, other))[0] == 409


async def test_a_long_poll_wakes_at_once(edge: TestEdge, recording: str) -> None:
    waiting = asyncio.create_task(deliveries(edge, wait=20))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await submit(edge.central, await edge.central.signed_order(recording))
    assert len(await asyncio.wait_for(waiting, 2)) == 1


async def test_a_long_poll_ends_with_central_and_goes_on_after_it(edge: TestEdge, recording: str) -> None:
    central = edge.central
    waiting = asyncio.create_task(deliveries(edge, wait=20))
    await asyncio.sleep(0.1)
    await asyncio.wait_for(central.stop(), 4)
    assert await asyncio.wait_for(waiting, 2) == []
    await central.start()
    await submit(central, await central.signed_order(recording))
    assert [one["seq"] for one in await deliveries(edge)] == [1]


async def test_numbers_are_gapless_and_may_be_asked_again(edge: TestEdge) -> None:
    for n in range(1, 4):
        recording_id = an_id()
        await edge.send(edge.opened(n, recording_id, key=None))
        await submit(edge.central, await edge.central.signed_order(recording_id))
    assert [one["seq"] for one in await deliveries(edge)] == [1, 2, 3]
    assert [one["seq"] for one in await deliveries(edge, after=1)] == [2, 3]
    assert await deliveries(edge, after=1) == (await deliveries(edge))[1:]


async def test_receipts_are_stored_once_and_prove_themselves(edge: TestEdge, recording: str) -> None:
    central = edge.central
    _, answer = await submit(central, await central.signed_order(recording))
    deferred = receipt(edge, answer["order"], answer["jti"], recording, result="deferred", key_ids=(), evidence={})
    done = receipt(edge, answer["order"], answer["jti"], recording, n=1)
    for expected in ("accepted", "duplicate"):
        status, results = await edge.ask("POST", edge.path("receipts"), {"receipts": [deferred, done]})
        assert status == 200
        assert set(results["results"].values()) == {expected}
    _, order = await central.admin("GET", f"/v1/orders/{answer['jti']}")
    assert order["complete"] is True
    assert [one["result"] for one in order["receipts"]] == ["deferred", "done"]
    _, listed = await central.admin("GET", f"/v1/receipts?recording_id={recording}")
    document = listed["receipts"][1]["document"]
    assert verify_receipt_document(document, trust(central)).result == "done"
    document["claims"]["result"] = "already"
    with pytest.raises(ReceiptError):
        verify_receipt_document(document, trust(central))


async def test_a_call_is_complete_when_no_recording_of_it_is_left(edge: TestEdge, recording: str) -> None:
    central = edge.central
    call_id = an_id()
    await edge.send(edge.event(2, "call.opened", call_id, {"call_id": call_id}))
    draft = {"cmd": "erase", "target": {"kind": "call", "id": call_id}, "reason": "asked for"}
    status, drafted = await central.admin("POST", "/v1/orders/draft", draft)
    assert status == 200, drafted
    order = sign_order(decode(canonical.dumps(drafted["claims"]), OrderClaims), [central.dpo])
    _, answer = await submit(central, order)
    jti = answer["jti"]
    for n, evidence in enumerate(({"left": 2}, {"read_back": True}, {"left": 0})):
        one = receipt(edge, answer["order"], jti, an_id(), n=n, evidence=evidence)
        _, results = await edge.ask("POST", edge.path("receipts"), {"receipts": [one]})
        assert set(results["results"].values()) == {"accepted"}
        assert (await central.admin("GET", f"/v1/orders/{jti}"))[1]["complete"] is (n == 2)
        refusal = (await central.admin("GET", f"/v1/certificates/{jti}"))[1]
        assert refusal["code"] == "certificate.pending"
        assert ("last word" in refusal["title"]) is (n < 2)


async def test_an_edge_that_was_off_does_not_keep_the_number_for_ever(edge: TestEdge) -> None:
    central = edge.central
    off = TestEdge(central, "pbx-2")
    person = Person(secrets.token_bytes(16), "+420777123456")
    asked = {"cmd": "locate", "target": {"kind": "person", "id": person.id}, "reason": "asked for"}
    _, drafted = await central.admin("POST", "/v1/orders/draft", asked)
    body = {"claims": drafted["claims"], "opening": person.document()}
    status, answer = await central.admin("POST", "/v1/orders", body)
    assert status == 202, answer
    jti = answer["jti"]
    one = receipt(edge, answer["order"], jti, None, key_ids=(), slots=(), evidence={"matches": []})
    await edge.ask("POST", edge.path("receipts"), {"receipts": [one]})
    ((slot,),) = await central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti)
    assert central.running is not None
    running = central.running.central
    for hours, over in ((24, False), (24.2, True)):
        central.offset = timedelta(hours=hours)
        await wipe_what_is_over(running)
        assert (await central.admin("GET", f"/v1/orders/{jti}"))[1]["complete"] is over
        assert await central.rows("SELECT opening_slot FROM orders WHERE jti=?", jti) == [(None if over else slot,)]
    with pytest.raises(CentralError):
        running.keeper.read(slot)
    assert ["opening" in one for one in await deliveries(off)] == [False]
    assert await central.rows("SELECT count(*) FROM log WHERE entry LIKE '%order.wiped%'") == [(1,)]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("held", [True, False])
async def test_of_a_revoked_edge_s_recording_central_s_own_keys_go_unless_it_may_be_held(
    edge: TestEdge, recording: str, *, first: bool, held: bool
) -> None:
    """Revoked before the order or while it waits."""
    central = edge.central
    ((slot,),) = await central.rows("SELECT keeper_slot FROM header WHERE recording_id=?", recording)
    if held:
        body = {"cmd": "hold", "target": {"kind": "recording", "id": recording}, "reason": "x"}
        _, draft = await central.admin("POST", "/v1/orders/draft", body)
        assert (await central.admin("POST", "/v1/orders", {"claims": draft["claims"]}))[0] == 202
    order = await central.signed_order(recording)
    steps = [
        lambda: submit(central, order),
        lambda: central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "lost"}),
    ]
    for step in reversed(steps) if first else steps:
        assert (await step())[0] in (200, 202)
    jti = read_order(order).jti
    found = (await central.admin("GET", f"/v1/orders/{jti}"))[1]
    assert (found["complete"], [one["state"] for one in found["progress"]]) == (True, ["revoked"])
    assert (await central.admin("GET", f"/v1/certificates/{jti}"))[1]["code"] == "certificate.revoked"
    tombs = await central.rows("SELECT jti FROM tombstone WHERE recording_id=?", recording)
    assert tombs == ([] if held else [(jti,)])
    assert central.running is not None
    if held:
        assert central.running.central.keeper.read(slot)
    else:
        with pytest.raises(CentralError):
            central.running.central.keeper.read(slot)


async def test_receipts_that_prove_nothing_are_rejected(edge: TestEdge, recording: str) -> None:
    central = edge.central
    other = TestEdge(central, "pbx-2")
    _, answer = await submit(central, await central.signed_order(recording))
    order, jti = answer["order"], answer["jti"]
    good = receipt(edge, order, jti, recording)
    wrong = [
        receipt(other, order, jti, recording),  # another edge's signature
        receipt(TestEdge(central, "pbx-1", key=SigningKey.from_seed(bytes(32)), enrol=False), order, jti, recording),
        receipt(edge, order | {"signatures": []}, jti, recording),  # another order's hash
        good | {"result": "already"},
        good | {"jws": good["jws"][:-4] + "AAAA"},
        good | {"jws": ""},
    ]
    for item in wrong:
        _, results = await edge.ask("POST", edge.path("receipts"), {"receipts": [item]})
        assert [r.split(":")[0] for r in results["results"].values()] == ["rejected"], item
    assert await central.rows("SELECT count(*) FROM receipt") == [(0,)]
    await edge.ask("POST", edge.path("receipts"), {"receipts": [good]})
    again = receipt(edge, order, jti, recording)  # the same number, another receipt
    _, results = await edge.ask("POST", edge.path("receipts"), {"receipts": [again]})
    assert list(results["results"].values()) == ["rejected:receipt.number"]
