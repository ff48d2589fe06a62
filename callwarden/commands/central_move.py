"""`callwarden central move`."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.options import as_json, central_toml


@click.command()
@click.argument("postgres", metavar="POSTGRES")
@central_toml
@as_json
def move(postgres: str, central_config: Path, json_: bool) -> None:
    """Move central's rows from SQLite to PostgreSQL.

    POSTGRES names an empty database, as libpq spells it ("postgresql://callwarden@/callwarden?host=/run/postgresql"),
    without a password. Central must not run. The SQLite file stays, marked, and is not opened any more; the keeper's file
    stays in use. Interrupted, it is begun again.
    """
    from callwarden.output import note, print_json
    from central import config
    from central.move import move as move_rows

    done = move_rows(
        config.load(central_config),
        config.refuse_password(postgres, "POSTGRES"),
        lambda table, count: note(f"{table}: {count} rows"),
    )
    if json_:
        print_json({"tables": done.rows, "before": done.before})
    if done.before:
        note("everything was there already, from a run that was interrupted")
    note(f'Next: write postgres = "{postgres}" into {central_config}, and start central')
