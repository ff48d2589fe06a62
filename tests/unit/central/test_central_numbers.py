"""Numbers at central: sealed, searched in any spelling, forgotten; and what a reading is for. On both engines."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from central import setup
from central.errors import CentralError
from central.minimise import numbers, ring
from central.minimise.loggable import loggable
from central.move import move
from central.slotfile import SlotFile
from central.state import named_slots
from formats import search
from formats.jws import verify_compact
from formats.keys import b64url
from formats.orders import Person
from formats.search import SearchKey
from formats.wire import Event
from rig.postgres import Postgres
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id, role_token

NUMBER, OTHER = "+420777123456", "+420777123457"
SPELLINGS = ("+420 777 123 456", "00420777123456", "420777123456", "tel:+420-777-123-456")
ASKED = {"purpose": "quality", "reason": "a complaint"}


def key_of(central: TestCentral) -> SearchKey:
    return ring.read_ring(central.config.search_keys).newest


def told(edge: TestEdge, seq: int, call: str, form: str, /, *values: str, **more: Any) -> Event:
    """A `call.numbers` as an edge sends it."""
    key = key_of(edge.central)
    sent = [key.hash(one) if form == "hashed" else one for one in values]
    data = {
        "call_id": call, "form": form, "policy_id": "support", "started_at": "2026-05-01T10:00:00.000Z",
        "numbers": [{"party_id": an_id(), "number": one} for one in sent],
        **({"key_id": key.id} if form == "hashed" else {}), **more,
    }  # fmt: skip
    return edge.event(seq, "call.numbers", call, data)


def opened(edge: TestEdge, seq: int, call: str) -> Event:
    return edge.event(seq, "call.opened", call, {"call_id": call, "purposes": ["quality", "training"]})


async def a_call(edge: TestEdge, seq: int, form: str, *values: str, **more: Any) -> str:
    call = an_id()
    _, answer = await edge.send(opened(edge, seq, call), told(edge, seq + 1, call, form, *values, **more))
    assert [one["status"] for one in answer["items"]] == ["accepted"] * 2, answer
    return call


async def found(central: TestCentral, number: str = NUMBER, **more: Any) -> list[str]:
    status, answer = await central.admin("POST", "/v1/calls/search", {"number": number, **ASKED, **more})
    assert status == 200, answer
    return [one["call_id"] for one in answer["calls"]]


async def log_of(central: TestCentral, kind: str) -> list[str]:
    return [row[0] for row in await central.rows("SELECT entry FROM log ORDER BY idx") if f'"kind":"{kind}"' in row[0]]


@pytest.mark.parametrize("form", ["clear", "hashed"])
async def test_a_number_is_found_in_any_spelling_across_edges(central: TestCentral, edge: TestEdge, form: str) -> None:
    other = TestEdge(central, "pbx-2")
    one = await a_call(edge, 1, form, NUMBER)
    two = await a_call(other, 1, form, OTHER, NUMBER, started_at="2026-06-01T10:00:00.000Z")
    await a_call(edge, 3, form, OTHER)
    for spelling in SPELLINGS:
        assert await found(central, spelling) == [one, two]
    assert await found(central, "777 123 456", country="CZ") == [one, two]
    assert await found(central, edge="pbx-2") == [two]
    assert await found(central, until="2026-05-15T00:00:00.000Z") == [one]
    assert await found(central, since="2026-05-15T00:00:00.000Z") == [two]


@pytest.mark.parametrize("form", ["clear", "hashed"])
async def test_a_search_keeps_to_policies_and_direction(central: TestCentral, edge: TestEdge, form: str) -> None:
    """A correction counts; what says neither is counted apart; names differ by case and have no wildcards."""
    known = ("support", "inbound"), ("Support", "inbound"), ("sup_ort", "outbound"), ("sales", "outbound")
    calls = []
    for n, (policy, direction) in enumerate(known):
        calls.append(call := an_id())
        data = {"call_id": call, "policy_id": policy, "direction": direction, "purposes": ["quality"]}
        at = f"2026-05-0{n + 1}T10:00:00.000Z"
        number = told(edge, 2 * n + 2, call, form, NUMBER, started_at=at)
        await edge.send(edge.event(2 * n + 1, "call.opened", call, data), number)
    await edge.send(told(edge, 9, an_id(), form, NUMBER))  # it began, and that is all that is known
    mute = an_id()
    sales = {"call_id": mute, "policy_id": "sales", "direction": "inbound"}
    await edge.send(edge.event(10, "call.opened", mute, sales))
    assert await found(central, policy="support") == [calls[0]]
    assert await found(central, policy=["Support", "sup_ort"]) == [calls[1], calls[2]]
    assert await found(central, direction="outbound") == [calls[2], calls[3]]
    assert await found(central, direction="outbound", policy=["support", "sales"]) == [calls[3]]
    assert await found(central, policy="none") == []
    assert await missed(central, policy="support") == {"no_number": 0, "gone": 0, "other_key": 0, "not_opened": 1}
    assert await missed(central, policy="sales") == {"no_number": 1, "gone": 0, "other_key": 0, "not_opened": 1}
    assert await missed(central, direction="outbound") == {"no_number": 0, "gone": 0, "other_key": 0, "not_opened": 1}
    assert (await missed(central))["not_opened"] == 0
    moved = {"call_id": calls[0], "fields": ["policy"], "policy_id": "sales", "policy_version": "2"}
    await edge.send(edge.event(11, "call.rectified", calls[0], moved))
    assert await found(central, policy="support") == []
    assert await found(central, policy="sales") == [calls[0], calls[3]]
    assert '"direction":"outbound"' in (await log_of(central, "calls.searched"))[2]
    assert '"policy":"Support sup_ort"' in (await log_of(central, "calls.searched"))[1]
    body = {"number": NUMBER, **ASKED, "policy": "line-777123456"}  # the log cannot forget
    status, answer = await central.admin("POST", "/v1/calls/search", body)
    assert (status, answer["code"]) == (400, "usage.reason")


async def missed(central: TestCentral, **more: Any) -> dict[str, int]:
    _, answer = await central.admin("POST", "/v1/calls/search", {"number": NUMBER, **ASKED, **more})
    counts: dict[str, int] = answer["not_searched"]
    return counts


@pytest.mark.parametrize("form", ["clear", "hashed"])
async def test_neither_number_nor_hash_lies_in_a_row_or_the_log(
    central: TestCentral, edge: TestEdge, form: str
) -> None:
    await a_call(edge, 1, form, NUMBER)
    assert len(await found(central)) == 1
    sent = NUMBER[1:] if form == "clear" else key_of(central).hash(NUMBER)
    rows = await everything(central)
    assert sent not in rows
    assert NUMBER[4:] not in rows
    _, answer = await central.admin("POST", "/v1/calls/search", {"number": NUMBER, **ASKED})
    entry = (await log_of(central, "calls.searched"))[-1]
    opening = Person(
        bytes.fromhex(answer["salt"]), NUMBER
    )  # only who has the answer can say whose calls were looked for
    assert answer["searched_as"] == opening.id
    assert opening.id in entry
    assert answer["salt"] not in entry
    assert '"purpose":"quality"' in entry
    assert '"reason":"a complaint"' in entry


async def everything(central: TestCentral) -> str:
    tables = (
        "meta", "event", "call", "recording", "log", "alarm", "call_numbers", "call_number", "orders", "receipt", "edge",
    )  # fmt: skip
    return "\n".join([repr(row) for table in tables for row in await central.rows(f"SELECT * FROM {table}")])


@pytest.mark.parametrize("form", ["clear", "hashed"])
@pytest.mark.parametrize("how", ["none left", "anonymous"])
async def test_what_the_edge_forgets_central_forgets_for_good(
    central: TestCentral, edge: TestEdge, form: str, how: str
) -> None:
    call = await a_call(edge, 1, form, NUMBER)
    [(slot, sealed, party)] = await central.rows("SELECT keeper_slot, sealed, party_id FROM call_number")
    assert central.running is not None
    keeper = central.running.central.keeper
    key = keeper.read(slot)
    assert search.open_value(bytes(sealed), key, call, party)  # so the key was the one thing to destroy
    gone = (
        told(edge, 4, call, form)
        if how == "none left"
        else edge.event(4, "call.anonymised", call, {"call_id": call, "started_at": "2026-05-01T10:00:00.000Z"})
    )
    for event in (gone, told(edge, 3, call, form, NUMBER)):
        assert (await edge.send(event))[1]["items"][0]["status"] == "accepted"
    assert await found(central) == []
    assert await central.rows("SELECT * FROM call_number") == []
    assert key not in central.config.keeper.read_bytes()
    _, answer = await central.admin("POST", "/v1/calls/search", {"number": NUMBER, **ASKED})
    assert answer["not_searched"]["gone"] == (1 if how == "none left" else answer["not_searched"]["gone"])


async def test_a_later_word_wins_in_any_order(central: TestCentral, edge: TestEdge) -> None:
    call = an_id()
    await edge.send(told(edge, 2, call, "clear", OTHER))
    await edge.send(told(edge, 1, call, "clear", NUMBER))
    assert (await found(central), await found(central, OTHER)) == ([], [])  # its purposes are not known yet
    await edge.send(opened(edge, 3, call))
    assert (await found(central), await found(central, OTHER)) == ([], [call])
    await edge.send(told(edge, 4, call, "hashed", NUMBER))  # corrected
    assert (await found(central), await found(central, OTHER)) == ([call], [])
    assert len(await central.rows("SELECT * FROM call_number")) == 1


async def test_calls_that_cannot_be_searched_are_counted(central: TestCentral, edge: TestEdge) -> None:
    await a_call(edge, 1, "hashed", NUMBER, key_id="0123456789abcdef")
    silent = an_id()
    await edge.send(opened(edge, 3, silent))
    _, answer = await central.admin("POST", "/v1/calls/search", {"number": NUMBER, **ASKED})
    assert answer["not_searched"] == {"no_number": 1, "gone": 0, "other_key": 1, "not_opened": 0}
    assert "locate" in answer["hint"]
    assert answer["calls"] == []


async def test_a_malformed_word_is_rejected_alone(central: TestCentral, edge: TestEdge) -> None:
    wrong: list[dict[str, Any]] = [
        {"form": "loud"}, {"started_at": "yesterday"}, {"numbers": "all"}, {"numbers": [{"party_id": "x", "number": NUMBER}]},
        {"numbers": [{"party_id": "0" * 32, "number": "777"}]}, {"numbers": [7]}, {"form": "hashed", "key_id": None},
        {"form": "none", "numbers": [{"party_id": "0" * 32, "number": NUMBER}]},
    ]  # fmt: skip
    call = an_id()
    words = []
    for seq, change in enumerate(wrong, 2):
        words.append(told(edge, seq, call, "clear", NUMBER))
        words[-1].data.update(change)
    _, answer = await edge.send(opened(edge, 1, call), *words)
    assert [one["status"] for one in answer["items"]] == ["accepted"] + ["rejected:event.numbers"] * len(wrong)
    assert await central.rows("SELECT * FROM call_number") == []


async def test_the_key_comes_sealed_and_is_rotated(central: TestCentral, edge: TestEdge) -> None:
    private = X25519PrivateKey.generate()
    public = b64url(private.public_key().public_bytes_raw())
    status, answer = await edge.ask("POST", edge.path("search-key"), {"public": public})
    assert status == 200
    assert key_of(central).key.hex() not in str(answer)
    payload = verify_compact(answer["jws"], setup.trust(central.config, edge.edge_id), search.TYP, "store").payload
    assert search.open_key(payload, edge.edge_id, private) == key_of(central)
    assert await log_of(central, "search_key.given")

    old = await a_call(edge, 1, "hashed", NUMBER)
    clear = await a_call(edge, 3, "clear", NUMBER)
    before = key_of(central)
    ring.rotate(central.config.search_keys, retire=False)
    assert central.config.search_keys.stat().st_mode & 0o777 == 0o600
    _, answer = await edge.send(opened(edge, 5, an_id()))
    assert answer["search_key"] == key_of(central).id != before.id
    new = await a_call(edge, 6, "hashed", NUMBER)
    assert sorted(await found(central)) == sorted([old, clear, new])
    ring.rotate(central.config.search_keys, retire=True)
    assert await found(central) == [clear]  # hashes under destroyed keys say nothing to anybody
    _, answer = await central.admin("POST", "/v1/calls/search", {"number": NUMBER, **ASKED})
    assert answer["not_searched"]["other_key"] == 2
    assert (await edge.ask("POST", edge.path("search-key"), {"public": "AAAA"}))[0] == 400


async def test_a_central_without_a_key_says_so_and_searches_in_clear(central: TestCentral, edge: TestEdge) -> None:
    lost = await a_call(edge, 1, "hashed", NUMBER)
    call = an_id()
    event = told(edge, 4, call, "clear", NUMBER)
    central.config.search_keys.unlink()
    _, answer = await edge.send(opened(edge, 3, call), event)
    assert answer["search_key"] is None
    assert await found(central) == [call] != [lost]
    public = b64url(os.urandom(32))
    assert (await edge.ask("POST", edge.path("search-key"), {"public": public}))[0] == 404


async def test_a_search_says_for_what_and_why(central: TestCentral) -> None:
    for body, code in (
        ({**ASKED}, "usage.field"),
        ({"number": NUMBER, "reason": "x"}, "usage.field"),
        ({"number": NUMBER, "purpose": "quality"}, "usage.field"),
        ({"number": NUMBER, **ASKED, "purpose": ""}, "usage.field"),
        ({"number": "1001", **ASKED}, "usage.number"),
        ({"number": NUMBER, **ASKED, "reason": "777 123 456 complains"}, "usage.reason"),
        ({"number": NUMBER, **ASKED, "case": "777123456"}, "usage.reason"),
        ({"number": NUMBER, **ASKED, "since": "may"}, "usage.time"),
        ({"number": NUMBER, **ASKED, "country": "Czechia"}, "usage.field"),
        ({"number": NUMBER, **ASKED, "queue": "support"}, "usage.field"),
    ):
        status, answer = await central.admin("POST", "/v1/calls/search", body)
        assert (status, answer["code"]) == (400, code)


async def test_a_restored_database_forgets_what_the_keeper_does_not_open(central: TestCentral, edge: TestEdge) -> None:
    await a_call(edge, 1, "hashed", NUMBER)
    kept = await a_call(edge, 3, "clear", NUMBER)
    [(slot,)] = await central.rows("SELECT keeper_slot FROM call_number WHERE call_id<>?", kept)
    config = central.config
    await central.stop()
    keeper = SlotFile(config.keeper)
    keeper.shred([slot])
    assert keeper.put(secrets.token_bytes(32)) is not None  # the slot may be another's by now

    def look(conn: Any) -> tuple[int, list[str]]:
        lost = numbers.forget_lost(conn, keeper)
        return lost, [row["call_id"] for row in conn.execute("SELECT call_id FROM call_number")]

    from central.db import locally

    assert locally(config, look) == (1, [kept])
    keeper.close()
    await central.start()
    assert await found(central) == [kept]


async def test_numbers_move_with_their_slots(tmp_path: Path, server: Postgres) -> None:
    central = TestCentral(tmp_path / "central")
    await central.start()
    edge = TestEdge(central)
    call = await a_call(edge, 1, "hashed", NUMBER)
    await central.stop()
    conninfo = server.database()
    assert move(central.config, conninfo).rows["call_number"] == 1
    central.config = replace(central.config, postgres=conninfo)
    await central.start()
    try:
        assert await found(central) == [call]
        assert central.running is not None
        slots = await central.running.central.db.run(named_slots)
        assert len(slots) == 1  # the sweep at the start left it
    finally:
        await central.stop()


# ---------------------------------------------------------------- purposes


async def recorded(edge: TestEdge, seq: int, *purposes: str) -> tuple[str, str]:
    """A call with a recording whose answer covers `purposes`; (call, recording)."""
    recording = an_id()
    event = edge.opened(seq, recording, key=None)
    event.data["purposes"] = list(purposes)
    call = event.data["call_id"]
    _, answer = await edge.send(event, opened(edge, seq + 1, call), told(edge, seq + 2, call, "clear", NUMBER))
    assert [one["status"] for one in answer["items"]] == ["accepted"] * 3
    return call, recording


#: Every door that gives out what is known of calls (docs/spec/reading.md).
READS = ("calls", "recordings", "recording", "headers", "search")


async def read(central: TestCentral, what: str, recording: str, purpose: str, case: str, token: str) -> str:
    """What a reading came to: "" when something was given, or why not."""
    query = f"?purpose={purpose}&case={case}"
    if what in ("calls", "recordings"):
        status, answer = await central.admin("GET", f"/v1/{what}{query}", token=token)
        assert status == 200, answer
        [one] = answer[what]
        assert (one["opened"] is None) == ("refused" in one)
        return str(one.get("refused", ""))
    if what == "recording":
        status, answer = await central.admin("GET", f"/v1/recordings/{recording}{query}", token=token)
    elif what == "headers":
        body = {"reason": "lost", "purpose": purpose, "case": case}
        status, answer = await central.admin("POST", f"/v1/recordings/{recording}/headers", body, token=token)
    else:
        body = {"number": NUMBER, "reason": "asked", "purpose": purpose, "case": case}
        status, answer = await central.admin("POST", "/v1/calls/search", body, token=token)
        assert status == 200, answer
        return "" if answer["calls"] else next(why for why, count in answer["refused"].items() if count)
    if status == 200:
        return ""
    assert status == 403, answer
    return str(answer["code"].removeprefix("command."))


async def test_a_reading_is_for_a_purpose_of_the_answer(central: TestCentral, edge: TestEdge) -> None:
    _, recording = await recorded(edge, 1, "quality")
    supervisor = await role_token(central, "supervisor")
    for what in READS:
        assert await read(central, what, recording, "quality", "", central.token) == ""
        assert await read(central, what, recording, "marketing", "", central.token) == "purpose"
        # What the policy asked for and this answer did not grant.
        assert await read(central, what, recording, "training", "", central.token) == "purpose"
        if what != "search":
            assert await read(central, what, recording, "", "", central.token) == ""
        assert await read(central, what, recording, "data_subject_request", "", central.token) == ""
        if what != "headers":
            assert await read(central, what, recording, "quality", "", supervisor) == ""
            assert await read(central, what, recording, "data_subject_request", "", supervisor) == "purpose"
    refused = await log_of(central, "read.refused")
    assert len(refused) == 5
    assert '"why":"purpose"' in refused[0]
    assert recording in refused[0]
    assert [sum(kind in one for one in refused) for kind in ("recording.read", "headers.given")] == [3, 2]


@pytest.mark.parametrize(
    "text",
    [
        "777123456", "+420 777 123 456", "asked by 00420-777-123-456", "tel. (030) 12 34 56 78", "0301/1234567", "case-777123456",
        "tel777123456", "2026-01-31 777123456", "+420 2012/345678", "20.26.11.26", "+4202026-01-31", "777 123\u2013456",
        "\u0667\u0667\u0667\u0661\u0662\u0663\u0664\u0665", "two\nlines",
    ],
)  # fmt: skip
def test_a_number_is_no_word_for_the_log(text: str) -> None:
    with pytest.raises(CentralError) as caught:
        loggable(text, "reason")
    assert caught.value.code == "usage.reason"


@pytest.mark.parametrize("text", ["777123456", "rang from +420 777 123 456"])
async def test_no_number_gets_into_the_log_that_cannot_forget(central: TestCentral, edge: TestEdge, text: str) -> None:
    _, recording = await recorded(edge, 1, "quality")
    quoted, other = quote(text), "+49 30 901820"
    one = f"/v1/recordings/{recording}"
    for method, path, body in (
        ("GET", f"/v1/calls?purpose=quality&case={quoted}", None),
        ("GET", f"/v1/recordings?purpose={quoted}", None),
        ("GET", f"{one}?purpose=quality&case={quoted}", None),
        ("POST", f"{one}/headers", {"reason": text}),
        ("POST", f"{one}/headers", {"reason": "x", "purpose": text}),
        ("POST", "/v1/calls/search", {"number": other, "purpose": "quality", "reason": text}),
        ("POST", "/v1/calls/search", {"number": other, **ASKED, "case": text}),
    ):
        status, answer = await central.admin(method, path, body)
        assert (status, answer["code"]) == (400, "usage.reason"), path
    _, log = await central.admin("GET", "/v1/log")
    assert not [entry for entry in log["entries"] if text in entry["entry"]]


@pytest.mark.parametrize(
    "text",
    [
        "a complaint of 2026-01-31", "2026-01-31T12:00:00.000Z", "2026-01-31 12:30", "26.11.2026", "case-2026-12345-ab12", "2026/004711",
        "12" * 16, "0123456789abcdef", "7" * 64, "12345678-1234-1234-1234-123456789012", "T20260017", "2026-7", "17 C 123/2026", "",
    ],
)  # fmt: skip
def test_a_date_an_id_and_a_case_are_no_number(text: str) -> None:
    assert loggable(text, "reason") == text


async def test_nothing_is_read_for_no_purpose_at_all(central: TestCentral, edge: TestEdge) -> None:
    recording = an_id()
    event = edge.opened(1, recording, key=None)
    del event.data["purposes"]  # an older edge's, and the call's own event has not come
    await edge.send(event)
    for what in ("recordings", "recording", "headers"):
        assert await read(central, what, recording, "", "", central.token) == "purpose"
        assert await read(central, what, recording, "data_subject_request", "", central.token) == ""
    granted_none = await log_of(central, "read.refused")
    assert len(granted_none) == 2
    assert not [one for one in await log_of(central, "headers.given") if "unstated" in one]


@pytest.mark.parametrize("scope", ["call", "recording"])
async def test_what_is_restricted_is_read_for_a_claim_only(central: TestCentral, edge: TestEdge, scope: str) -> None:
    call, recording = await recorded(edge, 1, "quality")
    hold = an_id()
    placed = {"call_id": call, "hold_id": hold, **({"recording_id": recording} if scope == "recording" else {})}
    await edge.send(edge.event(4, "restriction.placed", call, placed))
    other = TestEdge(central, "pbx-2")
    await other.send(other.event(1, "restriction.released", hold, {"hold_id": hold}))  # not its own
    for what in READS:
        for purpose, case in (("quality", ""), ("legal_claims", ""), ("data_subject_request", "7")):
            assert await read(central, what, recording, purpose, case, central.token) == "restricted"
        assert await read(central, what, recording, "legal_claims", "2026-7", central.token) == ""
    await edge.send(edge.event(5, "restriction.released", hold, {"hold_id": hold}))
    assert [await read(central, what, recording, "quality", "", central.token) for what in READS] == [""] * len(READS)


async def test_lists_are_noted(central: TestCentral, edge: TestEdge) -> None:
    await recorded(edge, 1, "quality")
    await central.admin("GET", "/v1/calls?purpose=quality&case=2026-7")
    [entry] = await log_of(central, "calls.listed")
    assert '"case":"2026-7"' in entry
    assert '"count":1' in entry
    assert '"by":"init"' in entry
