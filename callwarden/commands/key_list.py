"""`callwarden key list`."""

from __future__ import annotations

from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config


@click.command(name="list")
@edge_config
@as_json
def list_(json_: bool) -> None:
    """Say who can open what: recipients, how many segments each opens, signing keys.

    The recovery key is the one that `[keys] recovery` names; where it names none, the last of a policy's recipients is
    presumed to be it. Segments are those stored now; a recipient that no policy names may still open some.
    """
    from callwarden import keyfiles, keylist
    from callwarden.output import print_json
    from edge.config import load

    config = load(config_path())
    trust = keyfiles.read_trust(config.edge.trust_file)
    document = keylist.document(keylist.facts(config_path(), config), config.keys, trust)
    if json_:
        print_json(document)
        return
    _tell(document)


def _tell(document: dict[str, Any]) -> None:
    from callwarden.output import plain

    for policy in document["policies"]:
        months = f", a key a month ({policy['months'] or 'none'})" if policy["epochs"] else ""
        print(f"policy {plain(policy['policy'])}{months}")
        for one in policy["recipients"]:
            print(f"  {_line(one)}")
    print("\nrecipients")
    for one in document["recipients"]:
        print(f"  {_line(one)}: {one['segments']} segment(s); policies: {', '.join(one['policies']) or 'none'}")
        print(f"    {one['recipient']}")
    print("\nsigning keys (trust file)")
    for key in document["signing"]:
        ended = f", retired {key['retired']}" if key["retired"] else ""
        print(f"  {key['role']:8} {plain(key['owner'])}: {key['kid']}{ended}")


def _line(one: dict[str, Any]) -> str:
    from callwarden.output import plain

    marks = [
        word
        for word, there in (
            ("recovery" + (" (presumed: the last listed)" if one["presumed"] else ""), one["recovery"]),
            ("retired", one["retired"]),
            ("LIES ON THIS HOST", one["local"]),
        )
        if there
    ]
    name = f" {plain(one['name'])}" if one["name"] else ""
    return f"{one['fingerprint']} {one['kind']}{name}" + (f" [{', '.join(marks)}]" if marks else "")
