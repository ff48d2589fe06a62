"""`callwarden key new`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def key() -> None:
    """Make keys."""


@key.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the secret goes (0600; an existing file is left alone).",
)
@click.option(
    "--kind",
    type=click.Choice(["reader", "dpo"]),
    default="reader",
    show_default=True,
    help="reader: an age identity that opens recordings; dpo: an Ed25519 key that signs orders.",
)
def new(output: Path, kind: str) -> None:
    """Make a key; its public half goes to stdout."""
    from datetime import UTC, datetime

    from callwarden import keyfiles
    from callwarden.output import note

    if kind == "reader":
        identity = keyfiles.new_identity()
        keyfiles.write_new(output, keyfiles.identity_text(identity, datetime.now(UTC), "callwarden: opens recordings"))
        print(identity.recipient())
        note(f"secret in {output}: keep it off the PBX; the line on stdout goes into `recipients` of a policy")
        return
    signing = keyfiles.new_signing_key()
    keyfiles.write_new(output, keyfiles.jwk_text(signing))
    import json

    print(json.dumps({**signing.verify_key.jwk(), "kid": signing.kid}))
    note(f"secret in {output}: it signs orders to erase; register the JWK on stdout with central")
