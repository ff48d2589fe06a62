"""Requests of data subjects as cases: from intake to the end of what names the person, on both engines."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from central import restored
from central.cases import duty
from central.cases.settings import CaseSettings
from central.conn import Conn
from central.move import move
from central.postgres import _LOCKS
from central.slotfile import SlotFile
from central.state import named_slots
from formats.ids import format_time
from rig.postgres import Postgres
from tests.unit.central.cases_kit import NUMBER, Office, answer, choice, match, searched, token
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id

NAMING = (b"777 123 456", b"777123456", b"passport seen", b"wants it all gone", b"his mother's call")


@pytest.fixture
async def office(central: TestCentral) -> Office:
    return Office(central, await token(central, "dpo"))


async def test_an_erasure_from_intake_to_answer_across_hosts(central: TestCentral, office: Office) -> None:
    edges = [TestEdge(central, edge_id=f"pbx-{n}") for n in range(3)]
    mine, other, mothers = an_id(), an_id(), an_id()
    for edge, *calls in ((edges[0], mine, mothers), (edges[2], other)):
        await edge.send(*(edge.event(n, "call.opened", one, {"call_id": one}) for n, one in enumerate(calls, 1)))
    made = await office.open()
    assert made["state"] == "received"
    assert office.ref.startswith("case-20")

    # Nothing before the person is identified, and nothing before every find was looked at.
    status, told = await office.order("locate")
    assert (status, told["code"]) == (409, "case.state")
    search = await searched(office, edges, {"pbx-0": [mine, mothers], "pbx-2": [other]})
    status, told = await office.order("erase", located=search["jti"], sign=True)
    assert (status, told["code"]) == (409, "case.state")
    status, told = await office.step("review")
    assert (status, told["code"]) == (409, "case.pending")
    chosen = [choice(edges[0], mine), choice(edges[2], other), choice(edges[0], mothers, False, "his mother's call")]
    assert (await office.on("choices", {"choices": chosen}))[0] == 200
    status, told = await office.on("choices", {"choices": [choice(edges[1], an_id())]})
    assert (status, told["code"]) == (409, "case.match")
    assert (await office.step("review"))[0] == 200

    # The order must leave out what the review left out.
    status, told = await office.order("erase", located=search["jti"], sign=True)
    assert (status, told["code"]) == (409, "case.review")
    status, told = await office.order("restrict", target={"kind": "call", "id": mothers})
    assert (status, told["code"]) == (409, "case.review")
    status, told = await office.order("withdraw", target={"kind": "call", "id": mine})
    assert (status, told["code"]) == (409, "case.kind")
    status, order = await office.order("erase", located=search["jti"], sign=True, exclude=[mothers])
    assert status == 202, order

    status, told = await office.step("execute")
    assert (status, told["code"]) == (409, "case.pending")
    await answer(edges[0], order, "done", {"calls": 1, "recordings": 1})
    await answer(edges[1], order, "not_found", {})
    progress = (await office.show())["orders"][1]
    assert (progress["cmd"], progress["edges"], progress["answered"], progress["complete"]) == ("erase", 3, 2, False)
    await answer(edges[2], order, "done", {"calls": 1, "recordings": 2})
    assert (await office.step("execute"))[0] == 200
    status, told = await office.step("answer")
    assert (status, told["code"]) == (409, "case.reason")
    assert (await office.step("answer", note="letter of today"))[0] == 200
    status, case = await office.step("close")
    assert status == 200
    assert case["orders"][1] | {"receipts": []} == {
        "jti": order["jti"], "cmd": "erase", "target": "person", "at": case["orders"][1]["at"], "edges": 3, "answered": 3,
        "results": {"done": 2, "not_found": 1}, "receipts": [], "complete": True,
    }  # fmt: skip
    assert len(case["orders"][1]["receipts"]) == 3
    assert [one["included"] for one in case["matches"]].count(False) == 1
    assert [one["act"] for one in case["entries"]] == [
        "open", "identify", "ordered", "search", "chosen", "review", "ordered", "execute", "answer", "close",
    ]  # fmt: skip
    assert case["identified_how"] == "document"

    kinds = [json.loads(text)["kind"] for (text,) in await central.rows("SELECT entry FROM log ORDER BY idx")]
    assert [kind for kind in kinds if kind.startswith("case.")] == [
        "case.opened", "case.identify", "case.ordered", "case.search", "case.chosen", "case.review", "case.ordered", "case.read",
        "case.execute", "case.answer", "case.close",
    ]  # fmt: skip


async def everything(central: TestCentral) -> bytes:
    """All text and bytes in the tables of cases and in central's log."""
    found = b""
    for table in ("subject_case", "case_entry", "case_order", "case_choice", "case_package", "log", "alarm"):
        for row in await central.rows(f"SELECT * FROM {table}"):
            found += b" ".join(one if isinstance(one, bytes) else str(one).encode() for one in row)
    return found


