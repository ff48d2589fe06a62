"""One edge's fault is one edge's: nonsense in its heartbeat, rows of a later version, a central that was away, races of standing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from central.conn import Conn
from central.errors import CentralError
from central.fleet.settings import EdgeAlarms
from central.fleet.standing import approve, change_key, revoke
from central.fleet.watch import AT_ONCE, EVERY_S, Watch, look
from formats.ids import format_time
from formats.keychange import sign_key_change
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id
from tests.unit.central.test_central_edges import Pulse, alarms, changed_key, shown, watched

#: The last moment that a time can name: nothing can be added to it.
LAST = "9999-12-31T23:59:59.999Z"


async def test_an_edge_that_began_at_the_end_of_time_hinders_nobody(central: TestCentral, edge: TestEdge) -> None:
    first, second = Pulse.of(edge), Pulse.of(edge)
    second.started = LAST
    for pulse in (first, second, first):
        central.offset += timedelta(seconds=20)
        await pulse.beat()
    assert (await shown(central))["heartbeat"]["session"] == first.session
    await Pulse.of(TestEdge(central, "pbx-2")).beat(live=3)
    assert (await shown(central, "pbx-2"))["heartbeat"]["live"] == 3


async def test_what_cannot_be_judged_of_one_edge_hinders_no_other(central: TestCentral, edge: TestEdge) -> None:
    other = TestEdge(central, "pbx-2")
    for one in (edge, other):
        await Pulse.of(one).beat()
    assert central.running is not None
    await central.running.central.db.run(
        lambda conn: conn.execute("UPDATE heartbeat SET sessions='[' WHERE edge_id='pbx-1'").rowcount
    )
    await Pulse.of(edge).beat(live=7)
    await Pulse.of(other).beat(live=8)
    assert (await shown(central, "pbx-2"))["heartbeat"]["live"] == 8
    assert (await central.admin("GET", "/v1/edges"))[0] == 200


async def test_a_row_of_a_later_version_is_understood(central: TestCentral, edge: TestEdge) -> None:
    pulse = Pulse.of(edge)
    await pulse.beat()
    assert central.running is not None
    [(data,)] = await central.rows("SELECT data FROM heartbeat")
    later = {**json.loads(data), "more": {"of": "it"}}
    del later["spool"]
    await central.running.central.db.run(
        lambda conn: conn.execute("UPDATE heartbeat SET data=?", (json.dumps(later),)).rowcount
    )
    await pulse.beat(live=9)
    assert (await shown(central))["heartbeat"]["live"] == 9


async def test_a_stop_closes_everything_whatever_the_last_writing_says(
    central: TestCentral, edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert central.running is not None
    running, central.running = central.running, None

    async def broken(_: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr(running.central.beats, "write", broken)
    with pytest.raises(OverflowError):
        await running.stop()
    await central.start()  # the keeper is locked by nobody
    assert await alarms(central) == []


async def test_a_central_without_its_database_takes_nobody_for_silent(central: TestCentral, edge: TestEdge) -> None:
    """Its process was up all the time, and so was the edge; only nobody could be heard."""
    assert central.running is not None
    one = central.running.central
    watch = Watch(one)
    watch._since -= 2 * EdgeAlarms().silent_s  # it has listened for long
    await Pulse.of(edge).beat()
    await watch.look()
    central.offset += timedelta(seconds=EdgeAlarms().silent_s + 10)  # no look succeeded meanwhile
    await watch.look()
    assert await alarms(central) == []
    central.offset -= timedelta(hours=1)  # nor is a clock that was set back anybody's silence
    watch._since -= 2 * EdgeAlarms().silent_s
    await watch.look()
    central.offset += timedelta(hours=1)
    await watch.look()
    assert await alarms(central) == []
    watch._since -= 2 * EdgeAlarms().silent_s  # it has listened for long again
    central.offset += timedelta(seconds=EVERY_S)
    await watch.look()
    assert await alarms(central) == [("pbx-1", "edge.silent")]


async def test_silent_edges_are_told_of_so_many_at_a_look(
    central: TestCentral, edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert AT_ONCE == 500
    monkeypatch.setattr("central.fleet.watch.AT_ONCE", 2)
    for n in (2, 3):
        TestEdge(central, f"pbx-{n}")
    central.offset += timedelta(hours=1)
    for expected in (2, 3, 3):
        await watched(central)
        assert len(await alarms(central)) == expected


async def test_a_majority_is_waited_for_from_when_it_was_one(central: TestCentral) -> None:
    """Two of five were given the policies first: the others are late, and those two never diverged."""
    pulses = [Pulse.of(TestEdge(central, f"pbx-{n}")) for n in range(5)]

    async def everyone(new: int) -> list[tuple[str, str]]:
        for n, pulse in enumerate(pulses):
            await pulse.beat(policy=("2" if n < new else "1") * 64)
        await watched(central)
        return await alarms(central)

    assert await everyone(0) == []
    for _ in range(3):
        central.offset += timedelta(minutes=5)
        assert await everyone(1) == []
    assert await everyone(3) == []  # the majority since now: the other two have 15 minutes, whatever they had for years
    central.offset += timedelta(minutes=14)
    assert await everyone(3) == []
    central.offset += timedelta(minutes=2)
    await everyone(3)
    assert sorted(await everyone(3)) == [("pbx-3", "edge.diverging"), ("pbx-4", "edge.diverging")]


async def test_an_approval_does_not_undo_a_revocation_that_is_under_way(central: TestCentral, edge: TestEdge) -> None:
    assert central.running is not None
    one = central.running.central
    waiting = "UPDATE edge SET state='waiting', code='0000-0000-0000' WHERE edge_id='pbx-1'"
    await one.db.run(lambda conn: conn.execute(waiting).rowcount)
    revoked, go_on = threading.Event(), threading.Event()

    def revoking(conn: Conn) -> None:
        revoke(one, conn, "pbx-1", "stolen", "ops")
        revoked.set()
        go_on.wait(10)

    first = asyncio.ensure_future(one.db.run(revoking))
    await asyncio.to_thread(revoked.wait, 10)
    second = asyncio.ensure_future(one.db.run(lambda conn: approve(one, conn, "pbx-1", "0000-0000-0000", "ops")))
    await asyncio.sleep(0.3)  # it waits for the other one's end now
    go_on.set()
    await first
    with pytest.raises(CentralError, match="this edge was revoked"):
        await second
    assert (await shown(central))["state"] == "revoked"


async def test_a_revoked_edge_does_not_change_its_key(central: TestCentral, edge: TestEdge) -> None:
    """Also where its revocation came while the request was on its way."""
    assert central.running is not None
    one, new = central.running.central, a_key()
    await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "stolen"})
    statement = sign_key_change("pbx-1", edge.key, new, format_time(central.wall()))
    with pytest.raises(CentralError, match=r"auth\.edge_revoked"):
        await one.db.run(lambda conn: change_key(one, conn, "pbx-1", statement))
    assert (await shown(central))["kid"] == edge.key.kid


async def test_what_another_process_changed_counts_at_once_where_edges_speak_most(
    central: TestCentral, edge: TestEdge
) -> None:
    """Nothing rang here and nothing was forgotten: the transaction of the answer itself finds it."""
    assert central.running is not None
    one, old, new = central.running.central, edge.key, a_key()
    poll = edge.path("deliveries?after=0&wait=0")

    async def told(seq: int) -> tuple[int, Any]:
        call = an_id()
        return await edge.send(edge.event(seq, "call.opened", call, {"call_id": call}))

    assert (await edge.ask("GET", poll))[0] == 200
    assert (await told(1))[0] == 200
    central.offset += timedelta(milliseconds=5)
    statement = sign_key_change("pbx-1", old, new, format_time(central.wall()))
    await one.db.run(lambda conn: change_key(one, conn, "pbx-1", statement))
    assert (await edge.ask("GET", poll))[0] == 401
    assert (await told(2))[0] == 401
    edge.key = new
    assert (await edge.ask("GET", poll))[0] == 200
    assert (await told(3))[0] == 200
    await one.db.run(lambda conn: revoke(one, conn, "pbx-1", "stolen", "ops"))
    assert (await told(4))[1]["code"] == "auth.edge_revoked"
    assert (await edge.ask("GET", poll))[1]["code"] == "auth.edge_revoked"


async def test_nothing_is_handed_over_to_who_was_revoked_since_the_look(
    central: TestCentral, edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert central.running is not None
    one = central.running.central
    before = type(one.db).look

    async def then_revoked(self: Any, job: Callable[[Conn], Any]) -> Any:
        found = await before(self, job)
        if "quiet" in getattr(job, "__qualname__", ""):
            await one.db.run(lambda conn: revoke(one, conn, "pbx-1", "stolen", "ops"))
        return found

    assert (await edge.ask("GET", edge.path("deliveries?after=3&wait=0")))[0] == 200
    monkeypatch.setattr(type(one.db), "look", then_revoked)
    poll = edge.path("deliveries?after=6&wait=0")  # numbers that this database lacks: they would be signed
    assert (await edge.ask("GET", poll))[1]["code"] == "auth.edge_revoked"


async def test_a_long_poll_that_nobody_rang_for_looks_once(
    central: TestCentral, edge: TestEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet that waits is most of what central does. Who has nothing new is asked for nothing that is missing, and costs
    no transaction."""
    assert central.running is not None
    database = type(central.running.central.db)
    asked: dict[str, list[str]] = {"look": [], "run": []}
    before = {name: getattr(database, name) for name in asked}

    def counted(name: str) -> Callable[[Any, Callable[[Conn], Any]], Any]:
        async def one(self: Any, job: Callable[[Conn], Any]) -> Any:
            asked[name].append(
                getattr(job, "__qualname__", "")
            )  # central's own duties ask too, some by jobs without one
            return await before[name](self, job)

        return one

    for name in asked:
        monkeypatch.setattr(database, name, counted(name))
    for after, jobs in ((0, 0), (3, 1)):  # 3: numbers that it has and this database has not
        asked["look"].clear()
        asked["run"].clear()
        status, answer = await edge.ask("GET", edge.path(f"deliveries?after={after}&wait=1"))
        assert (status, answer) == (200, {"deliveries": [], "last": after})
        assert asked["look"].count("get_deliveries.<locals>.quiet") == 1
        assert asked["run"].count("get_deliveries.<locals>.job") == jobs
    await central.admin("POST", "/v1/edges/pbx-1/revoke", {"reason": "lost"})
    assert (await edge.ask("GET", edge.path("deliveries?after=3&wait=1")))[1]["code"] == "auth.edge_revoked"


