"""`callwarden central token new|list|revoke`: on central's host straight in its database, from elsewhere by its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.lazy import LazyGroup
from callwarden.options import as_json
from central.roles import ROLES

_AT = "callwarden.commands.central_token:"
_COMMANDS = {
    "list": (_AT + "list_", "List the tokens, without what they are."),
    "new": (_AT + "new", "Make a token of one role; it goes to stdout, this once."),
    "revoke": (_AT + "revoke", "Revoke a token: it opens nothing from now on."),
}
#: As central's API has it (central/openapi/bodies.py).
_LONGEST_DAYS: Final = 3650


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def token() -> None:
    """Make, list and revoke the bearer tokens of people and programs."""


@click.command()
@central_config
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do (docs/api.md).")
@click.option("--label", required=True, help="What it is for, as lists name it.")
@click.option(
    "--expires", type=click.IntRange(1, _LONGEST_DAYS), metavar="DAYS", help="Its life; without it until it is revoked."
)
@as_json
def new(central_config: Path | None, role: str, label: str, expires: int | None, json_: bool) -> None:
    """Make a token of one role; it goes to stdout, this once."""
    from callwarden.output import note, print_json

    if central_config is not None:
        from central import setup
        from central.config import load

        made, row = setup.token_new(load(central_config), role, label, expires)
        answer: dict[str, Any] = row.answer() | {"token": made}
    else:
        body = {"role": role, "label": label} | ({} if expires is None else {"expires_days": expires})
        answer = from_surroundings(None).post("/v1/tokens", body)
    if json_:
        print_json(answer)
        return
    print(answer["token"])
    until = f"until {answer['expires_at']}" if answer["expires_at"] else "until it is revoked"
    note(f"{role}, good {until}; callwarden central token revoke {answer['id']}")


@click.command(name="list")
@central_config
@as_json
def list_(central_config: Path | None, json_: bool) -> None:
    """List the tokens, without what they are."""
    from callwarden.output import print_json, print_table

    if central_config is not None:
        from central import setup
        from central.config import load

        rows = [row.answer() for row in setup.token_list(load(central_config))]
    else:
        rows = from_surroundings(None).get("/v1/tokens")["tokens"]
    if json_:
        print_json(rows)
        return
    print_table(
        ("id", "role", "label", "made", "ends", "revoked"),
        ((r["id"], r["role"], r["label"], r["created_at"], r["expires_at"], r["revoked_at"]) for r in rows),
        empty="there is no token",
    )


@click.command()
@central_config
@click.argument("token_id", metavar="ID")
@as_json
def revoke(central_config: Path | None, token_id: str, json_: bool) -> None:
    """Revoke a token: it opens nothing from now on. ID: as the list shows it; of a token that you hold, the first 16 hex
    digits of its SHA-256."""
    from callwarden.output import print_json

    if central_config is not None:
        from central import setup
        from central.config import load

        answer = setup.token_revoke(load(central_config), token_id).answer()
    else:
        from urllib.parse import quote

        answer = from_surroundings(None).delete(f"/v1/tokens/{quote(token_id, safe='')}")
    if json_:
        print_json(answer)
        return
    print(f"{answer['id']} ({answer['role']}) opens nothing since {answer['revoked_at']}")
