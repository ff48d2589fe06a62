"""`callwarden central search|search-key`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json


@click.command()
@click.argument("number")
@central_config
@click.option("--purpose", required=True, help='What for: one that the answers grant, or "data_subject_request".')
@click.option("--reason", required=True, help="Why; goes into central's log. Without the number.")
@click.option("--case", default="", help="The case it belongs to.")
@click.option(
    "--country", default="", help='Where a national spelling is at home: "CZ" (default: as central is configured).'
)
@click.option("--since", metavar="TIME", help="Only calls that began then or later (RFC 3339).")
@click.option("--until", metavar="TIME", help="Only calls that began before.")
@click.option("--edge", default="", help="Only of this edge.")
@click.option("--policy", "policies", multiple=True, help="Only calls under this policy (a queue has one); repeat.")
@click.option("--direction", type=click.Choice(["inbound", "outbound"]), help="Only calls that came in, or went out.")
@as_json
def search(
    number: str, central_config: Path | None, purpose: str, reason: str, case: str, country: str, since: str | None,
    until: str | None, edge: str, policies: tuple[str, ...], direction: str | None, json_: bool,
) -> None:  # fmt: skip
    """Find the calls of a number among those that policies let central search.

    NUMBER in any spelling; "-" reads it from standard input, so that it is in no list of processes. How many calls could not be
    searched is said; `callwarden central locate` asks the edges for those.
    """
    from callwarden.output import note, print_json, print_table

    wanted = sys.stdin.readline().strip() if number == "-" else number
    words = {"case": case, "country": country, "since": since, "until": until, "edge": edge, "direction": direction} | {
        "policy": list(policies)
    }
    body = {"number": wanted, "purpose": purpose, "reason": reason} | {name: one for name, one in words.items() if one}
    answer = from_surroundings(central_config).post("/v1/calls/search", body)
    if json_:
        print_json(answer)
        return
    print_table(
        ("call", "edge", "started", "policy", "outcome", "recordings"),
        (_row(one) for one in answer["calls"]),
        empty="no call of this number is known here",
    )
    for text in _beside(answer):
        note(text)


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    opened = one["opened"] or {}
    return (
        one["call_id"], one["edge_id"], opened.get("started_at", ""), opened.get("policy_id", ""), one["outcome"] or "",
        len(one["recordings"]),
    )  # fmt: skip


def _beside(answer: dict[str, Any]) -> list[str]:
    refused, missed = answer["refused"], answer["not_searched"]
    said = [
        (answer["more"], "more: narrow it with --since, --until, --edge, --policy or --direction"),
        (refused["purpose"], "of this number, whose answer does not cover the purpose"),
        (refused["restricted"], "of this number, restricted: only for legal_claims, with --case"),
        (missed["no_number"], "not searched: their number did not come to central"),
        (missed["gone"], "not searched: their number was forgotten"),
        (missed["other_key"], "not searched: hashed under a key that was destroyed"),
        (missed["not_opened"], "of this number: nothing says yet of which policy and direction they are"),
    ]
    return [f"{count} {text}" for count, text in said if count] + ([answer["hint"]] if answer["hint"] else [])


@click.command(name="search-key")
@click.option(
    "--central-config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Central's central.toml, here.",
)
@click.option("--new", "new", is_flag=True, help="Make a new key; edges hash with it from their next batch on.")
@click.option(
    "--retire", is_flag=True, help="With --new: destroy the older keys. What was hashed under them is found no more."
)
@as_json
def search_key(central_config: Path, new: bool, retire: bool, json_: bool) -> None:
    """Show the ids of the fleet's search keys, the newest last, or make a new one."""
    from callwarden.output import note, print_json
    from central.config import load
    from central.errors import CentralError
    from central.minimise import ring
    from edge.errors import CallwardenError

    if retire and not new:
        raise CallwardenError("usage.retire", "--retire goes with --new", where="--retire")
    path = load(central_config).search_keys
    try:
        keys = (ring.rotate(path, retire=retire) if new else ring.read_ring(path)).keys
    except CentralError as error:
        raise CallwardenError(error.code, error.message, hint=error.hint, where=error.where) from error
    if json_:
        print_json({"file": str(path), "keys": [one.id for one in keys]})
        return
    for one in keys:
        print(one.id)
    if new:
        note(f"{path}: edges fetch the new key when they next report something")
