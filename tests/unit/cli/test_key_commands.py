"""`callwarden key list|rotate|retire`: who can open what, and how that is changed in files that people wrote."""

from __future__ import annotations

import asyncio
import stat
import tomllib
from pathlib import Path

import pytest

from callwarden import keyfiles
from callwarden.tomledit import add_to_list, set_text
from edge.config import load
from edge.errors import CallwardenError
from formats.age import parse_recipient
from tests.unit.cli import cli_makers as make
from tests.unit.cli.key_kit import new_reader, served, set_recipients


def policy_file(edge: make.Edge) -> Path:
    return edge.config.parent / "conf.d" / "support.toml"


async def test_the_list_says_who_opens_what(filled: make.Edge) -> None:
    edge = filled
    operator, recovery = edge.recipients
    with edge.config.open("a") as file:
        file.write(f'\n[keys]\nnames = {{ "{operator}" = "operator" }}\nlocal = "{operator}"\n')
    done = await asyncio.to_thread(make.process, "--config", edge.config, "key", "list", "--json")
    assert done.code == 0, done.err
    rows = {one["recipient"]: one for one in done.json["recipients"]}
    # Two segments of one recording, the truncated one, the live one; what was erased opens for nobody.
    assert rows[operator]["segments"] == rows[recovery]["segments"] == 4
    assert rows[operator]["policies"] == ["support"]
    assert (rows[operator]["name"], rows[operator]["local"], rows[operator]["recovery"]) == ("operator", True, False)
    assert (rows[recovery]["recovery"], rows[recovery]["presumed"]) == (True, True)
    assert rows[operator]["fingerprint"] == parse_recipient(operator).fingerprint
    assert {one["role"] for one in done.json["signing"]} == {"store", "witness", "dpo", "edge"}
    async with served(edge):
        live = await edge.arun("key", "list", "--json")
        assert live.json == done.json
        shown = await edge.arun("key", "list")
    assert "LIES ON THIS HOST" in shown.out
    assert "presumed" in shown.out
    checked = edge_findings(edge)
    assert ("recipient.local", "warning") in checked


def edge_findings(edge: make.Edge) -> list[tuple[str, str]]:
    from edge.config import check

    return [(one.code, one.severity) for one in check(load(edge.config))]


def test_rotate_prints_and_changes_nothing_unless_told(edge: make.Edge, tmp_path: Path) -> None:
    before = policy_file(edge).read_text()
    done = edge.run("key", "rotate", "-o", tmp_path / "new", "--json")
    assert done.code == 0, done.err
    assert policy_file(edge).read_text() == before
    assert done.json["changes"] == [
        {"policy": "support", "file": str(policy_file(edge)), "line": f'recipients: add "{done.json["recipient"]}"'}
    ]
    (identity,) = keyfiles.read_identities(tmp_path / "new")
    assert str(identity.recipient()) == done.json["recipient"]


def test_rotate_retire_and_back_again_is_refused(edge: make.Edge, tmp_path: Path) -> None:
    operator, recovery = edge.recipients
    file = policy_file(edge)
    before, mode = file.read_text(), stat.S_IMODE(file.stat().st_mode)
    done = edge.run("key", "rotate", "-o", tmp_path / "new", "--write")
    assert done.code == 0, done.err
    assert "nothing is revoked" in done.err
    new = done.out.strip()
    after = file.read_text()
    assert load(edge.config).policies["support"].recipients == (operator, recovery, new)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    # Every word that was there still is, comments included.
    assert [line for line in before.splitlines() if line not in after.splitlines()] == []
    refused = edge.run("key", "retire", operator)
    assert (refused.code, "[command.in_use]" in refused.err, "support" in refused.err) == (6, True, True)
    set_recipients(edge, new, recovery)
    fingerprint = parse_recipient(operator).fingerprint
    retired = edge.run("key", "retire", operator, "--json")
    assert retired.code == 0, retired.err
    assert (retired.json["fingerprint"], retired.json["already"]) == (fingerprint, False)
    assert load(edge.config).keys.retired == (operator,)
    assert edge.run("key", "retire", fingerprint[:8], "--json").json["already"] is True
    assert load(edge.config).keys.retired == (operator,)
    set_recipients(edge, operator, recovery)
    with pytest.raises(CallwardenError) as caught:
        load(edge.config)
    assert caught.value.code == "recipient.retired"
    unknown = edge.run("key", "retire", "age1unknown")
    assert unknown.code == 3  # the configuration comes first


