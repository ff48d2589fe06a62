"""`callwarden central orders|order-file|take-receipts|void`: how far orders are, and what is carried where no link goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json

_OUT = click.Path(path_type=Path, dir_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@central_config
@click.argument("jti", metavar="[ORDER]", required=False)
@as_json
def orders(central_config: Path | None, jti: str | None, json_: bool) -> None:
    """List the orders, newest first, and which edges are missing; of one ORDER, how far each edge is."""
    from callwarden.output import print_json, print_table

    client = from_surroundings(central_config)
    if jti is not None:
        answer = client.get(f"/v1/orders/{jti}")
        if json_:
            print_json({name: answer[name] for name in ("jti", "cmd", "target", "at", "complete", "progress")})
        else:
            show_progress(answer)
        return
    found: list[dict[str, Any]] = []
    page = client.get("/v1/orders")
    found += page["orders"]
    while page["next"]:
        page = client.get("/v1/orders", before=page["next"])
        found += page["orders"]
    if json_:
        print_json(found)
        return
    print_table(
        ("ordered", "order", "what", "edges", "answered", "missing", "case"),
        (
            (
                one["at"], one["jti"], f"{one['cmd']} {one['target']['kind']}", one["edges"], one["answered"],
                " ".join(one["missing"][:5]) + (" …" if len(one["missing"]) > 5 else ""), one["case_ref"] or "",
            )
            for one in found
        ),
        empty="nothing was ordered yet",
    )  # fmt: skip


def show_progress(answer: dict[str, Any]) -> None:
    """How far each edge is, as a table."""
    from callwarden.output import note, plain, print_table

    print_table(
        ("edge", "number", "state", "result", "calls", "recordings gone", "destroys from", "looks until", "last seen"),
        (
            (
                one["edge_id"], one["seq"], one["state"], one["result"] or "", one["calls"], one["done"],
                one["shred_at"] or "", one["due_at"] or "", one["last_seen_at"] or "never",
            )
            for one in answer["progress"]
        ),
        empty="no edge is to get it",
    )  # fmt: skip
    for one in answer["progress"]:
        if one["reason"]:
            note(f"edge {plain(one['edge_id'])}: {plain(one['reason'])}")


@click.command()
@central_config
@click.argument("jti", metavar="ORDER")
@click.option(
    "--out", type=_OUT, required=True, help="File to write; of a person it holds the number, so keep it safe."
)
def order_file(central_config: Path | None, jti: str, out: Path) -> None:
    """Write an order into a file, to be carried to an edge that is cut off: `callwarden order apply FILE` there."""
    from callwarden.keyfiles import write_new
    from callwarden.output import note

    answer = from_surroundings(central_config).get(f"/v1/orders/{jti}/file")
    write_new(out, (json.dumps(answer, indent=1) + "\n").encode())
    note(f"at the edge: callwarden order apply {out}; then callwarden receipt carry {jti} --out RECEIPTS")


@click.command()
@central_config
@click.argument("file", type=_FILE)
def take_receipts(central_config: Path | None, file: Path) -> int:
    """Hand central the receipts in FILE, which `callwarden receipt carry` wrote at an edge. Exit 6: one was rejected."""
    from callwarden.output import print_json
    from edge.errors import CallwardenError, Exit

    try:
        value = json.loads(file.read_text("utf-8"))
        body = {"edge_id": value["edge_id"], "receipts": value["receipts"]}
    except (ValueError, KeyError, TypeError) as error:
        hint = "callwarden receipt carry writes one"
        raise CallwardenError("usage.receipts", "the file has no receipts", hint=hint, where=str(file)) from error
    results = from_surroundings(central_config).post("/v1/receipts", body)["results"]
    print_json({"edge_id": body["edge_id"], "results": results})
    return int(Exit.REFUSED if any(one.startswith("rejected") for one in results) else Exit.DONE)


@click.command()
@central_config
@click.argument("edge", metavar="EDGE")
@click.argument("number", type=click.IntRange(1))
@click.option("--reason", required=True, help="Why; goes into central's log.")
def void(central_config: Path | None, edge: str, number: int, reason: str) -> None:
    """Give up the number of a delivery that an edge cannot get past. Its order goes again under the next one."""
    from callwarden.output import note, print_json

    path = f"/v1/edges/{edge}/deliveries/{number}/void"
    answer = from_surroundings(central_config).post(path, {"reason": reason})
    print_json(answer)
    note(f"delivered anew as {answer['again']}" if answer["again"] else "its order may be taken no more")
