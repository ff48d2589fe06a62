"""`callwarden waveform RECORDING`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file


@click.command()
@click.argument("recording", metavar="RECORDING")
@edge_config
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The age identity file that opens it. It is read by this process alone.",
)
@passphrase_file
@click.option("--purpose", default="", help="What it is read for: one the answer grants.")
@click.option("--case", default="", help="A word or a case number for the audit log.")
@click.option(
    "--trust",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The key set to believe (default: the edge's trust file).",
)
@as_json
def waveform(recording: str, identity: Path, purpose: str, case: str, trust: Path | None, json_: bool) -> None:
    """Draw who spoke when, and how loudly, without the audio.

    One peak per 100 ms and channel. It is personal data: to open it is a reading, audited as one.
    """
    from callwarden import keyfiles
    from callwarden.door import Reading, open_door
    from callwarden.output import note, plain, print_json
    from callwarden.reading.bundle import Opened
    from callwarden.waveforms import drawn, waveforms
    from edge.config import load

    identities = keyfiles.read_identities(identity)
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    with open_door(config_path()) as door:
        opened = Opened(door, recording, keys, Reading(purpose, case, "waveform"), partial=True)
        found = waveforms(opened, identities)
    for warning in opened.warnings:
        note(f"note: {plain(warning)}")
    if json_:
        print_json({**found, "warnings": opened.warnings})
        return
    names = ("caller", "agent") if found["channels"] == 2 else ("all",)
    for segment in found["segments"]:
        click.echo(f"segment {segment['number']}, from {segment['start_ms'] / 1000:.1f} s")
        for name, peaks in zip(names, segment["peaks"] or (), strict=False):
            click.echo(f"  {name:6} |{drawn(peaks, 100)}|")
