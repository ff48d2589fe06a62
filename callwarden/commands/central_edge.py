"""`callwarden central edge list|show|approve|revoke`; `set-key` lies beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.lazy import LazyGroup
from callwarden.options import as_json

_AT = "callwarden.commands.central_edge:"
_COMMANDS = {
    "approve": (_AT + "approve", "Let an edge in that waits, once its code was compared."),
    "list": (_AT + "list_", "List edges with their standing, how they fare and what is alarming."),
    "revoke": (_AT + "revoke", "Shut an edge out for good: lost, stolen or copied."),
    "set-key": (
        "callwarden.commands.central_edge_key:set_key",
        "Take an edge's key from its trust file, after central was put back.",
    ),
    "show": (_AT + "show", "Show one edge with its last heartbeat and the keys it had."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def edge() -> None:
    """The fleet's edges: look, approve, revoke."""


@click.command(name="list")
@central_config
@click.option("--alarming", is_flag=True, help="Only those at which an alarm stands, or that wait for approval.")
@as_json
def list_(central_config: Path | None, alarming: bool, json_: bool) -> None:
    """List edges with their standing, how they fare and what is alarming."""
    from callwarden.output import print_json, print_table

    rows = from_surroundings(central_config).pages("/v1/edges", "edges", by="edge_id", start="")
    if alarming:
        rows = [row for row in rows if row["alarms"] or row["state"] == "waiting"]
    if json_:
        print_json(rows)
        return
    print_table(
        ("edge", "state", "last seen", "ready", "live", "waiting", "unsealed", "certificate until", "alarms"),
        (_line(row) for row in rows),
        empty="no such edge",
    )


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    beat = row["heartbeat"] or {}
    known = bool(beat)
    return (
        row["edge_id"],
        row["state"],
        row["last_seen_at"],
        ("yes" if beat["ready"] else "no") if known else None,
        beat["live"] if known else None,
        f"{beat['outbox']} ({beat['oldest']:.0f} s)" if known else None,
        f"{beat['unsealed']:.0f} s" if known else None,
        row["certificate_ends"],
        " ".join(row["alarms"]),
    )


@click.command()
@central_config
@click.argument("edge_id", metavar="EDGE")
@as_json
def show(central_config: Path | None, edge_id: str, json_: bool) -> None:
    """Show one edge with its last heartbeat and the keys it had."""
    from callwarden.output import print_json

    _print(from_surroundings(central_config).get(f"/v1/edges/{_named(edge_id)}"), json_, print_json)


@click.command()
@central_config
@click.argument("edge_id", metavar="EDGE")
@click.option("--code", required=True, help="What the edge printed when it enrolled.")
@as_json
def approve(central_config: Path | None, edge_id: str, code: str, json_: bool) -> None:
    """Let an edge in that waits, once its code was compared. Read the code from the edge itself, not from here."""
    from callwarden.output import print_json

    answer = from_surroundings(central_config).post(f"/v1/edges/{_named(edge_id)}/approve", {"code": code})
    _print(answer, json_, print_json)


@click.command()
@central_config
@click.argument("edge_id", metavar="EDGE")
@click.option("--reason", required=True, help="Why, for central's log.")
@as_json
def revoke(central_config: Path | None, edge_id: str, reason: str, json_: bool) -> None:
    """Shut an edge out for good: lost, stolen or copied. In effect within 5 seconds on every process of central.

    What it signed before still counts. Its name and its key are never taken again.
    """
    from callwarden.output import print_json

    answer = from_surroundings(central_config).post(f"/v1/edges/{_named(edge_id)}/revoke", {"reason": reason})
    _print(answer, json_, print_json)


def _named(edge_id: str) -> str:
    from urllib.parse import quote

    return quote(edge_id, safe="")


def _print(row: dict[str, Any], json_: bool, print_json: Any) -> None:
    from callwarden.output import plain

    if json_:
        print_json(row)
        return
    beat = row.pop("heartbeat") or {}
    alarms, keys = row.pop("alarms"), row.pop("former_keys")
    for name, value in row.items():
        if value is not None:
            print(f"{name}: {plain(str(value))}")
    for name, value in beat.items():
        print(f"heartbeat {name}: {plain(str(value))}")
    for one in keys:
        print(f"former key: {one['kid']} until {one['retired_at']}")
    for code, message in alarms.items():
        print(f"alarm {code}: {plain(message)}")
