"""`callwarden why CALL`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@click.argument("call", metavar="CALL")
@edge_config
@as_json
def why(call: str, json_: bool) -> None:
    """Say why a call was recorded, or why not.

    CALL is a call id, its first 6 digits or more, Asterisk's linked id, or a channel's uniqueid. Of a call that began while
    no daemon was there a linked id, or a time (RFC 3339), is answered with when that was.
    """
    from callwarden.door import open_door
    from callwarden.explain import facts, sentence
    from callwarden.output import plain, print_json

    with open_door(config_path()) as door:
        row = door.why(call)
    if json_:
        print_json({"sentence": sentence(row), "facts": [{"what": w, "value": v} for w, v in facts(row)], **row})
        return
    print(plain(sentence(row)))
    for name, value in facts(row):
        print(f"  {name}: {plain(value)}")