async def test_what_names_the_person_is_sealed_and_ends_with_its_key(central: TestCentral, office: Office) -> None:
    central.running.central.config = replace(central.config, cases=CaseSettings(record_days=30))
    edge = TestEdge(central)
    await office.open("access")
    calls = [an_id()]
    await searched(office, [edge], {edge.edge_id: calls})
    await office.on("choices", {"choices": [choice(edge, calls[0], False, "his mother's call")]})
    stored = await everything(central)
    assert not [one for one in NAMING if one in stored]
    status, person = await office.on("person", {"text": "to call back"})
    assert (status, person) == (200, {"numbers": [NUMBER], "country": "CZ"})
    before = await office.show()
    assert before["entries"][0]["words"] == {"note": "wants it all gone"}
    assert before["matches"][0]["reason"] == "his mother's call"
    for act, note in (
        ("review", ""),
        ("refuse", "manifestly excessive"),
        ("close", "told with the authority's address"),
    ):
        status, told = await office.step(act, note=note)
        assert status == 200, told

    running = central.running.central
    (slot,) = (await central.rows("SELECT slot FROM subject_case"))[0]
    await duty.look(running)
    assert (await office.show())["shredded"] is False
    assert slot in await running.db.run(named_slots)
    central.offset += timedelta(days=31)
    await duty.look(running)
    after = await office.show()
    assert after["shredded"] is True
    assert {one["words"] is None for one in after["entries"]} == {True}
    assert [one["act"] for one in after["entries"]] == [one["act"] for one in before["entries"]] + [
        "review",
        "refuse",
        "close",
    ]
    assert (await office.on("person", {"text": "again"}))[1]["code"] == "case.shredded"
    assert (await office.on("notes", {"text": "x"}))[0] == 409
    with pytest.raises(Exception, match="holds no key"):
        running.keeper.read(slot)
    await duty.look(running)  # and a second look finds nothing to do


async def test_a_database_that_was_put_back_does_not_take_anothers_key(central: TestCentral, office: Office) -> None:
    await office.open()
    first = office.ref
    await office.open("access")
    running = central.running.central
    slots = dict(await central.rows("SELECT ref, slot FROM subject_case"))
    # The first case was shredded after the backup, and its slot is somebody else's now.
    running.keeper.shred([slots[first]])
    running.keeper.commit()
    while running.keeper.put(secrets.token_bytes(32)) != slots[first]:
        pass
    running.keeper.commit()
    assert isinstance(running.keeper, SlotFile)
    keeper = running.keeper
    await running.db.run(lambda conn: restored.forget_shredded(conn, keeper))
    assert dict(await central.rows("SELECT ref, slot FROM subject_case")) == {**slots, first: None}


