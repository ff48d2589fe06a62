"""The page about settings says what the code says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from callwarden import centralreference
from central.config import load
from central.errors import CentralError
from edge.config.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
CENTRAL = PAGE.with_name("central-configuration.md")


def test_page_is_the_sources() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "python -m edge.config.reference > docs/configuration.md"


def test_every_setting_has_a_reason_of_some_length() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `") and line.count(" | ") == 3]
    assert len(rows) > 40
    assert [row for row in rows if len(row.rsplit(" | ", 1)[1]) < 25] == []


def of_central(title: str) -> list[list[str]]:
    """The rows of a table of central's page: setting, kind, default, meaning."""
    (part,) = [one for one in CENTRAL.read_text("utf-8").split("\n## ")[1:] if one.startswith(f"`{title}`\n")]
    return [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]


def test_central_s_page_is_the_sources_and_says_why() -> None:
    hint = "python -m callwarden.centralreference > docs/central-configuration.md"
    assert CENTRAL.read_text(encoding="utf-8") == centralreference.render(), hint
    rows = [row for title, *_ in centralreference.TABLES for row in of_central(title)]
    assert len(rows) > 50
    assert [row for row in rows if len(row[3]) < 25] == []


@pytest.mark.parametrize("title", [title for title, *_ in centralreference.TABLES])
def test_central_s_page_has_every_key_that_is_read_and_no_other(tmp_path: Path, title: str) -> None:
    """A key that nobody knows is answered with those that are known."""
    path = tmp_path / "central.toml"
    path.write_text(f"{title}\nnobody_knows = 1\n")
    with pytest.raises(CentralError) as refused:
        load(path)
    name = f"{title.strip('[]')}.nobody_knows"
    assert (refused.value.code, refused.value.where) == ("config.unknown_key", f"{path}:2: {name}")
    tables = {"edges", "media", "cases", "webhooks", "mail"} if title == "[central]" else set()
    assert set(refused.value.hint.split(", ")) == {row[0].strip("`") for row in of_central(title)} | tables


def test_central_s_defaults_on_the_page_are_those_that_hold(tmp_path: Path) -> None:
    """The page's defaults written out are the same configuration as a file that says nothing."""
    path = tmp_path / "central.toml"
    path.write_text("[central]\n")
    silent = load(path)
    text = ""
    for title in ("[central]", "[central.edges]", "[central.media]", "[central.cases]"):
        given = [(name.strip("`"), default.strip("`")) for name, _, default, _ in of_central(title) if default]
        text += title + "".join(f"\n{name} = {default}" for name, default in given) + "\n"
    assert tomllib.loads(text)
    path.write_text(text)
    assert load(path) == silent


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[central]\nfleet = 'x'\nlevel = 9\n", 3, "central.level"),
        ("[central]\nconnections = 2.5\n", 2, "central.connections"),
        ("[central]\npoll_max_s = nan\n", 2, "central.poll_max_s"),
        ("[central]\nmedia = 3\n", 2, "central.media"),
        ("\n[central.media]\nstore = 's3'\n", 2, "central.media.bucket"),
        ("[central.media]\nstore = 's3'\nbucket = 'a.b'\n", 3, "central.media.bucket"),
        ("[central.edges]\n\nlag_s = 1\n", 3, "central.edges.lag_s"),
        ("[central.cases]\nrecord_days = -1\n", 2, "central.cases.record_days"),
        ("[central.webhooks.crm]\nurl = 'http://x'\nsecret = 's'\nevents = ['*']\n", 2, "central.webhooks.crm.url"),
        ("[central.mail]\nhost = 'h'\nto = ['a@b.org']\nfrom = 'nobody'\n", 4, "central.mail.from"),
        ("[central.mail]\nhost = 'h'\nto = []\n", 3, "central.mail.to"),
    ],
)
def test_what_is_wrong_in_central_s_file_is_said_where_it_stands(
    tmp_path: Path, text: str, line: int, key: str
) -> None:
    path = tmp_path / "central.toml"
    path.write_text(text)
    with pytest.raises(CentralError) as refused:
        load(path)
    assert refused.value.where == f"{path}:{line}: {key}"
    assert refused.value.hint


def test_what_is_no_toml_is_said_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "central.toml"
    path.write_text("[central]\nfleet = \n")
    with pytest.raises(CentralError) as refused:
        load(path)
    assert (refused.value.code, refused.value.where) == ("config.unreadable", f"{path}:2")
