"""`callwarden central backup|restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, central_toml

if TYPE_CHECKING:
    from callwarden.backup.central import CentralBack

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=_FOLDER, metavar="FOLDER")
@central_toml
@as_json
def backup(folder: Path, central_config: Path, json_: bool) -> None:
    """Bring the backup of central in a folder up to date, while it runs: database and configuration, never keys."""
    from callwarden.backup import central
    from callwarden.commands.backup import progress
    from callwarden.output import print_json
    from central.config import load
    from formats.backup import facts

    done = central.make(load(central_config), central_config.absolute(), folder.absolute(), progress(json_))
    if json_:
        print_json({**facts(done.made), "copied": done.copied, "kept": done.kept, "removed": done.removed})
        return
    print(f"backup {done.made.backup_id} of {done.made.made_at} in {folder}: {len(done.made.files)} files")


@click.command()
@click.argument("folder", type=_FOLDER, metavar="[FOLDER]", required=False)
@click.option("--accept-edge", metavar="EDGE", help="Do not wait for this edge to say what it erased; audited.")
@click.option("--mark", is_flag=True, help="The database was put back by its engine's own means (PostgreSQL).")
@click.option("--reason", default="", help="Why, for --accept-edge; of when the database is, for --mark.")
@central_toml
@as_json
def restore(
    folder: Path | None, accept_edge: str | None, mark: bool, reason: str, central_config: Path, json_: bool
) -> None:
    """Put a backup of central back, while it is stopped.

    Recordings and calls are given out when every edge has said what it erased since; edges are asked when they next poll.
    """
    from callwarden.backup import central
    from callwarden.output import print_json
    from central.config import load
    from formats.backup import facts

    if folder is None and accept_edge is None and not mark:
        raise click.UsageError("name the backup's FOLDER, or --mark, or --accept-edge EDGE")
    if folder is not None and mark:
        raise click.UsageError("--mark is for what another program put back: a FOLDER is marked anyway")
    config = load(central_config)
    answer: dict[str, object] = {}
    if folder is not None:
        done = central.restore(config, folder.absolute())
        aside = str(done.set_aside) if done.set_aside else None
        assert done.made is not None
        answer = {**facts(done.made), "edges": done.edges, "keys_gone": done.keys, "set_aside": aside} | _again(done)
        if not json_:
            print(f"central's database is that of {done.made.made_at} now; {done.keys} keys were destroyed since")
            print(f"waits for: {', '.join(done.edges) or 'nobody'}")
            if aside:
                print(f"the database of before lies in {aside}: remove it once you do not need it")
            _print_again(done, done.made.made_at)
    if mark:
        done = central.mark_restored(config, reason)
        answer = {"edges": done.edges, "keys_gone": done.keys} | _again(done)
        if not json_:
            print(
                f"marked as put back; {done.keys} keys were destroyed since; waits for: {', '.join(done.edges) or 'nobody'}"
            )
            _print_again(done, "then")
    if accept_edge is not None:
        central.accept(config, accept_edge, reason)
        answer["accepted"] = accept_edge
        if not json_:
            print(f"accepted: {accept_edge} is not waited for")
    if json_:
        print_json(answer)


def _again(done: CentralBack) -> dict[str, object]:
    return {
        "revoked": done.again.edges,
        "tokens_revoked": done.again.tokens,
        "revocations_listed": done.again.listed,
    }


def _print_again(done: CentralBack, since: str) -> None:
    for kind, names in (("edge", done.again.edges), ("token", done.again.tokens)):
        for name in names:
            print(f"revoked again: {kind} {name}")
    if not done.again.listed:
        print(f"no list of revocations lay beside the keeper: revoke again what was revoked since {since}")
