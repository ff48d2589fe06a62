"""`callwarden backup …` and `callwarden restore`."""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callwarden.lazy import LazyGroup
from callwarden.options import as_json, config_path, edge_config

if TYPE_CHECKING:
    from callwarden.backup.edge import Done

_AT = "callwarden.commands.backup:"
_COMMANDS = {
    "list": (_AT + "list_", "List the backups that were made of this edge."),
    "make": (_AT + "make", "Bring the backup in a folder up to date, while the daemon is at work."),
    "verify": (_AT + "verify", "Check every file of a backup against its signed list."),
}
_FOLDER = click.Path(path_type=Path, file_okay=False)


class _Backup(LazyGroup):
    """`callwarden backup FOLDER` is `callwarden backup make FOLDER`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and ("/" in args[0] or Path(args[0]).is_dir()):
            args = ["make", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_Backup, lazy=_COMMANDS)
def backup() -> None:
    """Back this edge up, and check a backup. `callwarden backup FOLDER` is short for `backup make FOLDER`."""


@click.command()
@click.argument("folder", type=_FOLDER, metavar="FOLDER")
@click.option("--expires", metavar="DAYS", help="When this backup is to be gone, e.g. 90d: certificates name it.")
@edge_config
@as_json
def make(folder: Path, expires: str | None, json_: bool) -> None:
    """Bring the backup in a folder up to date, while the daemon is at work.

    Journal, payloads, configuration without secrets, policies and prompts; never keys. What is in FOLDER and unchanged is not
    copied again. Interrupted, it goes on when it is called again. For several generations use several folders.
    """
    from callwarden.backup import edge
    from callwarden.output import print_json
    from edge.config import load
    from formats.backup import facts

    config = load(config_path())
    done = edge.make(config, live_door(config.edge.socket), folder.absolute(), _expiry(expires), progress(json_))
    if json_:
        print_json({**facts(done.made), "copied": done.copied, "kept": done.kept, "removed": done.removed})
    else:
        _told(done, folder)
    if done.made.gaps:
        raise _gaps(done, folder)


def _told(done: Done, folder: Path) -> None:
    total = sum(one.bytes for one in done.made.files)
    print(f"backup {done.made.backup_id} of {done.made.made_at} in {folder}")
    print(
        f"{len(done.made.files)} files, {total} bytes: {done.copied} copied, {done.kept} unchanged, {done.removed} removed"
    )


def _gaps(done: Done, folder: Path) -> Exception:
    from edge.errors import CallwardenError

    first = done.made.gaps[0]
    return CallwardenError(
        "backup.gaps", f"{len(done.made.gaps)} payloads are missing or damaged in the vault itself",
        hint=f"the first: segment {first.segment_id} ({first.why}); all the rest is backed up", where=str(folder),
    )  # fmt: skip


@click.command()
@click.argument("folder", type=_FOLDER, metavar="FOLDER")
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="Key set (default: the edge's own key).")
@edge_config
@as_json
def verify(folder: Path, trust: Path | None, json_: bool) -> None:
    """Check every file of a backup against its signed list. Exit 7 when anything differs or is missing."""
    from callwarden.backup.check import verify as check
    from callwarden.backup.folder import BackupFolder
    from callwarden.output import print_json
    from edge.errors import CallwardenError
    from formats.backup import facts

    checked = check(BackupFolder(folder), trust_of(trust), progress(json_))
    if json_:
        print_json({**facts(checked.made), **checked.facts()})
    else:
        for path, why in checked.problems:
            print(f"{path}: {why}")
        print(f"{len(checked.made.files)} files of {checked.made.made_at}, {len(checked.problems)} problems")
    if checked.problems:
        raise CallwardenError("backup.damaged", "the backup is not what its list says", where=str(folder))


@click.command(name="list")
@edge_config
@as_json
def list_(json_: bool) -> None:
    """List the backups that were made of this edge."""
    from callwarden.door import open_door
    from callwarden.output import print_json, print_table

    with open_door(config_path()) as door:
        rows = door.backups()
    if json_:
        print_json(rows)
        return
    texts = [[r["backup_id"], r["begun_at"], r["finished_at"], r["expires_at"], r["place"]] for r in rows]
    print_table(["backup", "begun", "finished", "expires", "place"], texts, empty="no backup was made of this edge")


@click.command()
@click.argument("folder", type=_FOLDER, metavar="[FOLDER]", required=False)
@click.option("--trust", type=click.Path(path_type=Path, dir_okay=False), help="Key set (default: the edge's own key).")
@click.option(
    "--accept-without-tombstones", is_flag=True,
    help="Serve although central cannot say what was erased since; audited. With or after a restore.",
)  # fmt: skip
@click.option("--reason", default="", help="Why, for --accept-without-tombstones.")
@edge_config
@as_json
def restore(folder: Path | None, trust: Path | None, accept_without_tombstones: bool, reason: str, json_: bool) -> None:
    """Put a backup back, while the daemon is stopped.

    The journal of before is set aside. Calls are recorded as soon as the daemon runs; nothing is given out until it has asked
    central what was erased since the backup, and has erased that again.
    """
    from callwarden.door import open_door
    from callwarden.output import print_json
    from edge.config import load

    if folder is None and not accept_without_tombstones:
        raise click.UsageError("name the backup's FOLDER, or --accept-without-tombstones")
    answer: dict[str, Any] = {}
    if folder is not None:
        from callwarden.backup.restore import restore as put_back
        from formats.backup import facts

        done = put_back(load(config_path()), folder.absolute(), trust_of(trust), os.getuid(), progress(json_))
        answer = {
            **facts(done.made), "payloads": done.payloads, "there": done.there, "incarnation": done.incarnation,
            "set_aside": str(done.set_aside) if done.set_aside else None, "witnessed": done.witnessed,
        }  # fmt: skip
        if not json_:
            print(
                f"the journal is that of {done.made.made_at} now; {done.payloads} payloads came back, {done.there} were there"
            )
            if done.set_aside:
                print(
                    f"the journal of before lies in {done.set_aside}: remove it once you do not need it, it names people"
                )
            print("next: callwarden run; nothing is given out until central has said what was erased since")
    if accept_without_tombstones:
        with open_door(config_path()) as door:
            answer |= door.accept_restore(reason)
        if not json_:
            print("accepted: this edge serves, whatever was erased elsewhere since the backup")
    if json_:
        print_json(answer)


def live_door(socket: Path) -> Any:
    """The daemon's door, or None when no daemon listens."""
    from callwarden.door import SocketDoor, _listens

    return SocketDoor(socket) if _listens(socket) else None


def trust_of(path: Path | None) -> Any:
    """The key set named, or the edge's own key."""
    from callwarden.backup.edge import own_keys
    from callwarden.keyfiles import read_signing_key, read_trust
    from edge.config import load

    if path is not None:
        return read_trust(path)
    edge = load(config_path()).edge
    return own_keys(read_signing_key(edge.signing_key_file), edge.id, edge.trust_file)


def progress(json_: bool) -> Any:
    """A line on a terminal's stderr that is written over; nothing elsewhere."""
    shown = sys.stderr.isatty() and not json_

    def say(what: str, done: int, of: int) -> None:
        if shown:
            print(f"\r{what}: {done} of {of}\033[K", end="\n" if done >= of else "", file=sys.stderr, flush=True)

    return say


def _expiry(text: str | None) -> str | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})d?", text)
    if found is None:
        raise click.UsageError("--expires is a number of days, like 90d")
    from edge.clock import SystemClock
    from formats.ids import format_time

    return format_time(SystemClock().wall() + timedelta(days=int(found[1])))
