"""Bearer tokens: made, over, revoked; and what becomes of guesses."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from central import setup
from central.errors import CentralError
from central.guesses import ADDRESSES, LOGGED, LOGGED_ALL, WINDOW_S, Guesses, network
from central.tokens import token_hash
from tests.unit.central.central_kit import TestCentral


async def made(central: TestCentral, **body: Any) -> dict[str, Any]:
    status, answer = await central.admin("POST", "/v1/tokens", {"role": "auditor", "label": "an auditor"} | body)
    assert status == 201, answer
    found: dict[str, Any] = answer
    return found


async def log_entries(central: TestCentral, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(row[0]) for row in await central.rows("SELECT entry FROM log ORDER BY idx")]
    return [one["body"] for one in rows if one["kind"] == kind]


async def test_a_token_is_shown_once_and_stored_hashed(central: TestCentral) -> None:
    answer = await made(central)
    assert answer["token"].startswith("cwt1.")
    assert len(answer["token"]) == 5 + 43
    stored = [row[0] for row in await central.rows("SELECT token_sha256 FROM admin_token")]
    assert token_hash(answer["token"]) in stored
    assert answer["token"] not in str(stored)
    _, listed = await central.admin("GET", "/v1/tokens")
    shown = {name: value for name, value in answer.items() if name != "token"}
    assert shown in listed["tokens"]
    assert len(listed["tokens"]) == 2
    assert answer["token"] not in json.dumps(listed)
    assert (await central.admin("GET", "/v1/log", token=answer["token"]))[0] == 200
    assert (await central.admin("GET", "/v1/tokens", token=answer["token"]))[0] == 403
    (entry,) = await log_entries(central, "token.made")
    (by,) = [one["id"] for one in listed["tokens"] if one["label"] == "init"]
    assert entry == {"id": answer["id"], "role": "auditor", "expires_at": None, "by": by}


async def test_a_token_ends(central: TestCentral) -> None:
    answer = await made(central, expires_days=2)
    central.offset = timedelta(days=2, seconds=-5)
    assert (await central.admin("GET", "/v1/log", token=answer["token"]))[0] == 200
    central.offset = timedelta(days=2, seconds=5)
    status, problem = await central.admin("GET", "/v1/log", token=answer["token"])
    assert (status, problem["code"]) == (401, "auth.token_over")
    assert answer["expires_at"] in problem["what"]


async def test_a_revoked_token_opens_nothing_at_once(central: TestCentral) -> None:
    answer = await made(central)
    place = f"/v1/tokens/{answer['id']}"
    status, first = await central.admin("DELETE", place)
    assert (status, first["revoked_at"] is not None) == (200, True)
    status, problem = await central.admin("GET", "/v1/log", token=answer["token"])
    assert (status, problem["code"]) == (401, "auth.token_over")
    central.offset = timedelta(hours=1)
    assert await central.admin("DELETE", place) == (200, first)  # a repeat changes nothing
    assert len(await log_entries(central, "token.revoked")) == 1
    assert (await central.admin("DELETE", "/v1/tokens/0123456789abcdef"))[0] == 404
    (refused,) = await log_entries(central, "access.refused")
    assert refused == {"door": "GET /v1/log", "code": "auth.token_over", "token": answer["id"]}


async def test_a_token_can_be_made_and_revoked_beside_a_running_central(central: TestCentral) -> None:
    token, row = setup.token_new(central.config, "ops", "night shift", 1)
    assert (await central.admin("GET", "/v1/edges", token=token))[0] == 200
    assert row.id in {one.id for one in setup.token_list(central.config)}
    setup.token_revoke(central.config, row.id)
    assert (await central.admin("GET", "/v1/edges", token=token))[0] == 401
    with pytest.raises(CentralError, match="no token with this id"):
        setup.token_revoke(central.config, "0" * 16)
    for label in ("", "x" * 201, "a\nb"):
        with pytest.raises(CentralError, match="label"):
            setup.token_new(central.config, "ops", label, None)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"role": "king", "label": "x"}, "role"),
        ({"role": "ops"}, "label"),
        ({"role": "ops", "label": ""}, "label"),
        ({"role": "ops", "label": "x", "expires_days": 0}, "expires_days"),
        ({"role": "ops", "label": "x", "expires_days": True}, "expires_days"),
        ({"role": "ops", "label": "x", "expires": 3}, "expires"),
        ({"role": "ops", "label": "a\0b"}, "body"),
        ({"role": "ops", "label": "a\u202eb"}, "label"),
    ],
)
async def test_a_body_that_is_not_understood_makes_no_token(
    central: TestCentral, body: dict[str, Any], where: str
) -> None:
    status, problem = await central.admin("POST", "/v1/tokens", body)
    assert (status, problem["code"], problem["where"]) == (400, "usage.field", where)
    assert await central.rows("SELECT label FROM admin_token") == [("init",)]


async def test_a_bearer_scheme_may_be_written_in_any_case(central: TestCentral) -> None:
    for scheme in ("bearer", "BEARER"):
        assert (await central.ask("GET", "/v1/edges", None, {"Authorization": f"{scheme} {central.token}"}))[0] == 200


async def test_guesses_are_logged_then_told_to_wait_and_a_right_token_passes(central: TestCentral) -> None:
    for n in range(LOGGED + 5):
        status, problem = await central.admin("GET", "/v1/recordings", token=f"guess-{n}")
        assert (status, problem["code"]) == ((401, "auth.token") if n < LOGGED else (429, "auth.throttled"))
    assert 0 < problem["retry_after"] <= WINDOW_S
    # From the same address.
    assert (await central.admin("GET", "/v1/recordings"))[0] == 200
    entries = await log_entries(central, "access.refused")
    assert entries == [{"door": "GET /v1/recordings", "code": "auth.token", "token": None}] * LOGGED
    assert "guess" not in str(await central.rows("SELECT entry FROM log"))
    # What had no entry is counted in one.
    from central.auth import write_unlogged

    assert central.running is not None
    for _ in range(2):
        await write_unlogged(central.running.central)
    assert await log_entries(central, "access.refused_more") == [{"count": 5}]


async def test_the_wait_is_a_header_too(central: TestCentral) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for _ in range(LOGGED + 1):
            async with session.get(central.url + "/v1/edges") as answer:
                pass
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_S


async def test_a_known_token_at_a_wrong_door_is_told_so_however_often(central: TestCentral) -> None:
    token = (await made(central, role="ops"))["token"]
    for _ in range(LOGGED + 3):
        status, problem = await central.admin("GET", "/v1/recordings", token=token)
        assert (status, problem["code"]) == (403, "auth.forbidden")
    assert len(await log_entries(central, "access.refused")) == LOGGED
    assert (await central.admin("GET", "/v1/recordings", token="a guess"))[0] == 401  # its address has not guessed


# ------------------------------------------------------------ counting


def test_a_window_ends() -> None:
    guesses = Guesses()
    for _ in range(LOGGED):
        assert guesses.refused("192.0.2.1", 100.0) == (True, 0)
    assert guesses.refused("192.0.2.1", 130.0) == (False, 30)
    assert guesses.refused("192.0.2.2", 130.0) == (True, 0)
    assert guesses.refused("192.0.2.1", 100.0 + WINDOW_S) == (True, 0)
    assert (guesses.take_unlogged(), guesses.take_unlogged()) == (1, 0)


def test_many_addresses_fill_neither_the_log_nor_the_memory() -> None:
    guesses = Guesses()
    own = sum(guesses.refused(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", 5.0)[0] for n in range(2 * ADDRESSES))
    assert own == LOGGED_ALL
    assert guesses.take_unlogged() == 2 * ADDRESSES - LOGGED_ALL
    assert len(guesses._seen) == ADDRESSES


def test_the_addresses_of_one_host_are_one() -> None:
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9") != network("2001:db8:1:3::1")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1")
    assert network("fe80::1%eth0") == network("fe80::1")
    assert network(None) == network("") == network("unix")
