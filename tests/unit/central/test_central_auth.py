"""Who may ask: signed requests of edges, administrators' tokens, enrolment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from central import setup
from central.errors import CentralError
from formats.ids import format_time
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id

PATH = "/v1/edges/pbx-1/tombstones"


async def test_a_signed_request_is_answered(edge: TestEdge) -> None:
    assert await edge.ask("GET", PATH) == (200, {"tombstones": [], "last": ""})


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"edge_id": "pbx-2"}, "auth.mismatch"),
        ({"method": "POST"}, "auth.mismatch"),
        ({"path": "/v1/edges/pbx-1/deliveries"}, "auth.mismatch"),
        ({"body_sha256": "0" * 64}, "auth.mismatch"),
        ({"jti": "x"}, "auth.mismatch"),
        ({"jti": 7}, "auth.claims"),
        ({"extra": "x"}, "auth.claims"),
        ({"iat": "yesterday"}, "usage.time"),
    ],
)
async def test_claims_for_another_request_are_refused(edge: TestEdge, changed: dict[str, object], code: str) -> None:
    status, problem = await edge.ask("GET", PATH, changed=changed)
    assert (status, problem["code"]) == (401, code)


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_61_an_expired_or_future_request_is_refused(edge: TestEdge, minutes: int) -> None:
    at = format_time(edge.central.wall() + timedelta(minutes=minutes))
    status, problem = await edge.ask("GET", PATH, changed={"iat": at})
    assert (status, problem["code"]) == (401, "auth.clock")
    assert "now" in problem


async def test_61_a_replayed_request_is_refused(edge: TestEdge) -> None:
    header = edge.authorization(edge.claims("GET", PATH, b""))
    assert (await edge.ask("GET", PATH, authorization=header))[0] == 200
    status, problem = await edge.ask("GET", PATH, authorization=header)
    assert (status, problem["code"]) == (401, "auth.replay")


async def test_61_a_wrong_key_is_refused(edge: TestEdge) -> None:
    thief = TestEdge(edge.central, key=a_key(), enrol=False)
    status, problem = await thief.ask("GET", PATH)
    assert (status, problem["code"]) == (401, "auth.unknown_key")


async def test_61_every_flipped_character_of_the_signature_is_refused(edge: TestEdge) -> None:
    header = edge.authorization(edge.claims("GET", PATH, b""))
    for place in range(len("Callwarden "), len(header), 37):
        flipped = header[:place] + ("A" if header[place] != "A" else "B") + header[place + 1 :]
        assert (await edge.ask("GET", PATH, authorization=flipped))[0] == 401, place


async def test_another_typ_does_not_authenticate(edge: TestEdge) -> None:
    header = edge.authorization(edge.claims("GET", PATH, b""), typ="callwarden-receipt+json")
    assert (await edge.ask("GET", PATH, authorization=header))[0] == 401


async def test_an_edge_cannot_ask_for_another(edge: TestEdge) -> None:
    TestEdge(edge.central, "pbx-2")
    status, _ = await edge.ask("GET", "/v1/edges/pbx-2/tombstones")
    assert status == 401


@pytest.mark.parametrize("header", ["", "Bearer x", "Callwarden", "Callwarden a.b.c", "Callwarden " + "A" * 5000])
async def test_malformed_authorization_is_401(edge: TestEdge, header: str) -> None:
    assert (await edge.ask("GET", PATH, authorization=header))[0] == 401


@pytest.mark.parametrize(
    "path", ["/v1/edges", "/v1/calls", "/v1/recordings", "/v1/receipts", "/v1/alarms", "/v1/log", "/v1/keys"]
)
async def test_administrators_need_their_token(central: TestCentral, path: str) -> None:
    assert (await central.admin("GET", path))[0] == 200
    assert (await central.admin("GET", path, token="wrong"))[0] == 401


async def test_the_token_is_stored_hashed(central: TestCentral) -> None:
    ((stored,),) = await central.rows("SELECT token_sha256 FROM admin_token")
    assert stored != central.token
    if not central.postgres:
        assert central.token.encode() not in central.config.database.read_bytes()
    assert central.config.token.stat().st_mode & 0o777 == 0o600


async def _enrol(edge: TestEdge, token: str) -> tuple[int, dict[str, object]]:
    body = {"token": token, "edge_id": edge.edge_id, "jwk": edge.key.verify_key.jwk()}
    return await edge.ask("POST", "/v1/enrol", body)


async def test_enrolment_pins_a_key_once(central: TestCentral) -> None:
    _, made = await central.admin("POST", "/v1/enrolments", {"edge_id": "pbx-9"})
    edge = TestEdge(central, "pbx-9", enrol=False)
    status, trust = await _enrol(edge, made["token"])
    assert status == 201
    assert {one["role"] for one in trust["keyset"]["keys"]} == {"store", "witness", "dpo", "edge"}
    assert (await _enrol(edge, made["token"]))[0] == 201  # the answer was lost: asking again is harmless
    assert (await edge.ask("GET", edge.path("tombstones")))[0] == 200
    thief = TestEdge(central, "pbx-9", key=a_key(), enrol=False)
    status, problem = await _enrol(thief, made["token"])
    assert (status, problem["code"]) == (403, "auth.enrolment_used")


async def test_enrolment_refuses_old_foreign_and_unproven(central: TestCentral) -> None:
    edge = TestEdge(central, "pbx-9", enrol=False)
    assert (await _enrol(edge, "cwe1.AAAA.-"))[1]["code"] == "auth.enrolment"
    token, _ = setup.enrol_token(central.config, "pbx-8")
    assert (await _enrol(edge, token))[1]["code"] == "auth.enrolment"
    token, _ = setup.enrol_token(central.config)
    body = {"token": token, "edge_id": "pbx-9", "jwk": a_key().verify_key.jwk()}  # a key the sender does not have
    assert (await edge.ask("POST", "/v1/enrol", body))[0] == 401
    central.offset = timedelta(hours=1, seconds=2)
    status, problem = await _enrol(edge, token)
    assert (status, problem["code"]) == (403, "auth.enrolment_expired")


async def test_a_name_keeps_its_key_and_a_key_its_name(central: TestCentral, edge: TestEdge) -> None:
    token, _ = setup.enrol_token(central.config)
    other = TestEdge(central, "pbx-1", key=a_key(), enrol=False)
    assert (await _enrol(other, token))[1]["code"] == "auth.edge_taken"
    clone = TestEdge(central, "pbx-2", key=edge.key, enrol=False)
    assert (await _enrol(clone, token))[1]["code"] == "auth.edge_cloned"


async def test_people_s_keys_are_registered_and_central_s_are_not_for_people(central: TestCentral) -> None:
    auditor = a_key()
    body = {"role": "auditor", "owner": "Ann", "jwk": auditor.verify_key.jwk()}
    assert (await central.admin("POST", "/v1/keys", body))[0] == 201
    assert (await central.admin("POST", "/v1/keys", body))[0] == 200
    assert (await central.admin("POST", "/v1/keys", body | {"role": "dpo"}))[0] == 409
    assert (await central.admin("POST", "/v1/keys", body | {"role": "store"}))[0] == 400
    _, keys = await central.admin("GET", "/v1/keys")
    assert auditor.kid in {one["kid"] for one in keys["keys"]}
    assert an_id() not in str(keys)
    _, alarms = await central.admin("GET", "/v1/alarms")
    assert [a["code"] for a in alarms["alarms"]] == ["key.registered"]  # once, for the one that was made


async def test_only_a_signed_request_counts_as_a_sign_of_life(central: TestCentral) -> None:
    edge = TestEdge(central)
    stranger = TestEdge(central, key=a_key(), enrol=False)
    assert central.running is not None
    book = central.running.central.edges  # which writes every few seconds
    assert (await stranger.ask("GET", edge.path("deliveries?wait=0")))[0] == 401
    await book.write()
    assert await central.rows("SELECT last_seen_at FROM edge") == [(None,)]
    assert (await edge.ask("GET", edge.path("deliveries?wait=0")))[0] == 200
    await book.write()
    ((seen,),) = await central.rows("SELECT last_seen_at FROM edge")
    assert seen is not None


async def test_no_key_is_listed_twice(central: TestCentral, edge: TestEdge) -> None:
    """A key set with a doubled key is believed by nobody: one registration would stop every order and enrolment."""
    assert central.running is not None
    own = central.running.central
    for key in (edge.key, own.store, own.witness):
        body = {"role": "auditor", "owner": "Eve", "jwk": key.verify_key.jwk()}
        status, problem = await central.admin("POST", "/v1/keys", body)
        assert (status, problem["code"]) == (409, "auth.role")
        with pytest.raises(CentralError, match="central's or an edge's"):
            setup.register_key(central.config, "auditor", "Eve", key.verify_key)
    _, made = await central.admin("POST", "/v1/enrolments", {"edge_id": "pbx-9"})
    as_edge = TestEdge(central, "pbx-9", key=central.dpo, enrol=False)
    assert (await _enrol(as_edge, made["token"]))[1]["code"] == "auth.role"
    assert (await central.admin("GET", "/v1/keys"))[0] == 200
