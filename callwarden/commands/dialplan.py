"""`callwarden dialplan print|features|manager|freepbx|lint`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json


@click.group()
def dialplan() -> None:
    """Print what Asterisk needs: the dialplan to include, feature codes, the manager account; check a dialplan."""


@dialplan.command(name="print")
@click.option("--path", "path_only", is_flag=True, help="Only say where the file is.")
def print_(path_only: bool) -> None:
    """Print the file that extensions.conf includes; enter it with Gosub(callwarden,s,1(POLICY))."""
    from callwarden.shipped import shipped

    path = shipped("dialplan", "callwarden.conf")
    click.echo(path if path_only else path.read_text("utf-8"), nl=path_only)


@dialplan.command()
def features() -> None:
    """Print the feature codes that features.conf needs for withdrawal, pause and start by key."""
    _show("features.callwarden.conf.sample")


@dialplan.command()
def manager() -> None:
    """Print the account that manager.conf needs; put the secret of `ami.secret` into it."""
    _show("manager.callwarden.conf.sample")


@dialplan.command()
@click.option("--override", is_flag=True, help="Print what belongs into extensions_override_freepbx.conf instead.")
def freepbx(override: bool) -> None:
    """Print what belongs into FreePBX's extensions_custom.conf."""
    _show("freepbx", "extensions_override_freepbx.conf" if override else "extensions_custom.conf")


@dialplan.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def lint(files: tuple[Path, ...], json_: bool) -> int:
    """Look for text that a caller chose in the arguments of applications; exit 7 when there is some."""
    from callwarden.dialplanlint import faults
    from callwarden.output import note, print_json
    from edge.errors import Exit

    found = [(path, fault) for path in files for fault in faults(path.read_text("utf-8", errors="replace"))]
    if json_:
        print_json({"ok": not found, "faults": [_row(path, fault) for path, fault in found]})
    for path, fault in found if not json_ else []:
        note(f"{path}:{fault.line}: {fault.what}: {fault.why}")
    if not json_:
        print(f"{len(files)} files, {len(found)} to mend")
    return int(Exit.UNVERIFIED if found else Exit.DONE)


def _row(path: Path, fault: object) -> dict[str, object]:
    return {"file": str(path), **{name: getattr(fault, name) for name in ("line", "what", "why")}}


def _show(*parts: str) -> None:
    from callwarden.shipped import shipped

    click.echo(shipped("dialplan", *parts).read_text("utf-8"), nl=False)
