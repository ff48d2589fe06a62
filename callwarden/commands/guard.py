"""`callwarden guard`."""

from __future__ import annotations

import os
import sys

import click

from callwarden.options import config_path, edge_config


@click.command()
@edge_config
def guard() -> None:
    """Run the AGI guard that stands between Asterisk and the daemon."""
    from edge.config import load

    asterisk = load(config_path()).asterisk
    # A fresh interpreter: the guard's own imports are few, and a small process is the one that is still quick when
    # everything else on the host is not.
    sys.stdout.flush()
    os.execv(  # noqa: S606 - same program, no shell
        sys.executable,
        [
            sys.executable,
            "-m",
            "edge.agi.guard",
            "--listen",
            str(asterisk.agi_listen),
            "--socket",
            str(asterisk.agi_socket),
            "--deadline",
            f"{float(asterisk.guard_deadline):g}",
        ],
    )
