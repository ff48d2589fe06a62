"""`callwarden key`: the group; its subcommands lie beside it."""

from __future__ import annotations

import click

from callwarden.lazy import LazyGroup

_AT = "callwarden.commands."
_COMMANDS = {
    "new": (_AT + "key_new:new", "Make a key; its public half goes to stdout."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def key() -> None:
    """Make keys."""
