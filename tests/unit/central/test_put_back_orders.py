"""Orders of a central whose database was put back, and what of them an edge still gets, counts and may make central destroy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from central.cases.orders import progress as of_case
from central.conn import Conn
from central.restored import heard, mark
from formats.ids import format_time
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id
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
        status, answer = await edge.central.admin("POST", "/v1/orders", {"order": order})
        assert status == 202, answer
        made.append(answer["jti"])
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
            mark(conn, log, now, "ab" * 16, "", "a test")

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
    assert await alarms(central) == []


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
