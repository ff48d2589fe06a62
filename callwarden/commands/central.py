"""`callwarden central …`."""

from __future__ import annotations

import click

from callwarden.lazy import LazyGroup

_AT = "callwarden.commands."
_COMMANDS = {
    "add-key": (_AT + "central_setup:add_key", "Register the public key of a DPO or an auditor."),
    "backup": (
        _AT + "central_backup:backup",
        "Bring the backup of central in a folder up to date, while it runs: database and configuration, never keys.",
    ),
    "cancel": (
        _AT + "central_many:cancel",
        "Stop an order about a person or a policy before it destroys anything more.",
    ),
    "certificate": (
        _AT + "central_many:certificate",
        "Print the deletion certificate of an order that is complete; `callwarden receipt verify` checks it.",
    ),
    "enrol-token": (_AT + "central_setup:enrol_token", "Make a one-time token with which an edge enrols."),
    "erase": (
        _AT + "central_erase:erase",
        "Order a recording, a call, a person or a policy erased, and wait for a receipt, which goes to stdout.",
    ),
    "init": (_AT + "central_setup:init", "Make central's keys, CA, token, database and configuration."),
    "keeper": (
        _AT + "central_setup:keeper",
        "Run the keeper of recovery keys by itself, for several processes of central on one PostgreSQL.",
    ),
    "move": (_AT + "central_move:move", "Move central's rows from SQLite to PostgreSQL."),
    "locate": (
        _AT + "central_many:locate",
        "Find a person's calls at every edge: times, policy, length; no number comes back.",
    ),
    "order": (
        _AT + "central_order:order",
        "Order an edge to withdraw, pause or resume the recording of a call, and wait for its receipt (stdout).",
    ),
    "receipts": (_AT + "central_lists:receipts", "List the receipts that edges sent."),
    "recordings": (_AT + "central_lists:recordings", "List the recordings that edges reported."),
    "restore": (_AT + "central_backup:restore", "Put a backup of central back, while it is stopped."),
    "token": (_AT + "central_token:token", "Make, list and revoke the bearer tokens of people and programs."),
    "run": (_AT + "central_setup:run", "Run central."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def central() -> None:
    """The central store: set up, run, erase, look."""
