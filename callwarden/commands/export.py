"""`callwarden export RECORDING`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import click

from callwarden.centralclient import central_config, from_surroundings, is_named
from callwarden.options import as_json, config_path, edge_config, passphrase_file


@click.command()
@click.argument("recording", metavar="RECORDING")
@edge_config
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to make (0600); with --raw the folder (0700). What is there already is never written to.",
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
    "--raw",
    is_flag=True,
    help="Keep it encrypted: a folder with the signed manifest, and header and payload of each segment, of either suite.",
)
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
    "--from-central",
    is_flag=True,
    help="Take all of it from central: its edge is gone, or is another. Needs an administrator's token.",
)
@central_config
@click.option("--reason", default="export", show_default=True, help="A word for central's log, where it is asked.")
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key set to believe (default: the edge's trust file; with --from-central central's own).",
)
@as_json
def export(
    recording: str,
    output: Path,
    identity: Path | None,
    raw_age: bool,
    raw: bool,
    form: str | None,
    begin: str | None,
    end: str | None,
    partial: bool,
    purpose: str,
    case: str,
    from_central: bool,
    central_config: Path | None,
    reason: str,
    trust: Path | None,
    json_: bool,
) -> None:
    """Decrypt a recording into a WAV, FLAC or Opus file, or take it out as age files.

    RECORDING is an id or its first 6 digits or more. With --from or --to only that part is read and decrypted. A purpose
    that the answer does not cover is refused. Every export leaves entries in the audit log (`callwarden reads`).

    A payload that the edge has not is taken from central's media, where a central is named; central's log has it then, too. With
    --from-central RECORDING is a whole id, and central alone is asked.
    """
    if [raw_age, raw, bool(identity)].count(True) != 1:
        raise click.UsageError("give --identity FILE to decrypt, or one of --raw-age and --raw to keep it encrypted")
    if (raw_age or raw) and (form or begin or end):
        flag = "--raw" if raw else "--raw-age"
        raise click.UsageError(f"{flag} takes whole segments as they are: without --format, --from and --to")
    if raw and partial:
        raise click.UsageError("--raw has the manifest, which a recording gets when it ends: without --partial")
    from callwarden import keyfiles
    from callwarden.centraldoor import CentralDoor, CentralPayloads, EdgeThenCentral
    from callwarden.door import Door, Reading, open_door
    from callwarden.exporting import Export
    from callwarden.output import note, plain, print_json
    from callwarden.reading.spans import span_of
    from callwarden.reading.writers import form_of
    from edge.config import load
    from edge.errors import CallwardenError
    from formats.ids import is_id

    os.umask(0o077)
    named = "raw" if raw else "age" if raw_age else form_of(output, form)
    reading = Reading(purpose, case, named, span_of(begin, end))
    identities = keyfiles.read_identities(identity) if identity else []
    if from_central and not is_id(recording):
        raise CallwardenError(
            "usage.recording", "from central a recording is named by its whole id", where=recording[:80]
        )
    taken: set[tuple[str, int]] = set()
    with ExitStack() as stack:
        if from_central:
            client = from_surroundings(central_config)
            keys = keyfiles.read_trust(trust) if trust else client.key_set()
            door = cast(Door, CentralDoor(client, keys, reason, purpose, case))
        else:
            keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
            door = stack.enter_context(open_door(config_path()))
            if is_named(central_config):
                payloads = CentralPayloads(lambda: from_surroundings(central_config), reason, case=case)
                door = cast(Door, EdgeThenCentral(door, payloads, taken))
        export = Export(door, recording, keys, reading, partial=partial)
        ways = {"raw": export.to_raw, "age": export.to_age}
        done = ways[named](output) if named in ways else export.to_audio(output, identities)
    segments = done.segments if from_central else len(taken)
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
                "segments_from_central": segments,
            }
        )
        return
    for file in done.files:
        print(file)
    how = "verified" if done.span is None else "verified chunk by chunk (a whole read also checks the payloads' hashes)"
    where = f"{segments} of them from central's media, " if segments else ""
    note(f"{done.seconds:.1f} s in {done.segments} segment(s), {where}" + (how if done.verified else "NOT verified"))
