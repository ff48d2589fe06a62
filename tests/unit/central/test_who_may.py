"""Every door, and who may pass it: written down here by hand, declared in the code, and tried with every kind of caller.

A door that is not in the table, or lets others pass than the table says, was opened by mistake or with a change of this table.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from central import setup
from central.app import all_doors
from central.doors import Door
from central.roles import ADMIN, ANYONE, EDGE, ROLES
from formats import canonical
from formats.keychange import sign_key_change
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id

#: "anyone", "edge", or the roles beside admin ("" : admin alone).
WHO = {
    "GET /v1/alarms": "ops dpo auditor",
    "GET /v1/ca": "anyone",
    "GET /v1/calls": "dpo auditor supervisor",
    "POST /v1/calls/search": "dpo supervisor",
    "GET /v1/cases": "dpo auditor",
    "POST /v1/cases": "dpo supervisor",
    "GET /v1/cases/{ref}": "dpo auditor",
    "POST /v1/cases/{ref}/choices": "dpo",
    "POST /v1/cases/{ref}/extension": "dpo",
    "POST /v1/cases/{ref}/notes": "dpo",
    "POST /v1/cases/{ref}/packages": "dpo",
    "POST /v1/cases/{ref}/person": "dpo",
    "POST /v1/cases/{ref}/steps": "dpo",
    "GET /v1/certificates/{jti}": "dpo auditor",
    "GET /v1/edges": "ops dpo auditor",
    "GET /v1/edges/{edge_id}": "ops dpo auditor",
    "POST /v1/edges/{edge_id}/approve": "ops",
    "GET /v1/edges/{edge_id}/audit": "edge",
    "POST /v1/edges/{edge_id}/audit": "edge",
    "POST /v1/edges/{edge_id}/certificate": "edge",
    "GET /v1/edges/{edge_id}/deliveries": "edge",
    "POST /v1/edges/{edge_id}/deliveries/{seq}/void": "ops dpo",
    "POST /v1/edges/{edge_id}/events": "edge",
    "POST /v1/edges/{edge_id}/heartbeat": "edge",
    "POST /v1/edges/{edge_id}/keeper/shred": "edge",
    "POST /v1/edges/{edge_id}/key": "edge",
    "GET /v1/edges/{edge_id}/media/{digest}": "edge",
    "PUT /v1/edges/{edge_id}/media/{digest}": "edge",
    "GET /v1/edges/{edge_id}/receipts": "edge",
    "POST /v1/edges/{edge_id}/receipts": "edge",
    "POST /v1/edges/{edge_id}/revoke": "ops",
    "POST /v1/edges/{edge_id}/search-key": "edge",
    "GET /v1/edges/{edge_id}/tombstones": "edge",
    "POST /v1/edges/{edge_id}/tombstones": "edge",
    "POST /v1/enrol": "anyone",
    "POST /v1/enrolments": "ops",
    "GET /v1/health": "anyone",
    "GET /v1/incidents": "ops dpo auditor",
    "POST /v1/incidents": "ops dpo",
    "GET /v1/incidents/{incident_id}": "ops dpo auditor",
    "POST /v1/incidents/{incident_id}/acknowledge": "ops dpo",
    "POST /v1/incidents/{incident_id}/assess": "dpo",
    "POST /v1/incidents/{incident_id}/close": "dpo",
    "POST /v1/incidents/{incident_id}/notes": "ops dpo",
    "POST /v1/incidents/{incident_id}/notified": "dpo",
    "GET /v1/incidents/{incident_id}/report": "dpo auditor",
    "GET /v1/keys": "ops dpo auditor",
    "POST /v1/keys": "",
    "GET /v1/log": "dpo auditor",
    "GET /v1/media": "dpo auditor supervisor",
    "GET /v1/openapi.json": "anyone",
    "GET /v1/orders": "dpo auditor",
    "POST /v1/orders": "dpo",
    "POST /v1/orders/draft": "dpo",
    "GET /v1/orders/{jti}": "dpo auditor",
    "GET /v1/orders/{jti}/file": "dpo",
    "GET /v1/policies": "dpo auditor",
    "GET /v1/receipts": "dpo auditor",
    "POST /v1/receipts": "dpo",
    "GET /v1/receipts/{receipt_id}": "dpo auditor",
    "GET /v1/recordings": "dpo auditor supervisor",
    "GET /v1/recordings/{recording_id}": "dpo auditor supervisor",
    "POST /v1/recordings/{recording_id}/headers": "",
    "GET /v1/recordings/{recording_id}/segments/{number}/media": "dpo supervisor",
    "GET /v1/register/{kind}": "dpo auditor",
    "GET /v1/register/{kind}/page": "dpo auditor",
    "GET /v1/register/{kind}/table": "dpo auditor",
    "GET /v1/tokens": "",
    "POST /v1/tokens": "",
    "DELETE /v1/tokens/{token_id}": "",
    "GET /v1/webhooks": "ops auditor",
    "GET /v1/webhooks/messages": "ops auditor",
    "GET /v1/webhooks/messages/{message_id}": "ops auditor",
    "POST /v1/webhooks/{name}/replay": "ops",
    "POST /v1/webhooks/{name}/test": "ops",
}


def allowed(words: str) -> frozenset[str]:
    return frozenset(words.split()) if words in (ANYONE, EDGE) else frozenset([ADMIN, *words.split()])


def test_the_table_and_the_declarations_are_the_same() -> None:
    declared = {f"{one.method} {one.path}": one.roles or one.who for one in all_doors()}
    assert declared == {name: allowed(words) for name, words in WHO.items()}


def place(one: Door, edge_id: str = "pbx-1") -> str:
    """The door's path with names that nothing has; a long-poll does not wait."""
    path = re.sub(r"\{(\w+)[^}]*\}", lambda found: edge_id if found[1] == "edge_id" else an_id(), one.path)
    return path + ("?wait=0" if "wait" in one.query else "")


