"""`callwarden key retire RECIPIENT`."""

from __future__ import annotations

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@click.argument("recipient", metavar="RECIPIENT")
@edge_config
@as_json
def retire(recipient: str, json_: bool) -> None:
    """Mark a recipient as no longer to be used. It revokes nothing.

    RECIPIENT is a public key, or 6 digits or more of its fingerprint. Refused while a policy names it. It goes into
    `[keys] retired` of the main file, and a configuration that names it again is refused. Its identity still opens what it
    could open: the answer says how many segments of this vault that is, and `callwarden key rewrap --from` changes them.
    """
    from callwarden import rotating
    from callwarden.keylist import described, facts, named
    from callwarden.output import note, print_json
    from edge.config import load
    from edge.consent.epochs import named_by
    from edge.errors import CallwardenError

    config = load(config_path())
    told = facts(config_path(), config)
    configured = [one for policy in config.policies.values() for one in named_by(policy)]
    everyone = list(dict.fromkeys([*configured, *told["segments"], *config.keys.names, *config.keys.retired]))
    found = named(recipient, everyone)
    left = int(told["segments"].get(found, 0))
    users = sorted(
        name for name, policy in config.policies.items() if found in named_by(policy)
    )  # fmt: skip
    if users:
        raise CallwardenError(
            "command.in_use",
            f"the policies still seal to it: {', '.join(users)}",
            hint="remove it from their recipients first, then `callwarden reload`",
            where=described(found)["fingerprint"],
        )
    already = found in config.keys.retired
    if not already:
        rotating.retire(config, found)
    document = {**described(found), "retired": True, "already": already, "segments": left}
    if json_:
        print_json(document)
        return
    print(f"{document['fingerprint']} is retired" + (" (it was already)" if already else ""))
    note(f"its identity still opens {left} stored segment(s), every copy taken out, and all it has opened before")
    if left:
        note(f"callwarden key rewrap --from {document['fingerprint']} gives them the recipients of their policies")
