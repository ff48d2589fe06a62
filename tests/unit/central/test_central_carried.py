"""Orders that wait for edges which are away: progress, what is carried by hand, numbers that are given up, what orders bring."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest

from central import setup
from formats import canonical
from formats.jws import verify_compact
from formats.keys import SigningKey
from formats.orders import (
    DELIVERY_TYP,
    Person,
    order_sha256,
    read_order,
    sign_order,
    verify_delivery,
    verify_order,
)
from formats.orders.claims import DeliveryClaims, OrderClaims, decode
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id
from tests.unit.central.test_central_orders import deliveries, receipt, trust

DAY = timedelta(days=1)


@pytest.fixture
async def two(central: TestCentral) -> list[TestEdge]:
    return [TestEdge(central, edge_id=name) for name in ("pbx-1", "pbx-2")]


async def drafted(central: TestCentral, cmd: str, kind: str, target: str, *keys: SigningKey, **more: Any) -> Any:
    """An order as it was answered; the store alone signs where there are no keys."""
    opening = more.pop("opening", None)
    asked = {"cmd": cmd, "target": {"kind": kind, "id": target}, "reason": "asked for", **more}
    status, draft = await central.admin("POST", "/v1/orders/draft", asked)
    assert status == 200, draft
    claims = {name: one for name, one in draft["claims"].items() if one or name == "case_ref"}
    body: dict[str, Any] = {"claims": claims}
    if keys:
        body = {"order": sign_order(decode(canonical.dumps(claims), OrderClaims), keys)}
    status, answer = await central.admin("POST", "/v1/orders", body | ({"opening": opening} if opening else {}))
    assert status == 202, answer
    return answer


async def a_person(central: TestCentral) -> Any:
    person = Person(secrets.token_bytes(16), "+420777123456")
    return await drafted(central, "erase", "person", person.id, central.dpo, located=an_id(), opening=person.document())


async def test_a_person_at_an_edge_that_is_away_for_forty_days(central: TestCentral, two: list[TestEdge]) -> None:
    there, away = two
    order = await a_person(central)
    jti, document = order["jti"], order["order"]
    assert [one["state"] for one in order["progress"]] == ["silent", "silent"]
    found = {"calls": 2, "found": [], "shred_at": "2026-03-02T10:00:00.000Z", "due_at": "2026-03-09T10:00:00.000Z"}
    said = [
        receipt(there, document, jti, None, result="deferred", key_ids=(), slots=(), evidence=found, reason="2 calls"),
        receipt(there, document, jti, an_id(), n=1),
        receipt(there, document, jti, None, n=2, key_ids=(), slots=(), evidence={"calls": 2, "recordings": 1}),
    ]
    for number, one in enumerate(said):
        status, _ = await there.ask("POST", there.path("receipts"), {"receipts": [one]})
        assert status == 200
        _, listed = await central.admin("GET", "/v1/orders")
        (line,) = listed["orders"]
        assert line["missing"] == (["pbx-2"] if number == 2 else ["pbx-1", "pbx-2"])
    central.offset = 40 * DAY
    _, answer = await central.admin("GET", f"/v1/orders/{jti}")
    mine, other = answer["progress"]
    assert (mine["state"], mine["calls"], mine["done"], mine["due_at"]) == ("answered", 2, 1, found["due_at"])
    assert (other["state"], other["result"], answer["complete"]) == ("silent", None, False), "it has no end"
    (waits,) = await deliveries(away)
    claims = verify_delivery(waits["jws"], trust(central), aud="pbx-2", now=answer["at"])
    assert claims.exp is None
    assert claims.order == document
    assert waits["opening"]["number"] == "+420777123456"


async def test_orders_with_a_life_use_up_their_number_and_those_behind_go_on(
    central: TestCentral, two: list[TestEdge]
) -> None:
    recording = an_id()
    await two[0].send(two[0].opened(1, recording, key=secrets.token_bytes(32)))
    fetch = await drafted(central, "fetch", "recording", recording)
    hold = await drafted(central, "hold", "recording", recording)
    central.offset = 31 * DAY
    late = await deliveries(two[0])
    assert [one["seq"] for one in late] == [1, 2]
    assert [decode(verify_compact(one["jws"], trust(central), DELIVERY_TYP).payload, DeliveryClaims).exp is None
            for one in late] == [False, True]  # fmt: skip
    states = [
        (await central.admin("GET", f"/v1/orders/{one['jti']}"))[1]["progress"][0]["state"] for one in (fetch, hold)
    ]
    assert states == ["over", "silent"]


async def test_orders_are_listed_newest_first_in_pages(central: TestCentral, two: list[TestEdge]) -> None:
    made = []
    for _ in range(3):
        central.offset += timedelta(seconds=1)
        made.append((await a_person(central))["jti"])
    seen: list[str] = []
    before = ""
    while True:
        _, page = await central.admin("GET", f"/v1/orders?limit=2{before}")
        seen += [one["jti"] for one in page["orders"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == made[::-1]


async def test_an_order_is_carried_there_and_its_receipt_back(central: TestCentral, two: list[TestEdge]) -> None:
    order = await a_person(central)
    jti, document = order["jti"], order["order"]
    status, carried = await central.admin("GET", f"/v1/orders/{jti}/file")
    assert (status, carried["type"]) == (200, "callwarden-order-file/v1")
    assert verify_order(carried["order"], trust(central), now=order["at"]).claims.jti == jti
    assert carried["opening"]["number"] == "+420777123456"
    done = [receipt(one, document, jti, None, result="not_found", key_ids=(), slots=(), evidence={}) for one in two]
    for edge, one in zip(two, done, strict=True):
        body = {"edge_id": edge.edge_id, "receipts": [one["jws"], one["jws"]]}
        status, answer = await central.admin("POST", "/v1/receipts", body)
        assert (status, answer["results"]) == (200, ["accepted", "duplicate"])
    status, answer = await two[0].ask("POST", two[0].path("receipts"), {"receipts": [done[0]]})
    assert answer["results"] == {done[0]["receipt_id"]: "duplicate"}, "the edge is back and sends it, too"
    assert (await central.admin("GET", f"/v1/orders/{jti}"))[1]["complete"] is True
    _, again = await central.admin("GET", f"/v1/orders/{jti}/file")
    assert again["opening"] is None, "wiped with the last word"


async def test_carried_receipts_that_are_another_s_or_forged(central: TestCentral, two: list[TestEdge]) -> None:
    order = await a_person(central)
    document, jti = order["order"], order["jti"]
    theirs = receipt(two[1], document, jti, None, result="not_found", key_ids=(), slots=(), evidence={})
    forger = TestEdge(central, edge_id="pbx-1", key=a_key(), enrol=False)
    forged = receipt(forger, document, jti, None, result="not_found", key_ids=(), slots=(), evidence={})
    body = {"edge_id": "pbx-1", "receipts": [theirs["jws"], forged["jws"], "a.b.c"]}
    _, answer = await central.admin("POST", "/v1/receipts", body)
    assert [one.partition(":")[0] for one in answer["results"]] == ["rejected"] * 3
    assert (await central.admin("POST", "/v1/receipts", {**body, "edge_id": "nobody"}))[0] == 404
    assert await central.rows("SELECT count(*) FROM receipt") == [(0,)]


async def test_a_number_is_given_up_and_its_order_goes_again(central: TestCentral, two: list[TestEdge]) -> None:
    order = await a_person(central)
    path = "/v1/edges/pbx-1/deliveries/1/void"
    status, answer = await central.admin("POST", path, {"reason": "the edge refuses it"})
    assert (status, answer) == (200, {"edge_id": "pbx-1", "seq": 1, "again": 2})
    void, again = await deliveries(two[0])
    said = [verify_delivery(one["jws"], trust(central), aud="pbx-1", now=order["at"]) for one in (void, again)]
    assert [(one.seq, one.void, one.order) for one in said] == [(1, True, None), (2, False, order["order"])]
    assert "opening" in again
    assert "opening" not in void
    _, shown = await central.admin("GET", f"/v1/orders/{order['jti']}")
    assert [(one["edge_id"], one["seq"]) for one in shown["progress"]] == [("pbx-1", 2), ("pbx-2", 1)]
    assert (await central.admin("POST", "/v1/edges/pbx-1/deliveries/9/void", {"reason": "x"}))[0] == 404
    assert (await central.admin("POST", "/v1/edges/pbx-1/deliveries/x/void", {"reason": "x"}))[0] == 404
    recording = an_id()
    await two[0].send(two[0].opened(1, recording, key=secrets.token_bytes(32)))
    fetch = await drafted(central, "fetch", "recording", recording)
    central.offset = 2 * DAY
    _, answer = await central.admin("POST", "/v1/edges/pbx-1/deliveries/3/void", {"reason": "late"})
    assert answer["again"] is None
    assert (await central.admin("GET", f"/v1/orders/{fetch['jti']}"))[1]["complete"] is True


async def test_a_policy_is_for_the_edges_it_names(central: TestCentral, two: list[TestEdge]) -> None:
    table = '[policy.sales]\nmode = "never"\n'
    one = await drafted(central, "policy", "policy", "sales", central.dpo, content={"toml": table, "edges": ["pbx-2"]})
    assert [queued["edge_id"] for queued in one["deliveries"]] == ["pbx-2"]
    assert read_order(one["order"]).content["toml"] == table
    every = await drafted(central, "policy", "policy", "sales", central.dpo, content={"toml": table})
    assert len(every["deliveries"]) == 2
    asked = {"cmd": "policy", "target": {"kind": "policy", "id": "sales"}, "reason": "r"}
    for content, status in (({"toml": table, "edges": ["nobody"]}, 404), ({}, 400), ({"toml": 1}, 400)):
        assert (await central.admin("POST", "/v1/orders/draft", asked | {"content": content}))[0] == status


async def test_a_release_goes_to_who_holds_and_is_signed_by_two(central: TestCentral, two: list[TestEdge]) -> None:
    auditor = a_key()
    setup.register_key(central.config, "auditor", "Ann", auditor.verify_key)
    recording = an_id()
    await two[1].send(two[1].opened(1, recording, key=secrets.token_bytes(32)))
    hold = await drafted(central, "hold", "recording", recording)
    release = await drafted(central, "release", "hold", hold["jti"], central.dpo, auditor)
    assert [one["edge_id"] for one in release["deliveries"]] == ["pbx-2"]
    assert release["order_sha256"] == order_sha256(release["order"])
    elsewhere = await drafted(central, "release", "hold", an_id(), central.dpo, auditor)
    assert len(elsewhere["deliveries"]) == 2, "a hold that was placed at an edge"


async def test_orders_that_bring_much_come_in_several_answers(
    central: TestCentral, two: list[TestEdge], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = '[policy.sales]\nmode = "never"\n' + "#" * 200_000
    for _ in range(3):
        await drafted(central, "policy", "policy", "sales", central.dpo, content={"toml": table, "edges": ["pbx-1"]})
    monkeypatch.setattr("central.deliveries.PAGE_BYTES", 600_000)
    seen: list[int] = []
    while found := await deliveries(two[0], after=len(seen)):
        seen += [one["seq"] for one in found]
        assert len(found) == 1
    assert seen == [1, 2, 3]
