"""`callwarden central media list|get|verify`: the group and its subcommands."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json

_FILE = click.Path(path_type=Path, dir_okay=False)
_only = click.option("--recording", "recordings", multiple=True, help="Only this recording (whole id); repeat.")
_trust = click.option(
    "--trust", type=_FILE, help="The key set to believe (default: central's own, which is then believed)."
)

_purpose = click.option("--purpose", required=True, help="What they are read for: one that the answers grant.")
_case = click.option(
    "--case", default="", help="The case it belongs to; `legal_claims` opens what is restricted with one."
)


@click.group()
def media() -> None:
    """Sealed audio that central keeps: list it, get it, verify it."""


@media.command("list")
@central_config
@click.option("--recording", help="Only of this recording.")
@as_json
def list_(central_config: Path | None, recording: str | None, json_: bool) -> None:
    """List the payloads that central has, had or waits for."""
    from callwarden.output import print_json, print_table

    only = {"recording_id": recording} if recording else {}
    rows = from_surroundings(central_config).pages("/v1/media", "media", **only)
    if json_:
        print_json(rows)
        return
    print_table(
        ("recording", "segment", "edge", "bytes", "place", "state", "why"),
        ((r["recording_id"], r["number"], r["edge_id"], r["bytes"], r["place"], r["state"], r["why"]) for r in rows),
        empty="central has no media",
    )


@media.command()
@central_config
@_only
@_trust
@_purpose
@_case
@click.option("--reason", required=True, help="A word or a case number for central's log.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder (0700), laid out as a vault.",
)
@as_json
def get(
    central_config: Path | None, recordings: tuple[str, ...], trust: Path | None, purpose: str, case: str,
    reason: str, output: Path, json_: bool,
) -> int:  # fmt: skip
    """Bring payloads from central into a folder that `callwarden recover` reads.

    Each is compared with the manifest that its edge signed. They are ciphertext; central's log says that you have them.

    Exit 7: some are not there, refused for that purpose, or not what the manifest says.
    """
    return _run(central_config, output, recordings, trust, reason, json_, purpose=purpose, case=case)


@media.command()
@central_config
@_only
@_trust
@_purpose
@_case
@click.option("--reason", default="verify", show_default=True, help="A word or a case number for central's log.")
@as_json
def verify(
    central_config: Path | None, recordings: tuple[str, ...], trust: Path | None, purpose: str, case: str, reason: str, json_: bool
) -> int:  # fmt: skip
    """Read every payload at central and compare it with the manifest that its edge signed; keep nothing.

    Exit 7: one is refused for that purpose, or is not what its manifest says.
    """
    return _run(central_config, None, recordings, trust, reason, json_, purpose=purpose, case=case)


def _run(
    central_config: Path | None, output: Path | None, recordings: tuple[str, ...], trust: Path | None, reason: str,
    json_: bool, *, purpose: str, case: str,
) -> int:  # fmt: skip
    import os

    from callwarden import keyfiles
    from callwarden.centralmedia import fetch
    from callwarden.output import note, plain, print_json
    from edge.errors import Exit

    os.umask(0o077)
    client = from_surroundings(central_config)
    keys = keyfiles.read_trust(trust) if trust else client.key_set()
    if output is not None:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = fetch(client, output, keys, reason, recordings, purpose=purpose, case=case)
    failed = {name: {"code": error.code, "why": error.message} for name, error in told.failed.items()}
    if json_:
        print_json({"right": [str(path) for path in told.files], "failed": failed, "absent": told.absent})
    else:
        for path in told.files if output is not None else []:
            print(path)
        for name, why in failed.items():
            note(f"{name}: {plain(why['why'])} [{why['code']}]")
        note(f"{len(told.files)} right, {len(failed)} not, {len(told.absent)} not at central")
    missing = bool(told.absent) and output is not None
    return int(Exit.UNVERIFIED if failed or missing else Exit.DONE)