async def test_the_clock_alarms_is_extended_once_and_not_too_late(central: TestCentral, office: Office) -> None:
    running = central.running.central
    made = await office.open(received_at=format_time(central.wall() - timedelta(days=2)))

    async def alarms() -> list[str]:
        await duty.look(running)
        await duty.look(running)
        return [code for (code,) in await central.rows("SELECT code FROM alarm WHERE code LIKE 'case.%' ORDER BY id")]

    assert await alarms() == []
    central.offset += timedelta(days=26)  # 28 in all: the shortest month has that many, the longest wait 34
    assert await alarms() == ["case.due"]
    status, case = await office.on("extension", {"text": "many hosts, some of them away"})
    assert status == 200
    assert case["due_at"] > made["due_at"]
    assert case["due"] == ""
    status, told = await office.on("extension", {"text": "again"})
    assert (status, told["code"]) == (409, "case.extended")
    assert await alarms() == ["case.due"]
    central.offset += timedelta(days=72)
    assert await alarms() == ["case.due", "case.overdue"]
    assert (await office.show())["due"] == "overdue"

    await office.open("access")
    central.offset += timedelta(days=60)
    status, told = await office.on("extension", {"text": "too late"})
    assert (status, told["code"]) == (409, "case.late")
    assert (await alarms())[2:] == ["case.overdue"]
    assert (await office.step("withdraw", note="rang: it is settled"))[0] == 200
    assert (await office.show())["due"] == ""


async def test_an_edge_that_stays_silent_is_passed_over_only_with_a_reason(
    central: TestCentral, office: Office
) -> None:
    TestEdge(central, edge_id="away")
    edge, call = TestEdge(central, edge_id="here"), an_id()
    await office.open("restriction")
    await office.identify()
    _, order = await office.order("locate")
    await answer(edge, order, "done", {"located": order["jti"], "matches": [match(call)], "more": 3})
    status, told = await office.step("search")
    assert (status, told["code"]) == (409, "case.pending")
    central.offset += timedelta(days=2)  # a search is good for a day
    status, told = await office.step("search")
    assert "gave no answer" in told["what"]
    assert (await office.step("search", note="away is being repaired"))[0] == 200
    await office.on("choices", {"choices": [choice(edge, call)]})
    assert (await office.step("review"))[0] == 200
    status, told = await office.step("execute")
    assert (status, "nothing was ordered" in told["what"]) == (409, True)
    await edge.send(edge.event(1, "call.opened", call, {"call_id": call}))
    status, order = await office.order("restrict", target={"kind": "call", "id": call})
    assert status == 202, order
    await answer(edge, order, "done", {"hold": order["jti"], "kind": "restriction"})
    status, case = await office.step("execute")
    assert (status, case["state"], case["more"]) == (200, "executed", 3)


async def test_a_note_does_not_replace_what_nobody_began(central: TestCentral, office: Office) -> None:
    edge = TestEdge(central)
    for kind, words in (("access", "no package was made"), ("erasure", "nothing was ordered")):
        await office.open(kind)
        await office.identify()
        for note in ("", "there is nothing"):
            status, told = await office.step("search", note=note)
            assert (status, told["code"], told["what"]) == (409, "case.pending", "nobody has searched yet")
        call = an_id()
        _, order = await office.order("locate")
        await answer(edge, order, "done", {"located": order["jti"], "matches": [match(call)], "more": 0})
        assert (await office.step("search"))[0] == 200
        await office.on("choices", {"choices": [choice(edge, call)]})
        assert (await office.step("review"))[0] == 200
        for note in ("", "done by hand"):
            status, told = await office.step("execute", note=note)
            assert (status, told["code"], told["what"]) == (409, "case.pending", words)


