"""`callwarden central edge set-key`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, central_toml


@click.command(name="set-key")
@click.argument("edge_id", metavar="EDGE")
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The trust file of that edge (trust.json), brought from its host by somebody you know.",
)
@click.option("--reason", required=True, help="Why, for central's log; an alarm says it too.")
@central_toml
@as_json
def set_key(edge_id: str, trust: Path, reason: str, central_config: Path, json_: bool) -> None:
    """Take an edge's key from its trust file, after central was put back.

    Its present key and the dates of those before go straight into central's database. For a central that was put back as it
    was before the edge changed its key: the edge is refused (auth.unknown_key). The trust file must name the key that is on
    file here as one of before. Whoever brings the file decides who is that edge.
    """
    import os

    from callwarden import keyfiles
    from callwarden.output import note, print_json
    from central.config import load
    from central.db import locally
    from central.fleet.handset import set_key as job
    from central.log import OwnLog
    from central.state import utc_now
    from edge.errors import CallwardenError
    from formats.ids import format_time

    if not 3 <= len(reason.strip()) <= 200 or not reason.isprintable():
        raise CallwardenError("usage.reason", "say why, in 3 to 200 characters", where="--reason")
    keys, now = keyfiles.read_trust(trust), format_time(utc_now())
    done = locally(
        load(central_config), lambda conn: job(conn, OwnLog(), now, edge_id, keys, reason.strip(), os.getuid())
    )
    if json_:
        print_json({"edge_id": edge_id, "old": done[0] if done else None, "new": done[1] if done else None})
    elif done is None:
        print("this is its key already")
    else:
        print(f"old key {done[0]}\nnew key {done[1]}")
        note("a running central takes it up within 5 seconds")
