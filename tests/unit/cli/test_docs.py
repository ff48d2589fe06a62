"""docs/cli.md has every command's own help, every exit code and every path of the local door.

Renew the help in it with: CALLWARDEN_WRITE_DOCS=1 python -m pytest tests/unit/cli/test_docs.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

import click

from callwarden.__main__ import cli
from edge.api.deps import ApiDeps
from edge.api.server import make_app
from edge.errors import Exit
from tests.unit.cli.cli_makers import process

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
BEGIN, END = "<!-- help begins -->\n", "<!-- help ends -->\n"


def paths(group: click.Group) -> list[list[str]]:
    context = click.Context(group)
    found: list[list[str]] = []
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        found += [[name, *rest] for rest in paths(one)] if isinstance(one, click.Group) else [[name]]
    return found


def helps() -> str:
    """What a person sees, from processes of their own: click keeps the first help option it made."""
    text = ""
    for path in paths(cli):
        done = process(*path, "--help", COLUMNS="100")
        assert done.code == 0, done.err
        text += f"### callwarden {' '.join(path)}\n\n```text\n{done.out.rstrip()}\n```\n\n"
    return text


def test_help_in_the_docs_is_the_commands_own() -> None:
    text = DOCS.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    old, _, tail = rest.partition(END)
    new = "\n" + helps()
    if os.environ.get("CALLWARDEN_WRITE_DOCS") == "1":
        DOCS.write_text(head + BEGIN + new + END + tail, "utf-8")
        return
    assert old == new


def test_every_exit_code_is_told() -> None:
    told = {int(n) for n in re.findall(r"^\| (\d+) \|", DOCS.read_text("utf-8"), re.MULTILINE)}
    assert told == {int(code) for code in Exit}


def test_every_path_of_the_local_door_is_told() -> None:
    text = DOCS.read_text("utf-8")
    app = make_app(cast(ApiDeps, cast(Any, None)))
    paths = {r.canonical for r in app.router.resources()}
    assert len(paths) >= 38
    assert [p for p in sorted(paths) if f"`{p}`" not in text] == []