async def test_an_order_does_not_reach_what_was_found_behind_the_review(central: TestCentral, office: Office) -> None:
    here, late = TestEdge(central, edge_id="here"), TestEdge(central, edge_id="late")
    call, other = an_id(), an_id()
    for edge, one in ((here, call), (late, other)):
        await edge.send(edge.event(1, "call.opened", one, {"call_id": one}))
    await office.open("objection")
    await office.identify()
    _, search = await office.order("locate")
    await answer(here, search, "done", {"located": search["jti"], "matches": [match(call)], "more": 0})
    assert (await office.step("search", note="late is being repaired"))[0] == 200
    await office.on("choices", {"choices": [choice(here, call)]})
    assert (await office.step("review"))[0] == 200
    await answer(late, search, "done", {"located": search["jti"], "matches": [match(other)], "more": 0})
    for cmd, more in (("restrict", {}), ("erase", {"located": search["jti"], "sign": True}), ("withdraw", {})):
        status, told = await office.order(cmd, **more)
        assert (status, told["code"]) == (409, "case.review"), cmd
        assert "nobody has looked at" in told["what"]
    # What was reviewed may be restricted by itself; everything once it was looked at.
    assert (await office.order("restrict", target={"kind": "call", "id": call}))[0] == 202
    assert (await office.step("search"))[0] == 200
    await office.on("choices", {"choices": [choice(late, other)]})
    assert (await office.step("review"))[0] == 200
    assert (await office.order("restrict"))[0] == 202


async def test_a_correction_counts_when_the_edge_reports_it(central: TestCentral, office: Office) -> None:
    edge, call = TestEdge(central), an_id()
    await office.open("rectification")
    await searched(office, [edge], {edge.edge_id: [call]})
    await office.on("choices", {"choices": [choice(edge, call)]})
    await office.step("review")
    assert (await office.step("execute"))[1]["code"] == "case.pending"
    await edge.send(
        edge.event(1, "call.rectified", call, {"call_id": call, "fields": ["number"], "at": "2026-01-01T00:00:00.000Z"})
    )
    status, case = await office.step("execute")
    assert (status, case["rectified"]) == (200, [call])


async def test_packages_are_listed_and_hold_nothing_that_was_left_out(central: TestCentral, office: Office) -> None:
    edge, recording, left = TestEdge(central), an_id(), an_id()
    events = [edge.opened(n, one, key=secrets.token_bytes(32)) for n, one in enumerate((recording, left), 1)]
    await edge.send(*events)
    calls = [str(one.data["call_id"]) for one in events]
    await office.open("access")
    body = {
        "sha256": "ab" * 32,
        "size": 1000,
        "calls": 1,
        "recordings": [recording],
        "missing": 0,
        "to": "by post, to the person",
    }
    assert (await office.on("packages", body))[1]["code"] == "case.state"
    for wrong in ({"size": -5}, {"missing": -1}, {"sha256": "AB" * 32}, {"recordings": ["x"]}):
        assert (await office.on("packages", body | wrong))[1]["code"] == "usage.field"
    await searched(office, [edge], {edge.edge_id: calls})
    await office.on("choices", {"choices": [choice(edge, calls[0]), choice(edge, calls[1], False)]})
    await office.step("review")
    assert (await office.step("execute"))[1]["code"] == "case.pending"
    assert (await office.on("packages", {**body, "recordings": [left]}))[1]["code"] == "case.review"
    status, case = await office.on("packages", body)
    assert (status, case["packages"][0]["to"], case["packages"][0]["recordings"]) == (
        201,
        "by post, to the person",
        [recording],
    )
    assert (await office.step("execute"))[0] == 200
    # A later search finds nothing more once it is executed; a reviewed one would be reviewed anew.
    assert (await office.order("locate"))[1]["code"] == "case.state"


