"""`callwarden key rotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file


@click.command()
@edge_config
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the new identity goes (0600; an existing file is left alone).",
)
@click.option("--policy", "policies", multiple=True, help="Only this policy; repeat (default: all that record).")
@click.option("--kind", type=click.Choice(["reader", "hybrid"]), default="reader", show_default=True)
@click.option("--month", metavar="YYYY-MM", help="For policies with a key a month: the month it is for.")
@click.option("--passphrase", is_flag=True, help="Lock the identity with a passphrase.")
@passphrase_file
@click.option("--write", is_flag=True, help="Change the policies' files; without it the change is only printed.")
@as_json
def rotate(
    output: Path,
    policies: tuple[str, ...],
    kind: str,
    month: str | None,
    passphrase: bool,
    write: bool,
    json_: bool,
) -> None:
    """Make a new reading identity and add its recipient to policies. The old one stays until it is retired.

    What is recorded from the next reload on can be opened by both. What is stored stays as it is: `callwarden key rewrap`
    gives it the new recipient. Nothing is revoked.
    """
    from datetime import UTC, datetime

    from callwarden import keyfiles, rotating
    from callwarden.output import note, print_json
    from callwarden.passphrase import passphrase_for
    from edge.config import load

    config = load(config_path())
    chosen = rotating.chosen(config, policies, month)
    keyfiles.refuse_existing(output)
    identity = keyfiles.new_hybrid_identity() if kind == "hybrid" else keyfiles.new_identity()
    recipient = str(identity.recipient())
    changes = rotating.changes(config, chosen, recipient, month)  # refused where the result would be no configuration
    content = keyfiles.identity_text(identity, datetime.now(UTC), "callwarden: opens recordings")
    if passphrase:
        content = keyfiles.locked(content, passphrase_for(output, new=True))
    keyfiles.write_new(output, content)
    if write:
        rotating.write(changes)
    document: dict[str, Any] = {
        "recipient": recipient,
        "identity": str(output),
        "written": write,
        "changes": [{"policy": c.policy, "file": str(c.file), "line": c.line} for c in changes],
    }
    if json_:
        print_json(document)
        return
    print(recipient)
    for c in changes:
        note(f"{'written to' if write else 'to be written in'} {c.file}, policy {c.policy}: {c.line}")
    note(f"secret in {output}: keep it off the PBX")
    note(
        "next: callwarden reload; then callwarden key rewrap for what is stored; then remove the old recipient from the"
    )
    note("policy, and callwarden key retire. Until then the old identity opens everything; nothing is revoked, ever.")
