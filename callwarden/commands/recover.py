"""`callwarden recover VAULT`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json, passphrase_file

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("vault", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from-central", is_flag=True, help="First bring into VAULT what payloads central keeps.")
@central_config
@click.option("-i", "--identity", type=_FILE, required=True, help="An identity that opens the recordings.")
@passphrase_file
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the WAV files (0700).",
)
@click.option("--trust", type=_FILE, help="The key set to believe (default: central's own, which is then believed).")
@click.option("--edge-id", help="Only recordings of this edge.")
@click.option("--recording", "recordings", multiple=True, help="Only this recording (whole id); repeat.")
@click.option("--reason", default="recovery", show_default=True, help="A word or a case number for central's log.")
@click.option(
    "--purpose",
    default="",
    help="What they are read for: one that the answers grant (default: the first; --from-central needs it).",
)
@click.option("--case", default="", help="The case it belongs to; `legal_claims` opens what is restricted with one.")
@as_json
def recover(
    vault: Path,
    from_central: bool,
    central_config: Path | None,
    identity: Path,
    output: Path,
    trust: Path | None,
    edge_id: str | None,
    recordings: tuple[str, ...],
    reason: str,
    purpose: str,
    case: str,
    json_: bool,
) -> int:
    """Take the audio out of a vault whose journal or keys are lost, with central's recovery copy.

    VAULT is the folder of payloads, or a copy of it; with --from-central it may be empty. Central's keeper gives the headers and
    notes that it did; the identity opens them in this process. What was erased stays erased: its keys are gone in both places.

    Exit 0: everything that central knows of is there. Exit 7: some is not, the reasons are printed.
    """
    from callwarden import keyfiles
    from callwarden.centralmedia import fetch
    from callwarden.output import note, plain, print_json
    from callwarden.recovering import recover as run
    from edge.errors import CallwardenError, Exit

    os.umask(0o077)
    identities = keyfiles.read_identities(identity)
    client = from_surroundings(central_config)
    keys = keyfiles.read_trust(trust) if trust else client.key_set()
    if from_central:
        vault.mkdir(mode=0o700, parents=True, exist_ok=True)
        got = fetch(client, vault, keys, reason, recordings, edge_id, purpose=purpose, case=case)
        for name, error in got.failed.items():
            note(f"{name}: {plain(error.message)} [{error.code}]")
    elif not vault.is_dir():
        raise CallwardenError("usage.vault", "there is no such folder", where=str(vault))
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = run(client, vault, output, identities, keys, reason, edge_id, recordings, purpose=purpose, case=case)
    lost = {recording: {"code": error.code, "why": error.message} for recording, error in told.failed.items()}
    if json_:
        print_json(
            {
                "recovered": [
                    {
                        "recording_id": one.recording_id,
                        "file": str(one.files[0]),
                        "seconds": one.seconds,
                        "verified": one.verified,
                        "warnings": one.warnings,
                    }
                    for one in told.files
                ],
                "lost": lost,
                "erased": told.erased,
                "unknown": told.unknown,
            }
        )
    else:
        for one in told.files:
            print(one.files[0])
            if not one.verified:
                note(f"{one.recording_id}: NOT verified as a whole: it was never sealed, or central was not told so")
        for recording, why in lost.items():
            note(f"{recording}: {plain(why['why'])} [{why['code']}]")
        for recording in told.unknown:
            note(f"{recording}: central never heard of it; its keys were in the lost journal alone, and are gone")
        note(f"{len(told.files)} recovered, {len(lost)} not, {len(told.erased)} erased, {len(told.unknown)} unknown")
    return int(Exit.UNVERIFIED if lost or told.unknown else Exit.DONE)
