"""`callwarden key rewrap`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, config_path, edge_config, passphrase_file

if TYPE_CHECKING:
    from callwarden.rewrapping import Rewrap, Task

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("recordings", metavar="[RECORDING]...", nargs=-1)
@edge_config
@click.option("-i", "--identity", type=_FILE, required=True, help="An identity that opens them now.")
@passphrase_file
@click.option(
    "--sign-key", type=_FILE, required=True, help="A DPO's key in the trust file: who answers for the headers."
)
@click.option(
    "--from", "from_recipient", metavar="RECIPIENT", help="Only what this one can open now: key or fingerprint."
)
@click.option("--to-policy", metavar="NAME", help="Recipients of this policy (default: each recording's own).")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--out", type=_FILE, help="Write the headers into a file, for `callwarden central rewrap`, and change nothing."
)
@click.option("--trust", type=_FILE, help="The key set to believe (default: the edge's trust file).")
@as_json
def rewrap(
    recordings: tuple[str, ...],
    identity: Path,
    sign_key: Path,
    from_recipient: str | None,
    to_policy: str | None,
    dry_run: bool,
    out: Path | None,
    trust: Path | None,
    json_: bool,
) -> int:
    """Give stored recordings the recipients their policy has now. It revokes nothing.

    A new header is made here for each segment whose recipients are others, signed, and carried to the daemon, which
    destroys the key of the old one, here and at central. Who could open a recording before may have kept its key or its
    audio, and a copy made with `export --raw-age` or `--raw` keeps its old recipients. It may be stopped at any time;
    run again, it goes on with what is left. RECORDING is a whole id; default: all.

    Exit 0: all are done. Exit 7: some could not be opened or are not sealed, the reasons are printed. Exit 75: stopped.
    """
    from callwarden import keyfiles, rewrapping
    from callwarden.door import open_door
    from callwarden.output import note
    from edge.config import load
    from edge.errors import Exit

    identities, signer = keyfiles.read_identities(identity), keyfiles.read_signing_key(sign_key)
    keys = keyfiles.read_trust(trust or load(config_path()).edge.trust_file)
    stopped = False
    with open_door(config_path()) as door:
        work = rewrapping.tasks(door, recordings, to_policy, from_recipient)
        total = sum(len(one.segments) for one in work)
        run = rewrapping.Rewrap(door, identities, signer, keys, carried=out is not None)
        if not dry_run:
            stopped = not _watched(run, work, total)
    told = run.told
    if out is not None:
        text = json.dumps({"type": "callwarden-headers-file/v1", "headers": run.headers}, indent=1)
        keyfiles.write_new(out, (text + "\n").encode())
    _tell(run, work, total, dry_run, stopped, json_)
    if stopped:
        note(f"stopped: {told.done} of {total} segments are done; the same command goes on with the rest")
        return int(Exit.PENDING)
    return int(Exit.UNVERIFIED if told.failed else Exit.DONE)


def _watched(run: Rewrap, work: list[Task], total: int) -> bool:
    """Whether it came to its end; progress goes to a terminal only."""
    import sys

    shown = sys.stderr.isatty()
    try:
        for done in run.run(work):
            if shown and (done % 20 == 0 or done == total):
                print(f"\r{done} of {total} segments", end="\n" if done == total else "", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        return False
    return True


def _tell(run: Rewrap, work: list[Task], total: int, dry_run: bool, stopped: bool, json_: bool) -> None:
    from callwarden.output import note, plain, print_json

    failed = {recording: error.code for recording, error in run.told.failed.items()}
    if json_:
        counts = {"recordings": len(work), "segments": total, "done": run.told.done}
        print_json({**counts, "failed": failed, "dry_run": dry_run, "stopped": stopped})
        return
    for recording, error in run.told.failed.items():
        note(f"{recording}: {plain(error.message)} [{error.code}]")
    print(
        f"{total} segments of {len(work)} recordings have other recipients than their policy"
        if dry_run
        else f"{run.told.done} of {total} segments have a new header"
    )
    note("nothing is revoked: who could open a recording may have kept its key or its audio")
