"""`callwarden register` beside an edge, and `callwarden central register …` against a running central."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from callwarden.options import register_document
from edge.prompts.report import reports
from formats.ids import format_time
from formats.register import LANGUAGES
from tests.unit.central.central_kit import TestEdge, a_central
from tests.unit.cli import cli_makers as make
from tests.unit.register.register_kit import CONFIG, data, resolve


@pytest.fixture
def edge(tmp_path: Path, run_dir: Path) -> make.Edge:
    return make.make_edge(tmp_path / "etc", run_dir)


async def put_into_effect(edge: make.Edge) -> None:
    """As the daemon at its start."""
    async with make.opened(edge) as files:
        await files.journal.report_policies(reports(edge.loaded, resolve))


def test_before_anything_ran_only_the_files_can_be_read(edge: make.Edge, tmp_path: Path) -> None:
    asyncio.run(_empty_journal(edge))
    done = edge.run("register")
    assert (done.code, "[not_found.policy]" in done.err) == (5, True)
    assert "--from-files" in done.err
    found = edge.run("register", "--from-files", "--form", "json")
    assert found.code == 0, found.err
    (policy,) = [one for one in found.json["sections"] if one["key"].startswith("support@")]
    values = {row["key"]: row["values"] for row in policy["rows"]}
    name, version = policy["key"].split("@")
    assert edge.loaded.policies[name].version.startswith(version)
    assert values["in_force"] == ["edge-1, since to be filled in: since"]


async def _empty_journal(edge: make.Edge) -> None:
    async with make.opened(edge):
        pass


async def test_what_ran_last_is_told_with_its_time_whatever_the_files_say_now(edge: make.Edge, tmp_path: Path) -> None:
    await put_into_effect(edge)
    name = "support"
    file = edge.config.parent / "conf.d" / "support.toml"
    file.write_text(file.read_text().replace('mode = "opt_in"', 'mode = "manual"'))
    answers = tmp_path / "register.toml"
    answers.write_text('[controller]\nname = "Example, s.r.o."\n')
    done = await edge.arun("register", "dpia", "--policy", name, "--answers", answers)
    assert done.code == 0, done.err
    assert "mode = opt_in" in done.out
    assert "Controller: Example, s.r.o." in done.out
    assert "to be filled in: dpo" in done.out
    async with make.opened(edge) as files:
        at = (await files.journal.policy_reports())[name]["at"]
    assert f"edge-1, since {at}" in done.out
    page = await edge.arun("register", "notices", "--lang", "en", "--form", "html")
    assert page.out.startswith("<!doctype html>")
    assert resolve("ask", "en").text in page.out
    gone = await edge.arun("register", "--policy", "none")
    assert (gone.code, "[not_found.policy]" in gone.err) == (5, True)
    answers.write_text("controler = 1")
    bad = await edge.arun("register", "--answers", answers)
    assert (bad.code, "[config.register]" in bad.err, str(answers) in bad.err) == (3, True, True)


async def test_the_register_of_a_fleet(tmp_path: Path) -> None:
    async with a_central(tmp_path / "central") as central:
        edge, env = TestEdge(central), {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": str(central.config.token)}
        first, then = (format_time(central.wall() - timedelta(days=days)) for days in (9, 1))
        old = data(tmp_path)
        new = data(tmp_path, CONFIG.replace('remember = "P30D"', 'remember = "P60D"'))
        events = [{**one, "at": first} for one in old.values()] + [{**new["support"], "at": then}]
        await edge.send(*(edge.event(n, "policy.loaded", "", one) for n, one in enumerate(events, 1)))

        async def run(*args: str) -> make.Ran:
            return await asyncio.to_thread(make.process, "central", *args, **env)

        done = await run("register", "--policy", "support", "--form", "json")
        assert done.code == 0, done.err
        assert f"pbx-1, since {then}" in done.out
        for command in ("dpia", "balancing", "notices", "recipients"):
            done = await run(command, "--lang", "cs", "--form", "csv")
            assert done.code == 0, done.err
            table = list(csv.reader(io.StringIO(done.out)))
            assert {line[0] for line in table[1:]} == {command}
        day = (central.wall() - timedelta(days=3)).date().isoformat()
        changed = await run("register", "--since", day)
        assert "remember: P30D → P60D" in changed.out
        before = await run("dpia", "--until", day, "--policy", "support")
        assert "remember = P30D" in before.out
        bad = await run("register", "--since", "2026-13-40")
        assert (bad.code, "[usage.time]" in bad.err) == (2, True)
        missing = await run("dpia", "--policy", "none")
        assert (missing.code, "[not_found.policy]" in missing.err) == (5, True)


def test_the_languages_of_the_option_are_those_there_are() -> None:
    @register_document
    def command() -> None: ...

    (lang,) = [one for one in command.__click_params__ if one.name == "lang"]  # type: ignore[attr-defined]
    assert tuple(lang.type.choices) == LANGUAGES
