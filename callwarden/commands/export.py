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
@click.option(
    "--format",
    "form",
    type=click.Choice(["wav", "flac", "opus"]),
    help="What to write (default: as the file's ending says, else wav). FLAC and Opus need the extra `studio`.",
)
@click.option(
    "--from", "begin", metavar="TIME", help="Only from there on: 10s, 2m, mm:ss or hh:mm:ss of recorded time."
)
@click.option("--to", "end", metavar="TIME", help="Only up to there. Nothing outside of the part is read.")
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
    form: str | None,
    begin: str | None,
    end: str | None,
    partial: bool,
    purpose: str,
    case: str,
    trust: Path | None,
    json_: bool,
) -> None:
    """Decrypt a recording into a WAV, FLAC or Opus file, or take it out as age files.

    RECORDING is an id or its first 6 digits or more. With --from or --to only that part is read and decrypted. A purpose
    that the answer does not cover is refused. Every export leaves entries in the audit log (`callwarden reads`).
    """
    if raw_age == bool(identity):
        raise click.UsageError("give --identity FILE to decrypt, or --raw-age to keep it encrypted")
    if raw_age and (form or begin or end):
        raise click.UsageError("--raw-age takes whole segments as they are: without --format, --from and --to")
    from callwarden import keyfiles
    from callwarden.door import Reading, open_door
    from callwarden.exporting import Export
    from callwarden.output import note, plain, print_json
    from callwarden.reading.spans import span_of
    from callwarden.reading.writers import form_of
    from edge.config import load

    os.umask(0o077)
    reading = Reading(purpose, case, "age" if raw_age else form_of(output, form), span_of(begin, end))
    identities = keyfiles.read_identities(identity) if identity else []
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        export = Export(door, recording, keys, reading, partial=partial)
        done = export.to_age(output) if raw_age else export.to_audio(output, identities)
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
                "format": reading.form,
                "part": None if done.span is None else {"from_ms": done.span[0], "to_ms": done.span[1] or None},
                "gaps": done.gaps,
                "warnings": done.warnings,
            }
        )
        return
    for file in done.files:
        print(file)
    how = "verified" if done.span is None else "verified chunk by chunk (a whole read also checks the payloads' hashes)"
    note(f"{done.seconds:.1f} s in {done.segments} segment(s), " + (how if done.verified else "NOT verified"))
