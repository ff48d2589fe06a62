"""Text notices through a real journal to a real receiver that checks the signatures itself."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from edge.consent.policy import Policy
from edge.model.entities import NewCall
from edge.notices.rules import Rules
from edge.notices.sender import Notices, Settings
from edge.notices.webhook import read_keys
from edge.store.base import decode_json
from edge.store.journal import Journal
from tests.contract.webhook_receiver import Receiver, receiver
from tests.unit.store import store_makers as makers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
RULES = Rules(countries=("CZ",), country="CZ", per_hour=5)


class Clock(makers.SystemClock):
    """The system's, moved ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Desk:
    """A journal, a sender, and calls to tell about."""

    def __init__(self, journal: Journal, gateway: Receiver, session: aiohttp.ClientSession) -> None:
        self.journal, self.gateway, self.session = journal, gateway, session
        self.clock = Clock()
        self.settings: Settings | None = Settings(gateway.url, read_keys(SECRET), "https://example.org/r", RULES)
        self.slot = 0
        self.notices = Notices(journal, self.clock, lambda: self.settings, self._digest, lambda: 0.0)
        gateway.now = lambda: self.clock.wall().timestamp()

    @staticmethod
    async def _digest(number: str) -> str:
        return number[1:].rjust(64, "0")

    async def call(self, number: str, *, when: str = "end", seconds: float = 30, ended: bool = True) -> NewCall:
        """A recorded call that began `seconds` ago."""
        policy = Policy(name="support", mode="notice", purposes=("quality",), text_notice=when)
        started = self.clock.wall() - timedelta(seconds=seconds)
        self.slot += 1
        call = makers.call(
            policy_document=policy.document, policy_version=policy.version, number_heard=number, language="cs",
            started_at=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )  # fmt: skip
        await self.journal.open_call(call)
        new = makers.recording(call.call_id, self.slot)
        await self.journal.grant(call.call_id, makers.event("notified"), new.permit_id, ("quality",), new)
        if ended:
            await self.journal.end_call(call.call_id, self.clock.wall_text())
        return call

    async def once(self) -> None:
        await self.notices.once(self.session)

    async def states(self, call: NewCall) -> list[tuple[str, str, int, str | None]]:
        return [(n.state, n.why, n.attempts, n.number_e164) for n in await self.journal.notices(call.call_id)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    journal = await makers.open_journal(tmp_path / "journal.db")
    async with receiver(SECRET) as gateway, aiohttp.ClientSession() as session:
        yield Desk(journal, gateway, session)
    await journal.close()


async def test_a_text_is_sent_once_signed_and_its_number_wiped(desk: Desk) -> None:
    call = await desk.call("777 123 456")
    for _ in range(3):
        await desk.once()
    ((message_id, told),) = desk.gateway.taken
    assert desk.gateway.refused == []
    (notice,) = await desk.journal.notices(call.call_id)
    assert (message_id, told["type"]) == (notice.notice_id, "call.notice")
    assert (told["data"]["number"], told["data"]["call_id"]) == ("+420777123456", call.call_id)
    assert told["data"]["text"].endswith("https://example.org/r")
    assert (notice.state, notice.number_e164, notice.attempts) == ("sent", None, 1)
    kinds = [decode_json(row.entry)["kind"] for row in await desk.journal.audit_entries(0, 1000)]
    assert kinds[-2:] == ["notice.owed", "notice.sent"]


async def test_a_start_text_comes_while_the_call_goes_on(desk: Desk) -> None:
    early = await desk.call("777 123 456", when="start", seconds=1, ended=False)
    await desk.once()
    assert await desk.states(early) == []
    desk.clock.ahead = timedelta(seconds=10)
    await desk.once()
    assert [state for state, *_ in await desk.states(early)] == ["sent"]


async def test_who_gets_none_is_on_file_with_the_reason(desk: Desk) -> None:
    reasons = {}
    for number, seconds in (("anonymous", 30), ("1001", 30), ("+33612345678", 30), ("777 123 456", 2)):
        call = await desk.call(number, seconds=seconds)
        await desk.once()
        reasons[number] = (await desk.states(call))[0][:2]
    assert reasons == {
        "anonymous": ("dropped", "withheld"), "1001": ("dropped", "invalid"), "+33612345678": ("dropped", "country"),
        "777 123 456": ("dropped", "short"),
    }  # fmt: skip
    assert desk.gateway.raw == []


async def test_a_forged_caller_id_buys_one_text_a_day_and_a_flood_so_many_an_hour(desk: Desk) -> None:
    for _ in range(3):
        await desk.call("777 123 456")
    for n in range(8):
        await desk.call(f"777 123 00{n}")
    await desk.once()
    numbers = [told["data"]["number"] for _, told in desk.gateway.taken]
    assert len(numbers) == len(set(numbers)) == RULES.per_hour
    await desk.once()
    assert len(desk.gateway.taken) == RULES.per_hour
    alarms = [row.body["code"] for row in await desk.journal.outbox(1000) if row.type == "alarm.raised"]
    assert alarms == ["notices.hour_is_full"]
    desk.clock.ahead = timedelta(hours=2)
    await desk.call("777 123 456")
    await desk.call("777 123 007")
    await desk.once()
    assert len(desk.gateway.taken) == RULES.per_hour + 1


async def test_a_flood_at_a_broken_gateway_does_not_fill_the_alarms(desk: Desk) -> None:
    desk.gateway.answers = [lambda: web.Response(status=500)] * 100
    for n in range(RULES.per_hour):
        await desk.call(f"777 123 00{n}")
    for n in range(4):  # each pass: one call too many, and texts that fail again
        await desk.call(f"777 123 10{n}")
        await desk.once()
        desk.clock.ahead += timedelta(minutes=7)
    assert len(desk.gateway.raw) == 3 * RULES.per_hour
    alarms = [row.body["code"] for row in await desk.journal.outbox(1000) if row.type == "alarm.raised"]
    assert sorted(alarms) == ["notices.hour_is_full", "notices.not_sent"]


async def test_a_number_that_was_erased_meanwhile_is_not_sent(desk: Desk) -> None:
    calls = [await desk.call("777 123 456"), await desk.call("777 123 457")]
    real, posted = desk.notices._post, []

    async def erases_the_rest(*args: Any) -> Any:
        posted.append(args)
        for call in calls:
            row = await desk.journal.call(call.call_id)
            assert row is not None
            (notice,) = await desk.journal.notices(call.call_id)
            if notice.notice_id != args[2]["webhook-id"]:
                await desk.journal.begin_erase(row.recordings[0], None, "command")
                await desk.journal.finish_erase(
                    row.recordings[0], erased_at=makers.AT, cause="command", key_ids=(), receipt=None
                )
        return await real(*args)

    desk.notices._post = erases_the_rest  # type: ignore[method-assign]
    await desk.once()
    assert len(posted) == len(desk.gateway.raw) == 1
    assert sorted([(await desk.states(call))[0][:2] for call in calls]) == [("dropped", "erased"), ("sent", "")]


async def test_failures_are_tried_again_with_the_same_id_and_bytes(desk: Desk) -> None:
    desk.gateway.answers = [
        lambda: web.Response(status=500),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.Response(status=429, headers={"Retry-After": "2400"}),
    ]
    call = await desk.call("777 123 456")
    await desk.once()
    assert (await desk.states(call))[0] == ("waiting", "http_500", 1, "+420777123456")
    await desk.once()
    assert len(desk.gateway.raw) == 1, "not before its time"
    desk.clock.ahead += timedelta(seconds=10)
    await desk.once()
    assert (await desk.states(call))[0][1:3] == ("http_302", 2)
    desk.clock.ahead += timedelta(minutes=6)
    await desk.once()
    assert (await desk.states(call))[0][1:3] == ("http_429", 3)
    desk.clock.ahead += timedelta(minutes=39)
    await desk.once()
    assert len(desk.gateway.raw) == 3
    desk.clock.ahead += timedelta(minutes=2)
    await desk.once()
    assert (await desk.states(call))[0] == ("sent", "", 4, None)
    assert len({message_id for message_id, _ in desk.gateway.taken}) == len(set(desk.gateway.raw)) == 1


async def test_a_stale_attempt_is_refused_by_the_receiver(desk: Desk) -> None:
    desk.gateway.now = lambda: (desk.clock.wall() + timedelta(minutes=6)).timestamp()
    call = await desk.call("777 123 456")
    await desk.once()
    assert desk.gateway.refused == ["time"]
    assert (await desk.states(call))[0][:2] == ("waiting", "http_401")


async def test_a_gateway_may_ask_for_patience(desk: Desk) -> None:
    desk.gateway.answers = [lambda: web.Response(status=429, headers={"Retry-After": "240"})]
    await desk.call("777 123 456")
    await desk.once()
    desk.clock.ahead = timedelta(seconds=200)
    await desk.once()
    assert len(desk.gateway.raw) == 1
    desk.clock.ahead = timedelta(seconds=250)
    await desk.once()
    assert len(desk.gateway.raw) == 2


async def test_gone_is_dropped_and_what_never_works_is_given_up(desk: Desk) -> None:
    desk.gateway.answers = [lambda: web.Response(status=410)]
    gone = await desk.call("777 123 456")
    await desk.once()
    assert (await desk.states(gone))[0] == ("dropped", "gone", 1, None)
    assert desk.settings is not None
    desk.settings = replace(desk.settings, url="http://127.0.0.1:9/texts")  # the discard port: nobody listens
    lost = await desk.call("777 123 457")
    for _ in range(5):
        await desk.once()
        desk.clock.ahead += timedelta(hours=3)
    assert (await desk.states(lost))[0] == ("dropped", "unreachable", 5, None)
    alarms = [row.body["code"] for row in await desk.journal.outbox(1000) if row.type == "alarm.raised"]
    assert alarms == ["notices.not_sent"]


async def test_plain_http_leaves_this_machine_only_in_bad_dreams(desk: Desk) -> None:
    assert desk.settings is not None
    desk.settings = replace(desk.settings, url="http://texts.example/x")
    call = await desk.call("777 123 456")
    await desk.once()
    assert (await desk.states(call))[0] == ("dropped", "plain_http", 1, None)


async def test_a_wrong_secret_is_refused_by_the_receiver(desk: Desk) -> None:
    assert desk.settings is not None
    desk.settings = replace(desk.settings, keys=(bytes(32),))
    call = await desk.call("777 123 456")
    await desk.once()
    assert desk.gateway.refused == ["signature"]
    assert (await desk.states(call))[0][:2] == ("waiting", "http_401")


async def test_without_a_gateway_no_number_is_kept_for_it(desk: Desk) -> None:
    desk.gateway.answers = [lambda: web.Response(status=500)]
    call = await desk.call("777 123 456")
    await desk.once()
    desk.settings = None
    await desk.once()
    assert (await desk.states(call))[0] == ("dropped", "no_gateway", 1, None)


async def test_the_log_of_the_edge_has_no_number(desk: Desk) -> None:
    await desk.call("777 123 456")
    await desk.once()
    entries = json.dumps([row.entry for row in await desk.journal.audit_entries(0, 1000)])
    assert "777123456" not in entries
    assert "777123456" not in json.dumps([dict(row.body) for row in await desk.journal.outbox(1000)])
