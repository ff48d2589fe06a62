"""`callwarden calls`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@edge_config
@as_json
def calls(json_: bool) -> None:
    """List calls and what was answered."""
    from callwarden.door import open_door
    from callwarden.output import print_json, print_table

    with open_door(config_path()) as door:
        rows = door.calls()
    if json_:
        print_json(rows)
        return
    print_table(
        ("started", "call", "caller", "policy", "mode", "outcome", "recordings"),
        (
            (
                r["started_at"],
                r["call_id"],
                r["caller"],
                r["policy"],
                r["mode"],
                r["outcome"] or r["state"],
                " ".join(r["recordings"]),
            )
            for r in rows
        ),
        empty="no call has entered yet",
    )