def test_what_the_retired_can_still_open_is_said(filled: make.Edge, tmp_path: Path) -> None:
    operator, recovery = filled.recipients
    set_recipients(filled, new_reader(tmp_path / "new"), recovery)
    done = filled.run("key", "retire", operator)
    assert done.code == 0, done.err
    assert "still opens 4 stored segment(s)" in done.err


def test_a_new_kind_among_others_changes_nothing(edge: make.Edge, tmp_path: Path) -> None:
    before = policy_file(edge).read_text()
    done = edge.run("key", "rotate", "-o", tmp_path / "new", "--kind", "hybrid", "--write")
    assert (done.code, "[recipient.mixed]" in done.err) == (3, True)
    assert policy_file(edge).read_text() == before
    assert not (tmp_path / "new").exists()


def test_a_key_for_a_month(edge: make.Edge, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from edge.consent.epochs import month_of

    now = month_of(datetime.now(UTC).date())
    refused = edge.run("key", "rotate", "-o", tmp_path / "a", "--month", now)
    assert (refused.code, "[usage.month]" in refused.err) == (2, True)
    first = new_reader(tmp_path / "first")
    file = policy_file(edge)
    file.write_text(
        file.read_text().replace(
            "[policy.support]", f'[policy.support]\nepochs = "monthly"\nepoch_keys."{now}" = "{first}"'
        )
    )
    assert edge.run("key", "rotate", "-o", tmp_path / "a").code == 2  # for which month?
    done = edge.run("key", "rotate", "-o", tmp_path / "a", "--month", "2031-05", "--write")
    assert done.code == 0, done.err
    policy = load(edge.config).policies["support"]
    assert dict(policy.epoch_keys) == {now: first, "2031-05": done.out.strip()}
    again = edge.run("key", "rotate", "-o", tmp_path / "b", "--month", "2031-05", "--write")
    assert (again.code, "[config.edit]" in again.err) == (3, True)
    assert not (tmp_path / "b").exists()
    listed = edge.run("key", "list", "--json").json["policies"][0]
    assert (listed["epochs"], listed["months"]) == ("monthly", [now, "2031-05"])
    assert [one["recipient"] for one in listed["recipients"]] == [first, *edge.recipients]


LISTS = [
    ('a = ["x"]', 'a = ["x", "new"]'),
    ("a = []", 'a = ["new"]'),
    ("a = [ 'x' , ] # why", "a = [ 'x' , \"new\" ] # why"),
    ('a = [\n  "x",  # one\n  "y"   # two\n]\n', 'a = [\n  "x",  # one\n  "y",   # two\n  "new",\n]\n'),
    ('a = [\n  "x\\"]", # [\n]\n', 'a = [\n  "x\\"]", # [\n  "new",\n]\n'),
]


@pytest.mark.parametrize(("before", "after"), LISTS)
def test_a_value_is_added_where_a_person_would_put_it(before: str, after: str) -> None:
    assert add_to_list(before, ("a",), "new") == after


def test_a_table_that_is_not_there_is_made_at_the_end() -> None:
    text = '[edge]\nid = "e"  # mine'
    new = add_to_list(text, ("keys", "retired"), "x")
    assert new == '[edge]\nid = "e"  # mine\n\n[keys]\nretired = ["x"]\n'
    assert tomllib.loads(set_text(new, ("keys", "names", "age1"), "me"))["keys"]["names"] == {"age1": "me"}
    assert (
        add_to_list('[keys] # k\nlocal = ""\n', ("keys", "retired"), "x") == '[keys] # k\nretired = ["x"]\nlocal = ""\n'
    )


@pytest.mark.parametrize("text", ['a = """x"""', "a = 1", 'a = [["x"]]', 'a = ["""x"""]', "a = [1, 2"])
def test_what_cannot_be_edited_safely_is_left_alone(text: str) -> None:
    with pytest.raises((CallwardenError, tomllib.TOMLDecodeError)):
        add_to_list(text, ("a",), "new")


@pytest.mark.parametrize(
    "text",
    [
        '[p.m]\n"1" = "a"\n',
        '[p]\nm."1" = "a"\nx = 1\n',
        '[p]\nm = { "1" = "a" } # why\n',
        "[p]\nm = {}\n",
        "[p]\nx = 1\n",
        "",
    ],
)
def test_a_text_is_set_however_its_table_is_written(text: str) -> None:
    wanted = tomllib.loads(text)
    wanted.setdefault("p", {}).setdefault("m", {})["2026-12"] = "new"
    assert tomllib.loads(set_text(text, ("p", "m", "2026-12"), "new")) == wanted
