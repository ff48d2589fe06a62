"""`callwarden export RECORDING`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file


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
@passphrase_file
@click.option("--raw-age", is_flag=True, help="Keep it encrypted: one .age file per segment, for the stock age tool.")
@click.option("--partial", is_flag=True, help="Of a recording that still runs, take what is sealed so far.")
@click.option(
    "--purpose",
    default="",
    help="What it is read for: one the answer grants (default: the first it grants, and says so).",
)
@click.option("--case", default="", help="A word or a case number for the audit log.")
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
    case: str,
    trust: Path | None,
    json_: bool,
) -> None:
    """Decrypt a recording into a WAV file, or take it out as age files.

    RECORDING is an id or its first 6 digits or more. A purpose that the answer does not cover is refused. Every export
    leaves entries in the audit log.
    """
    if raw_age == bool(identity):
        raise click.UsageError("give --identity FILE to decrypt, or --raw-age to keep it encrypted")
    from callwarden import keyfiles
    from callwarden.door import Reading, open_door
    from callwarden.exporting import Export
    from callwarden.output import note, plain, print_json
    from edge.config import load

    os.umask(0o077)
    identities = keyfiles.read_identities(identity) if identity else []
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        export = Export(door, recording, keys, Reading(purpose, case), partial=partial)
        done = export.to_age(output) if raw_age else export.to_wav(output, identities)
    for warning in done.warnings:
        note(f"note: {plain(warning)}")
    if json_:
        print_json(
            {
                "recording_id": done.recording_id,
                "files": [str(f) for f in done.files],
                "seconds": done.seconds,
                "segments": done.segments,
                "verified": done.verified,
                "purpose": done.purpose,
                "gaps": done.gaps,
                "warnings": done.warnings,
            }
        )
        return
    for file in done.files:
        print(file)
    note(f"{done.seconds:.1f} s in {done.segments} segment(s), " + ("verified" if done.verified else "NOT verified"))
