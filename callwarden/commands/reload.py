"""`callwarden reload`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@edge_config
@as_json
def reload(json_: bool) -> None:
    """Have the daemon read its policies anew, without dropping calls.

    Calls that go on keep the policy they began under. A configuration with a mistake changes nothing: the old one stays,
    and file, line and fix are printed.
    """
    from callwarden.door import open_door
    from callwarden.output import plain, print_json

    with open_door(config_path()) as door:
        done = door.reload()
    if json_:
        print_json(done)
    else:
        print(plain(done.get("says") or "read anew"))
