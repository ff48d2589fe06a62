"""A DPO at work on a case of a real central, and edges that answer."""

from __future__ import annotations

import secrets
from typing import Any

from formats import canonical
from formats.ids import format_time
from formats.orders import Person, ReceiptClaims, order_sha256, sign_order, sign_receipt
from formats.orders.claims import OrderClaims, decode
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id

NUMBER = "+420 777 123 456"


async def token(central: TestCentral, role: str) -> str:
    """A token of a role."""
    status, made = await central.admin("POST", "/v1/tokens", {"role": role, "label": f"{role} at work"})
    assert status == 201, made
    return str(made["token"])


class Office:
    """A DPO at work."""

    def __init__(self, central: TestCentral, who: str) -> None:
        self.central, self.who, self.ref = central, who, ""

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return await self.central.admin(method, path, body, token=self.who)

    async def open(self, kind: str = "erasure", **more: Any) -> dict[str, Any]:
        status, made = await self.ask(
            "POST",
            "/v1/cases",
            {"kind": kind, "numbers": [NUMBER], "country": "CZ", "note": "wants it all gone", **more},
        )
        assert status == 201, made
        self.ref = made["ref"]
        return dict(made)

    async def on(self, rest: str, body: Any) -> tuple[int, Any]:
        return await self.ask("POST", f"/v1/cases/{self.ref}/{rest}", body)

    async def step(self, act: str, **more: Any) -> tuple[int, Any]:
        return await self.on("steps", {"act": act, **more})

    async def identify(self) -> None:
        status, _ = await self.step("identify", method="document", note="passport seen")
        assert status == 200

    async def show(self) -> dict[str, Any]:
        status, found = await self.ask("GET", f"/v1/cases/{self.ref}")
        assert status == 200, found
        return dict(found)

    async def order(self, cmd: str, *, located: str | None = None, sign: bool = False, **more: Any) -> tuple[int, Any]:
        person = Person(secrets.token_bytes(16), "+420777123456")
        asked = {
            "cmd": cmd, "target": {"kind": "person", "id": person.id}, "reason": "request of a data subject", "case_ref": self.ref,
            "located": located, **more,
        }  # fmt: skip
        status, draft = await self.ask("POST", "/v1/orders/draft", {k: v for k, v in asked.items() if v is not None})
        assert status == 200, draft
        opening = {"opening": person.document()} if draft["claims"]["target"]["kind"] == "person" else {}
        if not sign:
            return await self.ask("POST", "/v1/orders", {"claims": _said(draft["claims"]), **opening})
        claims = decode(canonical.dumps(_said(draft["claims"])), OrderClaims)
        return await self.ask("POST", "/v1/orders", {"order": sign_order(claims, [self.central.dpo]), **opening})


def _said(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in claims.items() if one or name == "case_ref"}


async def answer(edge: TestEdge, order: dict[str, Any], result: str, evidence: dict[str, Any], n: int = 0) -> None:
    """The edge's signed receipt."""
    claims = ReceiptClaims(
        receipt_id=an_id(), jti=order["jti"], n=n, result=result, edge_id=edge.edge_id, at=format_time(edge.central.wall()),
        order_sha256=order_sha256(order["order"]), evidence=evidence,
    )  # fmt: skip
    jws = sign_receipt(claims, edge.key)
    item = {"receipt_id": claims.receipt_id, "jti": claims.jti, "n": n, "result": result, "jws": jws}
    status, told = await edge.ask("POST", edge.path("receipts"), {"receipts": [item]})
    assert (status, told["results"][claims.receipt_id]) == (200, "accepted")


def match(call_id: str, at: str = "2026-01-31T12:00:00.000Z") -> dict[str, Any]:
    return {
        "call_id": call_id, "started_at": at, "seconds": 60, "policy_id": "support", "direction": "inbound", "outcome": "given",
        "recordings": 1, "held": False,
    }  # fmt: skip


async def searched(office: Office, edges: list[TestEdge], found: dict[str, list[str]]) -> dict[str, Any]:
    """Identify and search; `found`: edge to calls."""
    await office.identify()
    status, order = await office.order("locate")
    assert status == 202, order
    for edge in edges:
        calls = found.get(edge.edge_id, [])
        await answer(
            edge,
            order,
            "done" if calls else "not_found",
            {"located": order["jti"], "matches": [match(c) for c in calls], "more": 0},
        )
    status, told = await office.step("search")
    assert status == 200, told
    return dict(order)


def choice(edge: TestEdge, call_id: str, include: bool = True, reason: str = "same voice") -> dict[str, Any]:
    return {"edge_id": edge.edge_id, "call_id": call_id, "include": include, "reason": reason}
