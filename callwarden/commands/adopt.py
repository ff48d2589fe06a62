"""`callwarden adopt FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from callwarden.options import as_json, config_path, edge_config
from edge.model.adoption import Basis


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@edge_config
@click.option("--policy", required=True, help="Whose recipients, purposes and retention hold for them from now on.")
@click.option("--basis", required=True, type=click.Choice(get_args(Basis)), help="Legal basis (GDPR Art. 6(1)).")
@click.option(
    "--reference", required=True, help="Where the basis is written down: notice, assessment, contract, with its date."
)
@click.option("--evidence", required=True, help="Where it is documented that people had agreed, or were told.")
@click.option("--timezone", required=True, help="What the times in file names and call records are in: Europe/Prague.")
@click.option(
    "--cdr",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Call records as CSV: an export of asteriskcdrdb.cdr with its column names, or Master.csv. May be repeated.",
)
@click.option("--apply/--dry-run", default=False, help="Do it. Default: only say what would be done.")
@click.option("--keep", is_flag=True, help="Leave the files where they are, in the clear.")
@click.option("--keep-names", is_flag=True, help="Store file names, which hold numbers, with the recordings.")
@click.option(
    "--settle",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds a file must have been left alone.",
)
@click.option(
    "--largest",
    default=2 << 30,
    show_default=True,
    type=click.IntRange(1),
    help="Bytes of the largest file that is read.",
)
@as_json
def adopt(
    folder: Path, policy: str, basis: str, reference: str, evidence: str, timezone: str, cdr: tuple[Path, ...],
    apply: bool, keep: bool, keep_names: bool, settle: float, largest: int, json_: bool,
) -> int:  # fmt: skip
    """Take over the recordings a PBX already has, and remove the files.

    FOLDER is FreePBX's monitor folder, or any folder of WAV files. Each is sealed under POLICY, read back, and only then
    removed. It may be interrupted at any time: run it again and it goes on. What is wrong with a file is listed at the
    end, and the file stays (exit code 75). As root it works with the rights of the folder's owner.
    """
    from callwarden.adopting import Adopting

    return Adopting(
        folder=folder, policy=policy, basis=basis, reference=reference, evidence=evidence, timezone=timezone, cdr=cdr,
        apply=apply, keep=keep, keep_names=keep_names, settle=settle, largest=largest,
    ).run(config_path(), json_=json_)  # fmt: skip
