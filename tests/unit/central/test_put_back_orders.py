"""Orders of a central whose database was put back, and what of them an edge still gets, counts and may make central destroy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from central import setup
from central.cases.orders import progress as of_case
from central.conn import Conn
from central.restored import heard, mark
from formats import canonical
from formats.ids import format_time
from formats.keys import SigningKey
from formats.orders import Person, sign_order
from formats.orders.claims import OrderClaims, decode
from tests.unit.central.cases_kit import answer
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id
from tests.unit.central.test_central_orders import deliveries


async def do(central: TestCentral, job: Callable[[Conn], Any]) -> Any:
    assert central.running is not None
    return await central.running.central.db.run(job)


async def ordered(edge: TestEdge, count: int) -> list[str]:
    """So many orders, each to erase another recording."""
    made = []
    for _ in range(count):
        recording_id = an_id()
        await edge.send(edge.opened(int(recording_id[:12], 16), recording_id, key=None))
        order = await edge.central.signed_order(recording_id)
        status, told = await edge.central.admin("POST", "/v1/orders", {"order": order})
        assert status == 202, told
        made.append(told["jti"])
    return made


async def put_back(central: TestCentral, upto: int, *, marked: bool = True) -> None:
    """The database as a backup has it that knows deliveries up to a number."""
    assert central.running is not None
    log, now = central.running.central.log, format_time(central.wall())

    def job(conn: Conn) -> None:
        lost = [row[0] for row in conn.execute("SELECT jti FROM delivery WHERE seq>?", (upto,)).fetchall()]
        conn.execute("DELETE FROM delivery WHERE seq>?", (upto,))
        conn.executemany("DELETE FROM orders WHERE jti=?", [(jti,) for jti in lost])
        conn.execute("UPDATE edge SET last_delivery=?", (upto,))
        if marked:
            mark(conn, log, now, "ab" * 16, "", "a test", central.config.keeper)

    await do(central, job)


async def brought(edge: TestEdge, after: int) -> dict[str, int]:
    """The orders that a poll brings, each with its newest number."""
    found = await deliveries(edge, after)
    jtis = [await edge.central.rows("SELECT jti FROM delivery WHERE seq=?", one["seq"]) for one in found]
    return {jti: one["seq"] for ((jti,),), one in zip(jtis, found, strict=True)}


async def alarms(central: TestCentral) -> list[str]:
    return [code for (code,) in await central.rows("SELECT code FROM alarm ORDER BY id")]


@pytest.mark.parametrize("accepted", [False, True])
async def test_orders_of_before_the_first_poll_come_under_numbers_the_edge_has_not(
    edge: TestEdge, accepted: bool
) -> None:
    """The edge has 8 deliveries, the database that came back 5; four orders get the numbers 6 to 9 before the edge polls."""
    await ordered(edge, 8)
    central = edge.central
    await put_back(central, 5)
    new = await ordered(edge, 4)
    if accepted:
        assert central.running is not None
        log, now = central.running.central.log, format_time(central.wall())
        await do(central, lambda conn: heard(conn, log, now, "pbx-1", {"accepted": True}))
    found = await brought(edge, 8)
    assert set(new) <= set(found), "no order stays under a number that the edge has"
    last = max(found.values())
    if not accepted:
        told = {"restore": "ab" * 16, "tombstones": [], "last": True}
        assert (await edge.ask("POST", edge.path("tombstones"), told))[0] == 200
    assert await deliveries(edge, last) == [], "and that is done once"
    assert "delivery.rolled_back" not in await alarms(central), "the edge was not beyond what it could have"


async def test_a_poll_that_was_under_way_does_not_count_as_the_first(edge: TestEdge) -> None:
    await ordered(edge, 8)
    await put_back(edge.central, 5)
    new = await ordered(edge, 4)
    await deliveries(edge, 3)  # late, and nobody hears its answer
    assert set(new) <= set(await brought(edge, 8))


async def test_two_polls_at_once_queue_an_order_once_more(edge: TestEdge) -> None:
    await ordered(edge, 8)
    await put_back(edge.central, 5)
    await ordered(edge, 4)
    await asyncio.gather(*(deliveries(edge, 8) for _ in range(4)))
    assert await edge.central.rows("SELECT count(*), max(seq) FROM delivery") == [(17, 17)], "5, 4, and 8 of them anew"


async def test_without_the_mark_only_a_number_beyond_ours_tells(edge: TestEdge) -> None:
    await ordered(edge, 8)
    await put_back(edge.central, 5, marked=False)
    new = await ordered(edge, 4)
    assert list((await brought(edge, 8)).values()) == [9]
    assert set(new) <= set(await brought(edge, 12))
    assert await alarms(edge.central) == ["delivery.rolled_back"]


async def test_what_was_found_is_shown_once_the_edges_were_heard(edge: TestEdge) -> None:
    """A search and its answer are in the backup; what was found may have been erased since."""
    central = edge.central
    person = Person(bytes(16), "+420777123456")
    asked = {"cmd": "locate", "target": {"kind": "person", "id": person.id}, "reason": "asked for"}
    _, draft = await central.admin("POST", "/v1/orders/draft", asked)
    body = {"claims": draft["claims"], "opening": person.document()}
    status, order = await central.admin("POST", "/v1/orders", body)
    assert status == 202, order
    match = {"call_id": an_id(), "started_at": "2026-05-01T10:00:00.000Z", "recordings": 1}
    await answer(edge, order, "done", {"matches": [match]})
    shown = f"/v1/orders/{order['jti']}"
    assert (await central.admin("GET", shown))[1]["receipts"][0]["document"]["claims"]["evidence"]["matches"] == [match]
    await put_back(central, 1)
    status, problem = await central.admin("GET", shown)
    assert (status, problem["code"]) == (503, "central.restored")
    status, again = await central.admin("POST", "/v1/orders", body)
    assert (status, again["jti"], again["receipts"]) == (202, order["jti"], [])
    told = {"restore": "ab" * 16, "tombstones": [], "last": True}
    assert (await edge.ask("POST", edge.path("tombstones"), told))[0] == 200
    status, now = await central.admin("GET", shown)
    assert (status, len(now["receipts"])) == (200, 1)


async def test_an_order_that_was_queued_again_counts_its_edge_once(edge: TestEdge) -> None:
    (jti,) = await ordered(edge, 1)
    central = edge.central
    await deliveries(edge, 4)  # a number we never gave
    assert await central.rows("SELECT count(*) FROM delivery WHERE jti=?", jti) == [(2,)]
    now = format_time(central.wall())

    def job(conn: Conn) -> int:
        conn.execute(
            "INSERT INTO subject_case(ref, kind, state, received_at, due_at, opened_at, opened_by, warned)"
            " VALUES ('A-1','erasure','searched',?,?,?,'x','')",
            (now, now, now),
        )
        conn.execute("INSERT INTO case_order(ref, jti, cmd, at) VALUES ('A-1',?,'erase',?)", (jti, now))
        (one,) = of_case(conn, "A-1", now)
        return one.edges

    assert await do(central, job) == 1


# ------------------------------------------------------------ an edge that was put back to before the recording


@pytest.fixture
async def recording(edge: TestEdge) -> str:
    recording_id = an_id()
    opened = edge.opened(2, recording_id, key=b"\x07" * 32)
    call_id = str(opened.data["call_id"])
    await edge.send(edge.event(1, "call.opened", call_id, {"call_id": call_id}), opened)
    return recording_id


async def kept(central: TestCentral, recording_id: str) -> bool:
    """Whether central still has the key of a recording's header."""
    ((slot, state),) = await central.rows(
        "SELECT h.keeper_slot, r.state FROM header h JOIN recording r ON r.recording_id=h.recording_id"
        " WHERE h.recording_id=?",
        recording_id,
    )
    assert (slot is None) == (state == "erased"), (slot, state)
    return slot is not None


