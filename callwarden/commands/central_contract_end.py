"""`callwarden central contract-end`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import config_path, edge_config, passphrase_file

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("contract-end")
@central_config
@edge_config
@click.option("--policy", "policies", metavar="NAME", multiple=True, help="The policy that ends; repeat for several.")
@click.option("--fleet", is_flag=True, help="Every policy that any edge ever reported.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where everything goes."
)
@click.option("--dpo-key", "dpo_keys", type=_FILE, required=True, multiple=True, help="A DPO's secret key file; twice.")
@click.option("--reason", help="Why; goes into the order, the receipts and both logs.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option("--exported-to", metavar="WHERE", help="To whom the folder was handed over; goes into the order.")
@click.option("-i", "--identity", type=_FILE, help="Open every age file to its end before anything is erased.")
@passphrase_file
@click.option("--trust", type=_FILE, help="The key set to believe of recordings (default: the edge's trust file).")
@click.option("--export-only", is_flag=True, help="Take out and verify; order nothing. For the hosts of further edges.")
@click.option(
    "--no-export", is_flag=True, help="This host has no edge, or not one of these: the folder has everything."
)
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 86400), help="Seconds to wait.")
@click.option("--yes", is_flag=True, help="Do not ask before the order is signed.")
def contract_end(central_config: Path | None, policies: tuple[str, ...], fleet: bool, **options: Any) -> int:
    """Take everything under a policy out, verify it, order it erased at every edge, and fetch the certificate.

    It reads audio where it lies, so it runs on the edge's host. An interrupted run is begun again, and goes on where it was.
    Exit 0: erased and certified. 6: refused. 7: the export is not whole. 75: under way; run it again.
    """
    from callwarden.contractend.walk import Asked, walk
    from edge.errors import CallwardenError, Exit

    if bool(policies) == fleet:
        raise CallwardenError("usage.target", "name --policy or --fleet", where="contract-end")
    client = None if options["export_only"] and not fleet else from_surroundings(central_config)
    done = walk(client, policies, Asked(config=config_path(), **options))
    return int(Exit.DONE if done else Exit.PENDING)
