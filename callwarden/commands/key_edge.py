"""`callwarden key change-edge`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command(name="change-edge")
@edge_config
@as_json
def change_edge(json_: bool) -> None:
    """Give this edge a new signing key, told to central by the old one. Stop the daemon first, start it afterwards.

    What the old key signed counts as before. Interrupted, run it again: it goes on with the key it had begun with.
    """
    from callwarden.edgekey import change
    from callwarden.output import note, print_json
    from edge.config import load

    done = change(load(config_path()))
    if json_:
        print_json({"old": done.old, "new": done.new, "told": done.told, "finished": done.finished})
        return
    print(f"old key {done.old} counts up to now\nnew key {done.new}")
    if not done.told:
        note("no central is configured: whoever verifies receipts of this edge needs its trust file")
    note("next: start the daemon, and make a backup")
