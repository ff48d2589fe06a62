"""`callwarden run`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import config_path, edge_config


@click.command()
@edge_config
@click.option("--with-central", is_flag=True, help="Start central as a child process, for hosts without systemd.")
@click.option(
    "--central-config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="central.toml for --with-central (default: central/central.toml beside the edge's configuration).",
)
@click.option("--log", "form", type=click.Choice(["json", "console"]), default="json", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(with_central: bool, central_config: Path | None, form: str, log_level: str) -> None:
    """Run the edge daemon."""
    from callwarden.children import central_child
    from edge import app, log

    path = config_path()
    log.set_up("json" if form == "json" else "console", level=log_level)
    if not with_central:
        app.run(path)
        return
    with central_child(central_config or path.parent / "central" / "central.toml"):
        app.run(path)