async def submitted(central: TestCentral, cmd: str, kind: str, target: str, *signers: SigningKey) -> dict[str, Any]:
    asked = {"cmd": cmd, "target": {"kind": kind, "id": target}, "reason": "asked for"}
    status, draft = await central.admin("POST", "/v1/orders/draft", asked)
    assert status == 200, draft
    claims = decode(canonical.dumps(draft["claims"]), OrderClaims)
    body = {"order": sign_order(claims, signers)} if signers else {"claims": draft["claims"]}
    status, told = await central.admin("POST", "/v1/orders", body)
    assert status == 202, told
    return dict(told)


async def test_the_copy_of_a_recording_its_edge_never_knew_held_goes(edge: TestEdge, recording: str) -> None:
    order = await submitted(edge.central, "erase", "recording", recording, edge.central.dpo)
    await answer(edge, order, "not_found", {})
    assert not await kept(edge.central, recording)
    assert await alarms(edge.central) == []


@pytest.mark.parametrize("kind", ["recording", "call"])
async def test_an_erasure_that_a_hold_had_put_off_destroys_no_copy(edge: TestEdge, recording: str, kind: str) -> None:
    """The edge lost recording and hold with its disk, and its order comes again: it knows nothing of either."""
    central = edge.central
    ((call,),) = await central.rows("SELECT call_id FROM recording")
    target = {"recording": recording, "call": call}[kind]
    order = await submitted(central, "erase", kind, target, central.dpo)
    await answer(edge, order, "deferred", {})
    await answer(edge, order, "not_found", {}, n=1)
    assert await kept(central, recording)
    assert await alarms(central) == ["erase.held_copy"]
    again = await submitted(central, "erase", kind, target, central.dpo)  # whoever looked, and wants it
    await answer(edge, again, "not_found", {})
    assert not await kept(central, recording)


@pytest.mark.parametrize(("held", "erased"), [("recording", "recording"), ("call", "recording"), ("recording", "call")])
@pytest.mark.parametrize("released", ["done", "not_found"])
async def test_a_hold_by_order_keeps_the_copy_until_it_is_released(
    edge: TestEdge, recording: str, held: str, erased: str, released: str
) -> None:
    central = edge.central
    auditor = a_key()
    setup.register_key(central.config, "auditor", "Ann", auditor.verify_key)
    ((call,),) = await central.rows("SELECT call_id FROM recording")
    targets = {"recording": recording, "call": call}
    hold = await submitted(central, "hold", held, targets[held])
    await answer(edge, hold, "done", {})
    first = await submitted(central, "erase", erased, targets[erased], central.dpo)
    await answer(edge, first, "not_found", {})
    assert await kept(central, recording)
    assert await alarms(central) == ["erase.held_copy"]
    release = await submitted(central, "release", "hold", hold["jti"], central.dpo, auditor)
    await answer(edge, release, released, {})  # an edge that lost the hold has none to release
    second = await submitted(central, "erase", erased, targets[erased], central.dpo)
    await answer(edge, second, "not_found", {})
    assert not await kept(central, recording)


async def test_a_hold_that_was_refused_or_is_of_another_recording_keeps_nothing(edge: TestEdge, recording: str) -> None:
    central = edge.central
    other = an_id()
    await edge.send(edge.opened(3, other, key=b"\x08" * 32))
    for target, result in ((recording, "refused:command.too_late"), (other, "done")):
        await answer(edge, await submitted(central, "hold", "recording", target), result, {})
    order = await submitted(central, "erase", "recording", recording, central.dpo)
    await answer(edge, order, "not_found", {})
    assert not await kept(central, recording)
    assert await kept(central, other)