#: At this door the key that signs is in the body, under a statement by the present one.
BODY_FIRST = "/v1/edges/{edge_id}/key"


def body_of(one: Door) -> bytes:
    """A body that says nothing; where the key is in it, a new key that a stranger would like to be pbx-1's."""
    if one.path == BODY_FIRST:
        return canonical.dumps({"statement": sign_key_change("pbx-1", a_key(), a_key(), "2026-01-01T00:00:00.000Z")})
    return b"" if one.method == "GET" else b"{}"


async def answered(central: TestCentral, one: Door, authorization: str | None) -> tuple[int, Any]:
    headers = {} if authorization is None else {"Authorization": authorization}
    return await central.ask(one.method, place(one), body_of(one) or None, headers)


@pytest.fixture
def tokens(central: TestCentral) -> dict[str, str]:
    return {role: setup.token_new(central.config, role, f"a {role}", None)[0] for role in ROLES}


async def test_each_role_passes_its_doors_and_no_other(central: TestCentral, tokens: dict[str, str]) -> None:
    TestEdge(central)
    for one in all_doors():
        name = f"{one.method} {one.path}"
        for role, token in tokens.items():
            status, answer = await answered(central, one, f"Bearer {token}")
            code = answer["code"] if status >= 400 else ""
            if WHO[name] == ANYONE:
                continue
            if WHO[name] == EDGE:
                assert (status, code) == (401, "auth.missing"), f"{name} took a token of {role}"
            elif role in allowed(WHO[name]):
                assert status not in (401, 429), f"{name} refused {role}: {answer}"
                assert code != "auth.forbidden", f"{name} refused {role}: {answer}"
            else:
                assert (status, code) == (403, "auth.forbidden"), f"{name} let {role} pass"


async def test_nobody_passes_without_a_token_or_a_signature(central: TestCentral) -> None:
    TestEdge(central)
    assert central.running is not None
    for one in all_doors():
        for authorization in (None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Callwarden a.b.c"):
            central.running.central.guesses.forget()  # this is about doors, not about patience
            status, answer = await answered(central, one, authorization)
            if ANYONE not in one.who:
                assert status == 401, f"{one.method} {one.path} {authorization}"
                assert answer["code"] == "auth.token" or EDGE in one.who, answer


async def test_an_edge_passes_its_own_doors_and_no_other(central: TestCentral) -> None:
    own, other = TestEdge(central, "pbx-1"), TestEdge(central, "pbx-2")
    assert central.running is not None
    for one in all_doors():
        if ANYONE in one.who:
            continue
        central.running.central.guesses.forget()
        body = body_of(one)
        if one.path == BODY_FIRST:
            assert (await own.ask(one.method, place(one), body))[0] == 401  # signed by the key that is to go
            continue
        status, answer = await own.ask(one.method, place(one), body)
        assert (status == 401) == bool(one.roles), f"{one.method} {one.path}: {answer}"
        if EDGE in one.who:
            # The signature of one edge, at the door of another: as its own name, and in the other's.
            foreign = place(one, "pbx-2")
            assert (await own.ask(one.method, foreign, body))[0] == 401, foreign
            assert (await own.ask(one.method, foreign, body, changed={"edge_id": "pbx-2"}))[0] == 401, foreign
            assert (await other.ask(one.method, foreign, body))[0] != 401, foreign


async def test_no_method_that_is_not_declared_is_answered(central: TestCentral) -> None:
    declared = {(one.method, one.path) for one in all_doors()}
    for one in all_doors():
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            if (method, one.path) not in declared:
                status, _ = await central.ask(method, place(one), None, {"Authorization": f"Bearer {central.token}"})
                assert status in (404, 405), f"{method} {one.path}"  # 404: `draft` is taken for the name of an order
