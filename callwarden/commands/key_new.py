"""`callwarden key new`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import passphrase_file


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the secret goes (0600; an existing file is left alone).",
)
@click.option(
    "--kind",
    type=click.Choice(["reader", "hybrid", "dpo"]),
    default="reader",
    show_default=True,
    help="reader: an age identity that opens recordings; hybrid: the same, post-quantum; dpo: an Ed25519 key that signs"
    " orders.",
)
@click.option(
    "--passphrase", is_flag=True, help="Lock the identity with a passphrase (age, scrypt): `age -d` opens it too."
)
@passphrase_file
def new(output: Path, kind: str, passphrase: bool) -> None:
    """Make a key; its public half goes to stdout."""
    from datetime import UTC, datetime

    from callwarden import keyfiles
    from callwarden.output import note
    from callwarden.passphrase import passphrase_for

    if kind == "dpo":
        if passphrase:
            raise click.UsageError("--passphrase is for identities; a key that signs is a JWK, which has none")
        _signing(output)
        return
    keyfiles.refuse_existing(output)  # before somebody types a passphrase twice
    identity = keyfiles.new_hybrid_identity() if kind == "hybrid" else keyfiles.new_identity()
    content = keyfiles.identity_text(identity, datetime.now(UTC), "callwarden: opens recordings")
    if passphrase:
        content = keyfiles.locked(content, passphrase_for(output, new=True))
    keyfiles.write_new(output, content)
    print(identity.recipient())
    note(f"secret in {output}: keep it off the PBX; the line on stdout goes into `recipients` of a policy")
    if kind == "hybrid":
        note("all recipients of a policy must be post-quantum then; age before 1.3 does not open such files")


def _signing(output: Path) -> None:
    import json

    from callwarden import keyfiles
    from callwarden.output import note

    signing = keyfiles.new_signing_key()
    keyfiles.write_new(output, keyfiles.jwk_text(signing))
    print(json.dumps({**signing.verify_key.jwk(), "kid": signing.kid}))
    note(f"secret in {output}: it signs orders to erase; register the JWK on stdout with central")
