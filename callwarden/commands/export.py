"""`callwarden export RECORDING`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from callwarden.options import as_json, config_path, edge_config


@click.command()
@click.argument("recording", metavar="RECORDING")
@edge_config
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to make (0600)."
)
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The age identity file that opens it. It is read by this process alone.",
)
@click.option("--raw-age", is_flag=True, help="Keep it encrypted: one .age file per segment, for the stock age tool.")
@click.option("--partial", is_flag=True, help="Of a recording that still runs, take what is sealed so far.")
@click.option(
    "--purpose", default="unstated", show_default=True, help="Why; a word or a case number for the audit log."
)
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key set to believe (default: the edge's trust file).",
)
@as_json
def export(
    recording: str,
    output: Path,
    identity: Path | None,
    raw_age: bool,
    partial: bool,
    purpose: str,
    trust: Path | None,
    json_: bool,
) -> None:
    """Decrypt a recording into a WAV file, or take it out as age files.

    RECORDING is an id or its first 6 digits or more. Every export leaves entries in the audit log.
    """
    if raw_age == bool(identity):
        raise click.UsageError("give --identity FILE to decrypt, or --raw-age to keep it encrypted")
    from callwarden import keyfiles
    from callwarden.door import open_door
    from callwarden.exporting import Export
    from callwarden.output import note, print_json
    from edge.config import load

    os.umask(0o077)
    identities = keyfiles.read_identities(identity) if identity else []
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        export = Export(door, recording, keys, purpose, partial=partial)
        done = export.to_age(output) if raw_age else export.to_wav(output, identities)
    for warning in done.warnings:
        note(f"note: {warning}")
    if json_:
        print_json(
            {
                "recording_id": done.recording_id,
                "files": [str(f) for f in done.files],
                "seconds": done.seconds,
                "segments": done.segments,
                "verified": done.verified,
                "warnings": done.warnings,
            }
        )
        return
    for file in done.files:
        print(file)
    note(f"{done.seconds:.1f} s in {done.segments} segment(s), " + ("verified" if done.verified else "NOT verified"))