async def test_who_may_do_what(central: TestCentral, office: Office) -> None:
    await office.open()
    new = {"kind": "access", "numbers": ["777123456"], "country": "CZ"}
    one = f"/v1/cases/{office.ref}"
    doors = [
        ("POST", "/v1/cases", new, {"dpo", "supervisor"}),
        ("GET", "/v1/cases", None, {"dpo", "auditor"}),
        ("GET", one, None, {"dpo", "auditor"}),
        ("POST", one + "/person", {"text": "x"}, {"dpo"}),
        ("POST", one + "/notes", {"text": "x"}, {"dpo"}),
        ("POST", one + "/steps", {"act": "search"}, {"dpo"}),
        ("POST", one + "/extension", {"text": "x"}, {"dpo"}),
        ("POST", one + "/choices", {"choices": []}, {"dpo"}),
        ("POST", one + "/packages", {}, {"dpo"}),
    ]
    for role in ("dpo", "auditor", "supervisor", "ops"):
        who = await token(central, role)
        for method, path, body, may in doors:
            status, told = await central.admin(method, path, body, token=who)
            assert (status != 403) == (role in may), (role, method, path, told)
            assert status < 500
    status, listed = await office.ask("GET", "/v1/cases?limit=1")
    assert (status, len(listed["cases"])) == (200, 1)
    assert "numbers" not in json.dumps(listed)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "access", "numbers": []}, "usage.field"),
        ({"kind": "gossip", "numbers": ["1"]}, "usage.field"),
        ({"kind": "access", "numbers": ["1" * 65]}, "usage.field"),
        ({"kind": "access", "numbers": ["777"], "received_at": "2999-01-01T00:00:00.000Z"}, "usage.time"),
        ({"kind": "access", "numbers": ["777"], "received_at": "yesterday"}, "usage.time"),
        ({"kind": "access", "numbers": ["777"], "received_at": "0001-01-01T00:00:00.000Z"}, "usage.time"),
        ({"kind": "access", "numbers": ["777"], "state": "closed"}, "usage.field"),
    ],
)
async def test_what_is_no_request_is_refused(office: Office, body: dict[str, Any], code: str) -> None:
    status, told = await office.ask("POST", "/v1/cases", body)
    assert (status, told["code"]) == (400, code)
    assert (await office.ask("GET", "/v1/cases/case-2026-1-ffff"))[0] == 404


async def test_cases_move_to_postgresql_with_their_key(tmp_path: Path, server: Postgres) -> None:
    central = TestCentral(tmp_path / "central")
    await central.start()
    office = Office(central, await token(central, "dpo"))
    await office.open()
    await office.identify()
    before = await office.show()
    await central.stop()
    conninfo = server.database()
    moved = move(central.config, conninfo)
    assert (moved.rows["subject_case"], moved.rows["case_entry"]) == (1, 2)
    central.config = replace(central.config, postgres=conninfo)
    await central.start()
    try:
        assert await office.show() == before
        assert (await office.on("person", {"text": "to call back"}))[1]["numbers"] == [NUMBER]
        await office.open("access")
        assert office.ref.split("-")[2] == "2"
    finally:
        await central.stop()


async def test_an_order_of_a_case_takes_the_edges_before_the_log(tmp_path: Path, server: Postgres) -> None:
    central = TestCentral(tmp_path / "central", postgres=server.database())
    await central.start()
    try:
        TestEdge(central, edge_id="pbx-1")
        office = Office(central, await token(central, "dpo"))
        await office.open()
        await office.identify()
        held, seen = threading.Event(), threading.Event()

        def job(conn: Conn) -> bool:
            """A transaction of the edge's; whether the log is free while the order waits for the edge's row."""
            conn.execute("UPDATE edge SET last_delivery=last_delivery WHERE edge_id=?", ("pbx-1",))
            held.set()
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid<>pg_backend_pid()"
            while conn.execute(waits).fetchone()[0] == 0:
                assert not seen.wait(0.01), "the order did not wait"
            free = "SELECT pg_try_advisory_xact_lock(?, hashtext('log'))"
            return bool(conn.execute(free, (_LOCKS,)).fetchone()[0])

        assert central.running is not None
        first = asyncio.create_task(central.running.central.db.run(job))
        assert await asyncio.to_thread(held.wait, 10)
        ordered = asyncio.create_task(office.order("locate"))
        ordered.add_done_callback(lambda _: seen.set())
        assert await asyncio.wait_for(first, 20) is True
        assert (await ordered)[0] == 202
        case = await office.show()
        assert [one["act"] for one in case["entries"]] == ["open", "identify", "ordered"]
    finally:
        await central.stop()
