"""`callwarden key`: the group; its subcommands lie beside it."""

from __future__ import annotations

import click

from callwarden.lazy import LazyGroup

_AT = "callwarden.commands."
_COMMANDS = {
    "change-edge": (
        _AT + "key_edge:change_edge",
        "Give this edge a new signing key, told to central by the old one. Stop the daemon first, start it afterwards.",
    ),
    "list": (
        _AT + "key_list:list_",
        "Say who can open what: recipients, how many segments each opens, signing keys.",
    ),
    "new": (_AT + "key_new:new", "Make a key; its public half goes to stdout."),
    "retire": (_AT + "key_retire:retire", "Mark a recipient as no longer to be used. It revokes nothing."),
    "rotate": (
        _AT + "key_rotate:rotate",
        "Make a new reading identity and add its recipient to policies. The old one stays until it is retired.",
    ),
    "rewrap": (
        _AT + "key_rewrap:rewrap",
        "Give stored recordings the recipients their policy has now. It revokes nothing.",
    ),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def key() -> None:
    """Make keys, say who can open what, change who can."""
