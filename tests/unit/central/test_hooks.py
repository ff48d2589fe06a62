"""Webhooks from what happened to a receiver that has it: written with it, sent at least once, one sender, dead letters, replay."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from central.app import start
from central.conn import Conn, Cursor
from central.hooks import duty, outbox, queue
from central.hooks.outbox import tell
from central.hooks.settings import Outgoing
from central.hooks.signing import GIVE_UP
from central.postgres import identities
from central.state import Central
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id
from tests.unit.central.hooks_kit import Got, Receiver, a_hook, a_receiver, a_secret, telling, until
from tests.unit.central.test_central_orders import receipt


@dataclass
class Told:
    """A central, its edge, a receiver and a sender that looks when a test says so."""

    central: TestCentral
    edge: TestEdge
    receiver: Receiver
    sender: duty.Sender

    @property
    def inner(self) -> Central:
        assert self.central.running is not None
        return self.central.running.central

    async def look(self) -> None:
        await self.sender.look()
        await self.sender.idle()

    async def tell(self, count: int = 1) -> None:
        """So many outcomes, in one transaction."""

        def job(conn: Conn) -> None:
            for _ in range(count):
                tell(self.inner, conn, "call.outcome", an_id(), {"call_id": an_id()})

        await self.inner.db.run(job)

    async def messages(self, what: str = "state, attempts, why") -> list[tuple[Any, ...]]:
        return await self.central.rows(f"SELECT {what} FROM hook_message ORDER BY seq")

    async def alarms(self) -> list[str]:
        return [
            row[0] for row in await self.central.rows("SELECT code FROM alarm WHERE code LIKE 'webhook.%' ORDER BY id")
        ]


@asynccontextmanager
async def all_of_it(folder: Path, engine: str, *events: str) -> AsyncIterator[Told]:
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(a_receiver(folder / "receiver"))
        hook = a_hook(receiver, a_secret(folder / "hook.secret"), "crm", *events)
        central = await stack.enter_async_context(telling(folder / "central", engine, Outgoing((hook,))))
        assert central.running is not None
        sender = duty.Sender(central.running.central)
        yield Told(central, TestEdge(central), receiver, sender)
        await sender.stop()


@pytest.fixture
async def told(tmp_path: Path, engine: str) -> AsyncIterator[Told]:
    async with all_of_it(tmp_path, engine, "call.*", "recording.erased", "notice.*", "webhook.test") as made:
        yield made


def status(number: int, **headers: str) -> Any:
    async def answer(got: Got) -> web.StreamResponse:
        return web.Response(status=number, headers=headers)

    return answer


async def test_what_edges_report_is_told_once(told: Told) -> None:
    call, recording, notice = an_id(), an_id(), an_id()
    edge = told.edge
    closed = edge.event(1, "call.closed", call, {"call_id": call, "outcome": "given", "number": "+420777123456"})
    gone = edge.event(2, "recording.erased", recording, {"recording_id": recording, "call_id": call})
    text = edge.event(
        3, "notice.sent", call, {"notice_id": notice, "call_id": call, "why": "", "number": "+420777123456"}
    )
    for _ in range(2):  # a repeat of the batch, and the same told once more under new numbers
        await edge.send(closed, gone, text)
    await edge.send(edge.event(4, closed.type, call, closed.data), edge.event(5, gone.type, recording, gone.data))
    await told.look()
    got = sorted((one.message["type"], one.message["data"]) for one in told.receiver.got)
    assert got == [
        ("call.outcome", {"call_id": call, "edge_id": "pbx-1", "outcome": "given"}),
        ("notice.sent", {"call_id": call, "edge_id": "pbx-1", "notice_id": notice, "why": ""}),
        ("recording.erased", {"call_id": call, "edge_id": "pbx-1", "recording_id": recording}),
    ]
    assert all(b"777123456" not in one.body for one in told.receiver.got)
    withdrawn = {"call_id": call, "outcome": "withdrawn"}
    await edge.send(edge.event(6, "consent.recorded", call, withdrawn))
    await told.look()
    assert told.receiver.got[-1].message["data"]["outcome"] == "withdrawn"
    assert await told.messages() == [("sent", 1, "")] * 4


async def test_what_is_rolled_back_is_not_told(told: Told) -> None:
    call = an_id()
    foreign = TestEdge(told.central, "pbx-2")
    await told.edge.send(told.edge.event(1, "call.opened", call, {"call_id": call}))
    _, answer = await foreign.send(foreign.event(1, "call.closed", call, {"call_id": call, "outcome": "given"}))
    assert answer["items"][0]["status"] == "rejected:event.foreign"
    assert await told.messages() == []


async def test_a_receipt_is_told_when_it_is_stored(tmp_path: Path, engine: str) -> None:
    async with all_of_it(tmp_path, engine, "receipt.*") as told:
        recording = an_id()
        await told.edge.send(told.edge.opened(1, recording, key=secrets.token_bytes(32)))
        order = await told.central.signed_order(recording)
        _, answer = await told.central.admin("POST", "/v1/orders", {"order": order})
        done = receipt(told.edge, answer["order"], answer["jti"], recording)
        for _ in range(2):
            await told.edge.ask("POST", told.edge.path("receipts"), {"receipts": [done]})
        await told.look()
        (got,) = told.receiver.got
        data = got.message["data"]
        assert (data["recording_id"], data["result"], data["n"]) == (recording, "done", 0)


async def test_a_failing_receiver_is_probed_and_gets_everything_in_the_end(told: Told) -> None:
    told.receiver.answer = status(500)
    await told.tell(20)
    await told.look()
    tried = len(told.receiver.got)
    assert 1 <= tried <= duty.TOGETHER  # those under way together; the rest was given back untried
    await told.look()
    assert len(told.receiver.got) == tried  # paused
    told.central.offset = timedelta(seconds=6)
    await told.look()
    assert len(told.receiver.got) == tried + 1  # one probe
    told.receiver.answer = None
    told.central.offset = timedelta(hours=3)
    await told.look()
    assert {row[0] for row in await told.messages()} == {"sent"}
    ids = {one.headers["webhook-id"] for one in told.receiver.got}
    assert len(ids) == 20  # a repeat has the id it had
    assert await told.alarms() == []


async def test_one_message_that_is_not_liked_holds_up_no_other(told: Told) -> None:
    await told.tell(3)
    bad = (await told.messages("message_id"))[0][0]

    async def picky(got: Got) -> web.StreamResponse:
        return web.Response(status=422 if got.headers["webhook-id"] == bad else 200)

    told.receiver.answer = picky
    await told.look()
    assert await told.messages() == [("waiting", 1, "http_422"), ("sent", 1, ""), ("sent", 1, "")]
    await told.tell()
    await told.look()
    assert (await told.messages())[-1] == ("sent", 1, "")


async def test_the_wait_that_a_receiver_asks_for_is_kept(told: Told) -> None:
    told.receiver.answer = status(429, **{"Retry-After": "3600"})
    await told.tell()
    await told.look()
    told.receiver.answer = None
    told.central.offset = timedelta(minutes=59)
    await told.look()
    assert (await told.messages())[0][0] == "waiting"
    told.central.offset = timedelta(minutes=61)
    await told.look()
    assert await told.messages() == [("sent", 2, "")]


async def test_three_days_then_a_dead_letter_and_a_replay(told: Told) -> None:
    told.receiver.answer = status(503)
    await told.tell()
    await told.look()
    told.central.offset = timedelta(minutes=20)
    await told.look()
    assert await told.alarms() == ["webhook.failing"]
    told.central.offset = GIVE_UP + timedelta(seconds=1)
    await told.look()
    assert await told.messages() == [("dead", 3, "http_503")]
    assert await told.alarms() == ["webhook.failing"]  # said once until it takes something again
    _, dead = await told.central.admin("GET", "/v1/webhooks/messages?state=dead&hook=crm")
    assert [one["why"] for one in dead["messages"]] == ["http_503"]
    told.receiver.answer = None
    _, answer = await told.central.admin("POST", "/v1/webhooks/crm/replay", {})
    assert answer == {"replayed": 1}
    await told.look()
    assert await told.messages() == [("sent", 1, "")]
    assert len({one.headers["webhook-id"] for one in told.receiver.got}) == 1


async def test_gone_disables_with_an_alarm_and_a_replay_enables(told: Told) -> None:
    told.receiver.answer = status(410)
    await told.tell()
    await told.look()
    await told.tell()
    told.central.offset = timedelta(hours=1)
    await told.look()
    assert len(told.receiver.got) == 1
    assert await told.messages() == [("dead", 1, "http_410"), ("dead", 0, "disabled")]
    assert await told.alarms() == ["webhook.disabled"]
    _, listed = await told.central.admin("GET", "/v1/webhooks")
    assert [(one["name"], one["state"], one["dead"]) for one in listed["webhooks"]] == [("crm", "disabled", 2)]
    told.receiver.answer = None
    message_id = (await told.messages("message_id"))[1][0]
    _, answer = await told.central.admin("POST", "/v1/webhooks/crm/replay", {"message_id": message_id})
    assert answer == {"replayed": 1}
    await told.look()
    assert [row[0] for row in await told.messages()] == ["dead", "sent"]


async def test_a_test_goes_also_while_the_receiver_is_paused_or_disabled(told: Told) -> None:
    told.receiver.answer = status(410)
    await told.tell()
    await told.look()
    told.receiver.answer = None
    code, answer = await told.central.admin("POST", "/v1/webhooks/crm/test")
    assert code == 202
    await told.look()
    _, message = await told.central.admin("GET", f"/v1/webhooks/messages/{answer['message_id']}")
    assert (message["state"], message["type"], message["body"]["data"]) == ("sent", "webhook.test", {"hook": "crm"})
    for path in ("/v1/webhooks/none/test", "/v1/webhooks/none/replay"):
        assert (await told.central.admin("POST", path, {}))[0] == 404


async def test_killed_between_the_post_and_the_note_it_is_sent_again_under_its_id(told: Told) -> None:
    """The sender that claimed it and posted it is never heard of again: as after kill -9."""
    await told.tell()
    claim = partial(queue.claim, "crm", "dead sender", told.inner.wall(), queue.LEASE, 64)
    (claimed,) = await told.inner.db.run(claim)
    await told.look()
    assert told.receiver.got == []  # it is leased
    told.central.offset = queue.LEASE + timedelta(seconds=1)
    await told.look()
    assert [one.headers["webhook-id"] for one in told.receiver.got] == [claimed.message_id]
    late = queue.Answer("retry", "http_500")
    note = partial(_finish, told.inner, "dead sender", claimed, late)
    assert await told.inner.db.run(note) is False  # and if it was only slow, its word counts for nothing
    assert await told.messages() == [("sent", 1, "")]


def _finish(central: Central, owner: str, message: queue.Message, answer: queue.Answer, conn: Conn) -> bool:
    return queue.finish(central, conn, owner, message, answer, 0.5)


async def test_several_processes_send_each_message_once(told: Told) -> None:
    """On PostgreSQL really several centrals; on SQLite several senders of one."""
    others: list[Any] = []
    senders = [told.sender, duty.Sender(told.inner)]
    if told.central.postgres:
        other = replace(told.central.config, port=0, keeper=told.central.folder / "other.keys")
        others.append(await start(other, wall=told.central.wall))
        senders.append(duty.Sender(others[0].central))
    try:
        await told.tell(200)

        async def all_sent() -> bool:
            for one in senders:
                await one.look()
            return not await told.central.rows("SELECT 1 FROM hook_message WHERE state<>'sent' LIMIT 1")

        await until(all_sent)
        for one in senders:
            await one.idle()
    finally:
        for running in others:
            await running.stop()
    ids = [one.headers["webhook-id"] for one in told.receiver.got]
    assert (len(ids), len(set(ids))) == (200, 200)


async def test_a_receiver_that_hangs_delays_no_other_and_no_request(tmp_path: Path, engine: str) -> None:
    free = asyncio.Event()

    async def hang(got: Got) -> web.StreamResponse:
        await free.wait()
        return web.Response()

    async with (
        a_receiver(tmp_path / "slow", answer=hang) as slow,
        a_receiver(tmp_path / "quick") as quick,
    ):
        secret = a_secret(tmp_path / "hook.secret")
        outgoing = Outgoing((a_hook(slow, secret, "slow"), a_hook(quick, secret, "quick")))
        async with telling(tmp_path / "central", engine, outgoing) as central:
            assert central.running is not None
            sender, edge, call = duty.Sender(central.running.central), TestEdge(central), an_id()
            await edge.send(edge.event(1, "call.closed", call, {"call_id": call, "outcome": "given"}))
            await sender.look()

            async def quick_has_it() -> bool:
                return len(quick.got) == 1

            await until(quick_has_it)
            call = an_id()
            code, _ = await edge.send(edge.event(2, "call.closed", call, {"call_id": call, "outcome": "given"}))
            assert code == 200
            await sender.look()

            async def quick_has_both() -> bool:
                return len(quick.got) == 2

            await until(quick_has_both)
            free.set()
            await sender.idle()
            await sender.look()
            await sender.idle()
            assert len(slow.got) == 2


async def test_a_secret_is_changed_without_a_restart(told: Told) -> None:
    path = told.inner.config.outgoing.webhooks[0].secret
    await told.tell()
    await told.look()
    a_secret(path, 2)
    await told.tell()
    await told.look()
    path.chmod(0o644)
    await told.tell()
    await told.look()
    assert [len(one.headers["webhook-signature"].split(" ")) for one in told.receiver.got] == [1, 2]
    assert (await told.messages())[-1] == ("waiting", 1, "secret")


async def test_a_running_central_sends_by_itself(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duty, "LOOK_S", 0.05)
    async with a_receiver(tmp_path / "r") as receiver:
        central = TestCentral(tmp_path / "central", postgres=engine)
        central.config = replace(
            central.config, outgoing=Outgoing((a_hook(receiver, a_secret(tmp_path / "hook.secret")),))
        )
        await central.start()
        try:
            edge, call = TestEdge(central), an_id()
            await edge.send(edge.event(1, "call.closed", call, {"call_id": call, "outcome": "given"}))

            async def there() -> bool:
                return len(receiver.got) == 1

            await until(there)
        finally:
            await central.stop()


async def test_old_rows_go_and_what_nobody_sends_dies(told: Told) -> None:
    await told.tell(2)
    await told.look()
    await told.inner.db.run(
        lambda conn: conn.execute("UPDATE hook_message SET hook='was', state='waiting', done_at=NULL WHERE seq=2")
    )
    told.central.offset = GIVE_UP + timedelta(minutes=1)
    await told.sender.tidy()
    assert [row[0] for row in await told.messages()] == ["sent", "dead"]
    told.central.offset = duty.KEEP + timedelta(minutes=1)
    await told.sender.tidy()
    assert [row[0] for row in await told.messages()] == ["dead"]
    told.central.offset = 4 * duty.KEEP + timedelta(days=4)
    await told.sender.tidy()
    assert await told.messages() == []


async def test_an_alarm_after_a_restore_is_another_message(tmp_path: Path, engine: str) -> None:
    """The restored database gives its number anew; a receiver drops an id that it has seen."""
    async with all_of_it(tmp_path, engine, "alarm.*") as told:

        def lost(conn: Conn) -> None:
            conn.execute("DELETE FROM alarm")
            if told.central.postgres:
                identities(conn)

        for hours in (0, 1):
            told.central.offset = timedelta(hours=hours)
            await told.inner.db.run(lambda conn: told.inner.alarm(conn, "", "order.bulk", "x"))
            await told.look()
            await told.inner.db.run(lost)
        assert [one.message["data"]["id"] for one in told.receiver.got] == [1, 1]
        assert len({one.headers["webhook-id"] for one in told.receiver.got}) == 2


class Explained:
    """A connection that keeps the plan of each statement about messages."""

    def __init__(self, conn: Conn, postgres: bool) -> None:
        self._conn, self._explain = conn, "EXPLAIN " if postgres else "EXPLAIN QUERY PLAN "
        self.plans: list[str] = []

    def _plan(self, sql: str, values: Sequence[Any]) -> None:
        if "hook_message" in sql:
            plan = self._conn.execute(self._explain + sql, values).fetchall()
            self.plans.append("\n".join([sql, *(str(row[len(list(row)) - 1]) for row in plan)]))

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        self._plan(sql, values)
        return self._conn.execute(sql, values)

    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> Cursor:
        several = list(values)
        for one in several[:1]:
            self._plan(sql, one)
        return self._conn.executemany(sql, several)

    def exclusive(self, name: str, /) -> None:
        self._conn.exclusive(name)


async def test_what_waits_for_a_dead_receiver_is_not_walked(told: Told) -> None:
    """Of 3000 messages no look, claim or tidying reads or sorts all."""
    await told.tell(3000)
    told.central.offset = timedelta(seconds=1)
    found: list[str] = []

    def job(raw: Conn) -> None:
        if told.central.postgres:
            raw.execute("ANALYZE hook_message")
        conn, now = Explained(raw, bool(told.central.postgres)), told.inner.now()
        assert queue.due(["crm", "mail"], now, conn) == ["crm"]
        claimed = queue.claim("crm", "me", told.inner.wall(), queue.LEASE, 64, conn)
        assert [one.seq for one in claimed] == list(range(claimed[0].seq, claimed[0].seq + 64))
        refused = queue.Answer("retry", "http_500", whole=True)
        queue.finish(told.inner, conn, "me", claimed[0], refused, 0.5)
        assert queue.claim("crm", "other", told.inner.wall() + timedelta(minutes=1), queue.LEASE, 64, conn) == []
        queue.disable(told.inner, conn, "crm", "http_410")
        assert queue.bury(told.inner, conn) == queue.MANY
        assert outbox.told(conn, now, duty.KEEP, queue.MANY) == 0
        queue.enable(conn, "crm")
        assert queue.replay("crm", now, now, 0, conn)[0] == queue.MANY
        found.extend(conn.plans)

    await told.inner.db.run(job)
    bad = ("Seq Scan", "Sort") if told.central.postgres else ("SCAN hook_message", "TEMP B-TREE")
    count = "SELECT count(*)"  # asked once by a person, of an index
    assert [plan for plan in found if any(word in plan for word in bad) and not plan.startswith(count)] == []
    assert len(found) > 10


async def test_many_rows_are_changed_a_few_at_a_time(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of them in the end, each once."""
    monkeypatch.setattr(queue, "MANY", 3)
    told.receiver.answer = status(410)
    await told.tell(10)
    await told.look()
    assert {row[0] for row in await told.messages()} == {"dead"}
    told.receiver.answer = None
    _, answer = await told.central.admin("POST", "/v1/webhooks/crm/replay", {})
    assert answer == {"replayed": 10}
    await told.look()
    assert await told.messages() == [("sent", 1, "")] * 10
    told.central.offset = duty.KEEP + timedelta(minutes=1)
    await told.sender.tidy()
    assert await told.messages() == []


async def test_what_waits_for_a_disabled_receiver_dies_if_its_sender_was_killed_meanwhile(told: Told) -> None:
    await told.tell(3)
    await told.inner.db.run(lambda conn: queue.disable(told.inner, conn, "crm", "http_410"))
    await told.inner.db.run(lambda conn: conn.execute("UPDATE hook_message SET state='waiting', done_at=NULL"))
    await told.look()
    assert told.receiver.got == []  # it is disabled: nothing but tests is sent
    await told.sender.tidy()
    assert [row[0] for row in await told.messages()] == ["dead"] * 3


async def test_what_died_without_an_attempt_is_alarmed_once_for_each_receiver(told: Told) -> None:
    await told.tell(3)
    told.central.offset = GIVE_UP + timedelta(minutes=1)
    await told.sender.tidy()
    assert await told.messages() == [("dead", 0, "not_sent")] * 3
    assert await told.alarms() == ["webhook.dead_letter"]
    await told.tell()
    told.central.offset = 2 * GIVE_UP + timedelta(minutes=2)
    await told.sender.tidy()
    assert await told.alarms() == ["webhook.dead_letter"]  # until it takes something again