async def test_what_is_looked_up_for_every_edge_has_an_index(central: TestCentral, edge: TestEdge) -> None:
    kind = "pg_indexes WHERE schemaname=current_schema()" if central.postgres else "sqlite_master WHERE type='index'"
    name, definition = ("indexname", "indexdef") if central.postgres else ("name", "sql")
    found = dict(await central.rows(f"SELECT {name}, {definition} FROM {kind}"))
    assert found["witnessed_size"].endswith("(edge_id, size)")
    assert found["alarm_edge"].endswith("(edge_id, code)")


async def test_an_edge_that_is_seen_and_sends_no_heartbeat_is_noticed(central: TestCentral, edge: TestEdge) -> None:
    """One that nobody can judge: its events and polls come, its heartbeats are refused or never sent."""
    assert central.running is not None
    one, other = central.running.central, TestEdge(central, "pbx-2")
    await Pulse.of(edge).beat()

    async def watching(*, hearing: bool = True) -> list[tuple[str, str]]:
        for seen in (edge, other):
            assert (await seen.ask("GET", seen.path("deliveries?after=0&wait=0")))[0] == 200
        await one.edges.write()
        await one.db.run(lambda conn: look(one, conn, listening=True, hearing=hearing))
        return sorted(await alarms(central))

    central.offset += timedelta(minutes=9)
    assert await watching() == []
    central.offset += timedelta(minutes=2)
    assert await watching(hearing=False) == []  # central was away for a part of that
    for _ in range(2):
        assert await watching() == [("pbx-1", "edge.mute"), ("pbx-2", "edge.mute")]
    await Pulse.of(edge).beat()
    await watching()
    assert (await shown(central))["alarms"] == {}
    assert list((await shown(central, "pbx-2"))["alarms"]) == ["edge.mute"]


async def test_a_key_does_not_stop_before_it_was_seen_at_work(central: TestCentral, edge: TestEdge) -> None:
    """Whoever has both keys would otherwise undo what the old one signed in the last weeks."""
    new = a_key()
    await Pulse.of(edge).beat()  # seen now
    for minutes, status in ((24 * 60, 409), (6, 409), (4, 200)):
        at = format_time(central.wall() - timedelta(minutes=minutes))
        found = await changed_key(edge, edge.key, new, at)
        assert found[0] == status, (minutes, found)
        assert status == 200 or found[1]["code"] == "auth.key_change"
    other = TestEdge(central, "pbx-2")  # never seen: there is nothing to undo
    assert (await changed_key(other, other.key, a_key(), format_time(central.wall() - timedelta(days=2))))[0] == 200
