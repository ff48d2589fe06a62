"""`callwarden dialplan print|manager`."""

from __future__ import annotations

import click


@click.group()
def dialplan() -> None:
    """Print what Asterisk needs: the dialplan to include, the manager account."""


@dialplan.command(name="print")
@click.option("--path", "path_only", is_flag=True, help="Only say where the file is.")
def print_(path_only: bool) -> None:
    """Print the file that extensions.conf includes; enter it with Gosub(callwarden,s,1(POLICY))."""
    from callwarden.shipped import shipped

    path = shipped("dialplan", "callwarden.conf")
    click.echo(path if path_only else path.read_text("utf-8"), nl=path_only)


@dialplan.command()
def manager() -> None:
    """Print the account that manager.conf needs; put the secret of `ami.secret` into it."""
    from callwarden.shipped import shipped

    click.echo(shipped("dialplan", "manager.callwarden.conf.sample").read_text("utf-8"), nl=False)
