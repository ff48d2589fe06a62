"""`callwarden central …`."""

from __future__ import annotations

import click

from callwarden.lazy import LazyGroup

_AT = "callwarden.commands."
_COMMANDS = {
    "add-key": (_AT + "central_setup:add_key", "Register the public key of a DPO or an auditor."),
    "balancing": (
        _AT + "central_register:balancing",
        "Print the balancing-test sheet of each policy on legitimate interests (GDPR Art. 6(1)(f)).",
    ),
    "backup": (
        _AT + "central_backup:backup",
        "Bring the backup of central in a folder up to date, while it runs: database and configuration, never keys.",
    ),
    "cancel": (
        _AT + "central_many:cancel",
        "Stop an order about a person or a policy before it destroys anything more.",
    ),
    "case": ("callwarden.commands.case:case", "Work on requests of data subjects."),
    "certificate": (
        _AT + "central_many:certificate",
        "Print the deletion certificate of an order that is complete; `callwarden receipt verify` checks it.",
    ),
    "edge": (_AT + "central_edge:edge", "The fleet's edges: look, approve, revoke."),
    "dpia": (
        _AT + "central_register:dpia",
        "Print the annex to the data protection impact assessment, per policy (GDPR Art. 35(7)).",
    ),
    "check": (
        _AT + "central_check:check",
        "Read central.toml and look at everything it names; exit 3 when something must be mended.",
    ),
    "contract-end": (
        _AT + "central_contract_end:contract_end",
        "Take everything under a policy out, verify it, order it erased at every edge, and fetch the certificate.",
    ),
    "enrol-token": (_AT + "central_setup:enrol_token", "Make a one-time token with which an edge enrols."),
    "erase": (
        _AT + "central_erase:erase",
        "Order a recording, a call, a person or a policy erased, and wait for a receipt, which goes to stdout.",
    ),
    "incident": (_AT + "central_incident:incident", "Incidents: look, note, assess within 72 hours, close."),
    "init": (_AT + "central_setup:init", "Make central's keys, CA, token, database and configuration."),
    "keeper": (
        _AT + "central_setup:keeper",
        "Run the keeper of recovery keys by itself, for several processes of central on one PostgreSQL.",
    ),
    "media": (_AT + "central_media:media", "Sealed audio that central keeps: list it, get it, verify it."),
    "move": (_AT + "central_move:move", "Move central's rows from SQLite to PostgreSQL."),
    "locate": (
        _AT + "central_many:locate",
        "Find a person's calls at every edge: times, policy, length; no number comes back.",
    ),
    "notices": (
        _AT + "central_register:notices",
        "Print what people hear and read, per policy and language (GDPR Art. 13).",
    ),
    "order": (
        _AT + "central_order:order",
        "Order an edge to withdraw, pause or resume the recording of a call, and wait for its receipt (stdout).",
    ),
    "order-file": (
        _AT + "central_carried:order_file",
        "Write an order into a file, to be carried to an edge that is cut off: `callwarden order apply FILE` there.",
    ),
    "orders": (
        _AT + "central_carried:orders",
        "List the orders, newest first, and which edges are missing; of one ORDER, how far each edge is.",
    ),
    "receipts": (_AT + "central_lists:receipts", "List the receipts that edges sent."),
    "recipients": (
        _AT + "central_register:recipients",
        "Print who gets recordings or their data, per policy.",
    ),
    "register": (
        _AT + "central_register:register",
        "Print the register of processing, made from the policies that edges run (GDPR Art. 30).",
    ),
    "recordings": (_AT + "central_lists:recordings", "List the recordings that edges reported."),
    "release": (
        _AT + "central_rules:release",
        "Order the hold or restriction HOLD (the number of the order that placed it) released. Two people sign, here.",
    ),
    "restore": (_AT + "central_backup:restore", "Put a backup of central back, while it is stopped."),
    "token": (_AT + "central_token:token", "Make, list and revoke the bearer tokens of people and programs."),
    "rewrap": (
        _AT + "central_rules:rewrap",
        "Order the edge of RECORDING to take its further headers in FILE, which `callwarden key rewrap --out` made.",
    ),
    "run": (_AT + "central_setup:run", "Run central."),
    "search": (
        _AT + "central_search:search",
        "Find the calls of a number among those that policies let central search.",
    ),
    "search-key": (
        _AT + "central_search:search_key",
        "Show the ids of the fleet's search keys, the newest last, or make a new one.",
    ),
    "set-keys": (
        _AT + "central_rules:set_keys",
        "Order edges to pin the key set in FILE (default: the keys that central has now) instead of what they pin.",
    ),
    "set-policy": (
        _AT + "central_rules:set_policy",
        "Order edges to use the table [policy.NAME] in FILE in the place of their own.",
    ),
    "take-receipts": (
        _AT + "central_carried:take_receipts",
        "Hand central the receipts in FILE, which `callwarden receipt carry` wrote at an edge. Exit 6: one was rejected.",
    ),
    "void": (
        _AT + "central_carried:void",
        "Give up the number of a delivery that an edge cannot get past. Its order goes again under the next one.",
    ),
    "webhook": (_AT + "central_webhook:webhook", "Receivers of webhooks and mail: look, try, send again."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def central() -> None:
    """The central store: set up, run, erase, look."""
