"""`callwarden resend`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@edge_config
@as_json
def resend(json_: bool) -> None:
    """Have the daemon tell central everything once more: for a central that lost its database.

    Calls, answers, recordings with their headers, what was erased, and every receipt go into the outbox again, as they are
    stored now. Central takes what it has already for what it is, so this may be repeated.
    """
    from callwarden.door import open_door
    from callwarden.output import note, print_json

    with open_door(config_path()) as door:
        done = door.resend()
    if json_:
        print_json(done)
        return
    print(f"{done['events']} events of {done['calls']} calls wait for central")
    note("`callwarden status` shows the outbox; what a retention has deleted here cannot be told again")
