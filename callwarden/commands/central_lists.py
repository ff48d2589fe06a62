"""`callwarden central receipts|recordings`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json


@click.command()
@central_config
@click.option("--recording", help="Only of this recording.")
@click.option("--jti", help="Only answers to this order.")
@as_json
def receipts(central_config: Path | None, recording: str | None, jti: str | None, json_: bool) -> None:
    """List the receipts that edges sent."""
    from callwarden.output import print_json, print_table

    only = {name: value for name, value in (("recording_id", recording), ("jti", jti)) if value}
    rows = from_surroundings(central_config).pages("/v1/receipts", "receipts", **only)
    if json_:
        print_json(rows)
        return
    print_table(
        ("received", "receipt", "edge", "order", "n", "result", "recording"),
        (
            (r["received_at"], r["receipt_id"], r["edge_id"], r["jti"], r["n"], r["result"], r["recording_id"])
            for r in rows
        ),
        empty="no receipt came yet",
    )


@click.command()
@central_config
@click.option("--purpose", default="", help="What they are read for: one that the answers grant (default: the first).")
@click.option("--case", default="", help="The number of a case, for central's log.")
@as_json
def recordings(central_config: Path | None, purpose: str, case: str, json_: bool) -> None:
    """List the recordings that edges reported; of those that this purpose does not cover, or that are restricted, no more than
    that there are."""
    from callwarden.output import print_json, print_table

    wanted = {name: text for name, text in (("purpose", purpose), ("case", case)) if text}
    rows = from_surroundings(central_config).pages("/v1/recordings", "recordings", **wanted)
    if json_:
        print_json(rows)
        return
    print_table(
        ("recording", "edge", "call", "state", "segments", "keys kept"),
        (
            (
                r["recording_id"],
                r["edge_id"],
                r["call_id"],
                f"{r['state']} (refused: {r['refused']})" if r.get("refused") else r["state"],
                len(r["segments"]),
                sum(1 for h in r["headers"] if h["kept"]),
            )
            for r in rows
        ),
        empty="no recording was reported yet",
    )
