"""`callwarden central case list|show|person`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json


@click.command(name="list")
@central_config
@click.option("--open", "only_open", is_flag=True, help="Only those that are not closed.")
@as_json
def list_(central_config: Path | None, only_open: bool, json_: bool) -> None:
    """List the cases, with the day each must be answered by."""
    from callwarden.output import print_json, print_table

    rows = from_surroundings(central_config).pages("/v1/cases", "cases")
    rows = [one for one in rows if not (only_open and one["state"] == "closed")]
    if json_:
        print_json(rows)
        return
    print_table(
        ("case", "kind", "state", "received", "before", "extended", ""),
        (
            (
                r["ref"],
                r["kind"],
                r["state"],
                r["received_at"],
                r["due_at"],
                "yes" if r["extended_at"] else "",
                r["due"],
            )
            for r in rows
        ),
        empty="no request came yet",
    )


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option(
    "--policy", "policies", multiple=True, help="Of what was found, only this policy's (a queue has one); repeat."
)
@click.option(
    "--direction", type=click.Choice(["inbound", "outbound"]), help="Of what was found, only what came in, or went out."
)
@as_json
def show(central_config: Path | None, ref: str, policies: tuple[str, ...], direction: str | None, json_: bool) -> None:
    """Print a case: its steps, what was found, its orders and how far they are. A review needs all that was found."""
    from callwarden.output import note, print_json

    case = from_surroundings(central_config).get(f"/v1/cases/{ref}")
    found = case["matches"]
    case["matches"] = [
        one for one in found if (not policies or one["queue"] in policies) and direction in (None, one["direction"])
    ]
    if hidden := len(found) - len(case["matches"]):
        note(f"{hidden} further calls were found that are not shown")
    if json_:
        print_json(case)
        return
    _show(case)


def _show(case: dict[str, Any]) -> None:
    from callwarden.output import note, plain, print_table

    extended = ", extended" if case["extended_at"] else ""
    print(
        f"{case['ref']}: {case['kind']}, {case['state']}, to be answered before {case['due_at']}{extended} {case['due']}".rstrip()
    )
    print_table(
        ("at", "by", "step", "words"),
        ((e["at"], e["by"], e["act"], " / ".join(map(str, (e["words"] or {}).values()))) for e in case["entries"]),
        empty="",
    )
    print_table(
        ("call", "edge", "began", "seconds", "queue", "outcome", "recordings", "held", "in", "why"),
        (
            (
                m["call_id"], m["edge_id"], m["started_at"], m["seconds"], m["queue"], m["outcome"], m["recordings"],
                "yes" if m["held"] else "", {None: "?", True: "in", False: "out"}[m["included"]], m["reason"],
            )
            for m in case["matches"]
        ),
        empty="no call was found",
    )  # fmt: skip
    print_table(
        ("order", "what", "target", "answered", "results", "complete"),
        (
            (
                o["jti"], o["cmd"], o["target"], f"{o['answered']} of {o['edges']}",
                " ".join(f"{word}:{count}" for word, count in o["results"].items()), "yes" if o["complete"] else "",
            )
            for o in case["orders"]
        ),
        empty="nothing was ordered",
    )  # fmt: skip
    for one in case["packages"]:
        print(
            f"package {one['n']}: {one['at']}, {len(one['recordings'])} recording(s), {one['missing']} missing, to {plain(one['to'])}"
        )
    if case["shredded"]:
        note("what named the person was destroyed; dates, steps and orders are left")
    note(f"next: {', '.join(case['allowed']) or 'nothing'}")


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option("--reason", required=True, help="Why; it goes into the case.")
@as_json
def person(central_config: Path | None, ref: str, reason: str, json_: bool) -> None:
    """Print the numbers a case is about; that somebody looked is noted."""
    from callwarden.output import plain, print_json

    found = from_surroundings(central_config).post(f"/v1/cases/{ref}/person", {"text": reason})
    if json_:
        print_json(found)
        return
    for number in found["numbers"]:
        print(plain(number))
