"""`callwarden recordings`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@edge_config
@as_json
def recordings(json_: bool) -> None:
    """List recordings and their segments."""
    from callwarden.door import open_door
    from callwarden.output import print_json, print_table

    with open_door(config_path()) as door:
        rows = door.recordings()
    if json_:
        print_json(rows)
        return
    print_table(
        ("recording", "call", "state", "ending", "seconds", "segments", "suite", "flags"),
        (
            (
                r["recording_id"],
                r["call_id"],
                r["state"],
                r["ending"],
                f"{r['seconds']:.1f}" if r["seconds"] is not None else None,
                len(r["segments"]),
                r["suite"],
                " ".join([*(flag for flag in ("held", "reported") if r.get(flag)), *r["marks"]]),
            )
            for r in rows
        ),
        empty="no recording is kept",
    )
