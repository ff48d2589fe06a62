"""Options that many subcommands share, and what they hold. Imports nothing but click."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_CONFIG = Path("/etc/callwarden/edge.toml")


@dataclass
class Invocation:
    """What the global options said. config: path of edge.toml. passphrase_file: of `--identity`, None: ask."""

    config: Path = DEFAULT_CONFIG
    passphrase_file: Path | None = None


def edge_config(command: F) -> F:
    """Let `--config` also stand behind the subcommand, where fingers tend to put it."""

    def set_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.ensure_object(Invocation).config = value

    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=set_config,
        expose_value=False,
        help="The edge's configuration (default: as given before the command).",
    )(command)


def central_toml(command: F) -> F:
    """`--central-config`, or CENTRAL_CONFIG, of what works on a central of this host and asks none over the network."""
    return click.option(
        "--central-config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="CENTRAL_CONFIG",
        default=Path("/etc/callwarden/central/central.toml"),
        show_default=True,
    )(command)


def passphrase_file(command: F) -> F:
    """`--passphrase-file`, for commands that read an identity: `callwarden.passphrase` takes it from there."""

    def set_file(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
        if value is not None:
            ctx.ensure_object(Invocation).passphrase_file = value

    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="CALLWARDEN_PASSPHRASE_FILE",
        callback=set_file,
        expose_value=False,
        help="File (0600) with the passphrase of the identity on its first line; without it you are asked.",
    )(command)


def as_json(command: F) -> F:
    """`--json`: exactly one JSON document on stdout."""
    return click.option("--json", "json_", is_flag=True, help="Print one JSON document.")(command)


def register_document(command: F) -> F:
    """`--policy`, `--lang` and `--form` of whatever prints a document of the register."""
    form = click.option(
        "--form",
        type=click.Choice(["text", "html", "json", "csv"]),
        default="text",
        show_default=True,
        help="A text, a page, JSON, or a table that no spreadsheet computes.",
    )
    lang = click.option(
        "--lang",
        type=click.Choice(["en", "cs", "de", "sk", "fr", "es"]),
        help="Language of the words (default: en; of notices: all).",
    )
    policy = click.option("--policy", metavar="NAME", default="", help="Only of this policy.")
    return policy(lang(form(command)))


def config_path() -> Path:
    """The configuration of the running command."""
    return click.get_current_context().ensure_object(Invocation).config
