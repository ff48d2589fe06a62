"""`callwarden audit verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from callwarden.door import Door


@click.group()
def audit() -> None:
    """Verify the audit log."""


@audit.command()
@edge_config
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key set to believe (default: the edge's own trust file; an auditor brings theirs).",
)
@as_json
def verify(trust: Path | None, json_: bool) -> None:
    """Recompute the whole log from its entries and check it against signed and cosigned checkpoints.

    Exit 7 when anything does not hold, naming where.
    """
    from dataclasses import asdict

    from callwarden.auditcheck import verify_log
    from callwarden.door import open_door
    from callwarden.keyfiles import read_trust
    from callwarden.output import print_json
    from edge.config import load

    keys = read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        heads = door.audit_checkpoints()  # first, so that the entries read after it reach at least as far
        verdict = verify_log(_entries(door), heads, keys)
    if json_:
        print_json({"verified": True, "self_witnessed": not verdict.witnesses, **asdict(verdict)})
        return
    print(f"{verdict.origin or 'the log'}: {verdict.size} entries, root {verdict.root}")
    print(f"signed by the edge up to {verdict.signed}, {verdict.unsigned} newer entries wait for the next checkpoint")
    if verdict.witnesses:
        print(f"cosigned by {', '.join(sorted(verdict.witnesses))} up to {verdict.cosigned}")
    else:
        print("self-witnessed: nobody but this edge vouches for it")


def _entries(door: Door) -> Iterator[dict[str, Any]]:
    start = 0
    while page := door.audit_entries(start, 2**40):
        yield from page
        start += len(page)
