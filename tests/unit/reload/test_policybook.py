"""Reload on a real journal: all or nothing, told, audited, and without touching what a call began under."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge.config import EdgeConfig, load
from edge.consent.ability import Ability
from edge.consent.policy import from_document
from edge.errors import CallwardenError
from edge.policybook import PolicyBook
from edge.prompts.report import reports
from edge.store.journal import Journal
from formats.age import X25519Identity
from formats.register import parse_report
from tests.unit.store.store_makers import open_journal

KEYS = [str(X25519Identity.generate(bytes([n]) * 32).recipient()) for n in (1, 2)]
MAIN = '[edge]\nid = "e"\n'
POLICY = f"""\
[policy.NAME]
mode = "opt_in"
purposes = ["quality"]
answer_window = "5s"
match = {{ did = ["+420 555 100 200"], queue = ["QUEUE"] }}
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
"""
WEAK = f"""\
[policy.weak]
mode = "notice"
jurisdiction = "DE"
basis = "contract"
basis_reference = "assessment 2026-03"
purposes = ["quality"]
override = {{ who = "the director", why = "DPIA 7", until = "2026-12-31" }}
recipients = ["{KEYS[0]}", "{KEYS[1]}"]
"""


class Clock:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def wall(self) -> datetime:
        return self.now

    def wall_text(self) -> str:
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def mono_ns(self) -> int:
        return 0


@dataclass
class Asked:
    policy_name: str = ""
    dialled: str = ""
    context: str = ""
    queue: str = ""


@dataclass
class World:
    folder: Path
    journal: Journal
    clock: Clock
    refuse: CallwardenError | None = None
    took_effect: int = 0

    async def look(self, config: EdgeConfig) -> Callable[[], None]:
        if self.refuse is not None:
            raise self.refuse

        def effect() -> None:
            self.took_effect += 1

        return effect

    def write(self, text: str, main: str = MAIN) -> None:
        (self.folder / "edge.toml").write_text(main)
        (self.folder / "conf.d").mkdir(exist_ok=True)
        (self.folder / "conf.d" / "p.toml").write_text(text)

    def book(self) -> PolicyBook:
        config = load(self.folder / "edge.toml", self.clock.now.date())
        return PolicyBook(config, self.journal, self.clock, self.look)

    async def audit(self, kind: str) -> list[dict[str, Any]]:
        entries = [json.loads(row.entry) for row in await self.journal.audit_entries(0, 1000)]
        return [e["body"] for e in entries if e["kind"] == kind]

    async def alarms(self) -> list[dict[str, Any]]:
        return [dict(row.body) for row in await self.journal.outbox(1000) if row.type == "alarm.raised"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    journal = await open_journal(tmp_path / "journal.db")
    found = World(tmp_path, journal, Clock())
    found.write(POLICY.replace("NAME", "support"))
    yield found
    await journal.close()


async def test_first_start_audits_every_policy_and_the_second_none(world: World) -> None:
    book = world.book()
    await book.begin()
    version = book.config.policies["support"].version
    assert await world.audit("policy.loaded") == [{"policy": "support", "old": None, "new": version}]
    await world.book().begin()
    assert len(await world.audit("policy.loaded")) == 1
    world.write(POLICY.replace("NAME", "other"))
    await world.book().begin()
    assert [(e["policy"], e["old"]) for e in (await world.audit("policy.loaded"))[1:]] == [
        ("other", None), ("support", version)
    ]  # fmt: skip


async def test_a_reload_changes_what_comes_and_not_what_runs(world: World) -> None:
    book = world.book()
    await book.begin()
    running = book.policy_for(Asked("support"))
    assert running is not None
    world.write(
        POLICY.replace("NAME", "support").replace('"5s"', '"7s"')
        + POLICY.replace("NAME", "new").replace("200", "300").replace("QUEUE", "new")
    )
    answer = await book.reload()
    later = book.policy_for(Asked("support"))
    assert later is not None
    assert (running.answer_window, later.answer_window) == (5, 7)
    assert from_document(running.document) == running, "a restarted daemon can know it again"
    assert answer["changed"] == ["new", "support"]
    assert "new (new)" in answer["says"]
    assert "support (changed)" in answer["says"]
    assert world.took_effect == 1
    assert {(e["old"], e["new"]) for e in await world.audit("policy.loaded") if e["policy"] == "support"} == {
        (None, running.version), (running.version, later.version)
    }  # fmt: skip
    assert book.policy_for(Asked(dialled="555100300")) is book.config.policies["new"]
    assert book.policy_for(Asked(dialled="1", queue="new")) is book.config.policies["new"]


async def test_a_policy_that_is_gone_is_gone(world: World) -> None:
    book = world.book()
    world.write("")
    answer = await book.reload()
    assert "support (gone)" in answer["says"]
    assert book.policy_for(Asked("support")) is None
    assert (await world.audit("policy.loaded"))[0]["new"] is None


async def test_a_bad_reload_keeps_the_old_and_says_file_line_and_fix(world: World) -> None:
    book = world.book()
    await book.begin()
    before = book.config
    world.write(POLICY.replace("NAME", "support").replace('"5s"', '"5 parsecs"'))
    with pytest.raises(CallwardenError) as caught:
        await book.reload()
    assert (caught.value.code, caught.value.where) == ("config.value", f"{world.folder}/conf.d/p.toml:4")
    assert caught.value.hint
    assert book.config is before
    assert world.took_effect == 0
    (alarm,) = await world.alarms()
    assert alarm["code"] == "config.reload_refused"
    assert caught.value.hint in alarm["message"]
    assert len(await world.audit("policy.loaded")) == 1
    world.write(POLICY.replace("NAME", "support"))
    assert "nothing has changed" in (await book.reload())["says"]


async def test_what_the_files_name_is_looked_at_before_anything_changes(world: World) -> None:
    book = world.book()
    before = book.config
    world.write(POLICY.replace("NAME", "support").replace('"5s"', '"7s"'))
    world.refuse = CallwardenError("prompt.says", "does not say it", hint="say it", where="x:1")
    with pytest.raises(CallwardenError, match="does not say it"):
        await book.reload()
    assert book.config is before
    assert [a["code"] for a in await world.alarms()] == ["config.reload_refused"]


async def test_what_needs_a_restart_is_named_and_left_alone(world: World) -> None:
    book = world.book()
    main = MAIN + 'spool = "/elsewhere"\n[asterisk]\nami_user = "other"\n[telephony]\ncountry = "DE"\n'
    world.write(POLICY.replace("NAME", "support"), main)
    answer = await book.reload()
    assert answer["restart"] == ["edge.spool", "asterisk.ami_user"]
    assert "restart" in answer["says"]
    assert answer["sections"] == ["telephony"]
    assert book.config.edge.spool == Path("/run/callwarden/spool")
    assert book.config.telephony.country == "DE"


async def test_a_standing_override_is_said_once_a_day_and_ends_the_policy_when_it_runs_out(world: World) -> None:
    world.write(WEAK)
    book = world.book()
    await book.begin()
    await book.say_what_stands()
    assert [a["code"] for a in await world.alarms()] == ["policy.override"]
    assert book.policy_for(Asked("weak")) is not None
    world.clock.now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    await book.say_what_stands()
    assert [a["code"] for a in await world.alarms()] == ["policy.override", "policy.override"]
    world.clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    with pytest.raises(CallwardenError) as refused:  # nothing is recorded on an override that has run out
        book.policy_for(Asked("weak"))
    assert refused.value.code == "policy.override_expired"
    await book.say_what_stands()
    assert (await world.alarms())[-1]["code"] == "policy.override_expired"
    assert [a.code for a in book.standing()] == ["policy.override_expired"]
    with pytest.raises(CallwardenError) as caught:
        await book.reload()
    assert caught.value.code == "policy.override_expired"


async def test_a_server_that_cannot_honour_a_policy_gets_no_call_under_it(world: World) -> None:
    book = world.book()
    old = Ability("16.28.0", mixmonitor=frozenset("ab"))
    await book.learn(old)
    await book.learn(old)
    with pytest.raises(CallwardenError) as refused:
        book.policy_for(Asked("support"))
    assert refused.value.code == "policy.cannot_honour"
    assert [a["code"] for a in await world.alarms()] == ["policy.cannot_honour"]
    with pytest.raises(CallwardenError) as caught:
        await book.reload()
    assert (caught.value.code, caught.value.where) == ("policy.cannot_honour", f"{world.folder}/conf.d/p.toml:1")
    world.write(POLICY.replace("NAME", "support") + "capture = { channels = 1 }\n")
    await book.reload()
    assert book.policy_for(Asked("support")) is not None


async def test_minimum(world: World) -> None:
    world.write(POLICY.replace("NAME", "support") + 'retention.minimum = "P7D"\n')
    book = world.book()
    terms = book.terms_of("support")
    assert terms is not None
    assert (terms.minimum, book.terms_of("gone")) == ("P7D", None)


async def test_a_month_without_a_key_records_nothing_and_is_alarmed_before_it_comes(world: World) -> None:
    world.write(
        POLICY.replace("NAME", "support").replace(f'"{KEYS[0]}", ', "")
        + f'epochs = "monthly"\nepoch_keys."2026-11" = "{KEYS[0]}"\n'
    )
    book = world.book()
    await book.begin()
    assert book.policy_for(Asked("support")) is not None
    assert [one["code"] for one in await world.alarms()] == ["recipient.epoch_ends"]
    world.clock.now = datetime(2026, 12, 1, 0, tzinfo=UTC)
    with pytest.raises(CallwardenError) as caught:
        book.policy_for(Asked("support"))
    assert caught.value.code == "recipient.epoch_missing"
    await book.say_what_stands()
    assert (await world.alarms())[-1]["code"] == "recipient.epoch_missing"


# ---------------------------------------------------------------- what central is told


def told(world: World, prompt: str = "May we?") -> PolicyBook:
    @dataclass
    class Said:
        version: str = "1.0"
        sha256: str = "00" * 32
        text: str = prompt

    config = load(world.folder / "edge.toml", world.clock.now.date())
    return PolicyBook(config, world.journal, world.clock, world.look, lambda of: reports(of, lambda i, lang: Said()))


async def events(world: World) -> list[dict[str, Any]]:
    return [dict(row.body) for row in await world.journal.outbox(1000) if row.type == "policy.loaded"]


async def test_central_is_told_of_every_policy_once_and_again_when_anything_about_it_changes(world: World) -> None:
    await told(world).begin()
    await told(world).begin()
    (first,) = await events(world)
    assert parse_report(first).document["purposes"] == ["quality"]
    assert {one["text"] for one in first["prompts"]} == {"May we?"}
    assert first["at"]
    await told(world, "May we record?").begin()
    second = (await events(world))[1]
    assert second["version"] == first["version"]
    assert second["prompts"] != first["prompts"]
    book = told(world, "May we record?")
    world.write(POLICY.replace("NAME", "other"), MAIN + '[keys]\nlocal = "' + KEYS[0] + '"\n')
    await book.reload()
    *_, other, gone = await events(world)
    assert (other["policy"], other["house"]["local"]) == ("other", True)
    assert {name: gone[name] for name in ("policy", "version")} == {"policy": "support", "version": None}
    assert set(await world.journal.policy_reports()) == {"other", "support"}
    await book.reload()
    assert len(await events(world)) == 4


async def test_a_resend_tells_the_last_report_of_each_with_its_time(world: World) -> None:
    await told(world).begin()
    await world.journal.begin_resend()
    first, again = await events(world)
    assert again == first


async def test_a_refused_reload_tells_nothing(world: World) -> None:
    book = told(world)
    await book.begin()
    world.write(POLICY.replace("NAME", "support").replace('"5s"', '"5 parsecs"'))
    with pytest.raises(CallwardenError):
        await book.reload()
    assert len(await events(world)) == 1
