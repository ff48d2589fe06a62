"""`callwarden central webhook list|test|dead|replay`: receivers of webhooks and mail."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.lazy import LazyGroup
from callwarden.options import as_json

_AT = "callwarden.commands.central_webhook:"
_COMMANDS = {
    "dead": (_AT + "dead", "List the messages that no receiver took."),
    "list": (_AT + "list_", "List the receivers of webhooks and mail, and how each one is."),
    "replay": (_AT + "replay", "Enable a receiver and send its dead letters again, or one message."),
    "test": (_AT + "test", "Send a receiver a message that says nothing, and wait for what comes of it."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def webhook() -> None:
    """Receivers of webhooks and mail: look, try, send again."""


@click.command(name="list")
@central_config
@as_json
def list_(central_config: Path | None, json_: bool) -> None:
    """List the receivers of webhooks and mail, and how each one is."""
    from callwarden.output import print_json, print_table

    rows = from_surroundings(central_config).get("/v1/webhooks")["webhooks"]
    if json_:
        print_json(rows)
        return
    print_table(
        ("name", "receiver", "state", "waiting", "sent", "dead", "last sent", "events"),
        (
            (
                r["name"], r["receiver"], r["state"], r["waiting"], r["sent"], r["dead"], r["last_sent"] or "",
                " ".join(r["events"]),
            )
            for r in rows
        ),
        empty="no receiver is configured",
    )  # fmt: skip


@click.command()
@central_config
@click.option("--hook", metavar="NAME", help="Only of this receiver.")
@as_json
def dead(central_config: Path | None, hook: str | None, json_: bool) -> None:
    """List the messages that no receiver took."""
    from callwarden.output import print_json, print_table

    only = {"state": "dead"} | ({"hook": hook} if hook else {})
    rows = from_surroundings(central_config).pages("/v1/webhooks/messages", "messages", **only)
    if json_:
        print_json(rows)
        return
    print_table(
        ("message", "receiver", "type", "made", "attempts", "why"),
        ((r["message_id"], r["hook"], r["type"], r["made_at"], r["attempts"], r["why"]) for r in rows),
        empty="nothing is dead",
    )


@click.command()
@central_config
@click.argument("name")
@click.option("--message", metavar="ID", help="Only this one, dead or sent.")
@as_json
def replay(central_config: Path | None, name: str, message: str | None, json_: bool) -> None:
    """Enable a receiver and send its dead letters again, or one message."""
    from urllib.parse import quote

    from callwarden.output import note, print_json

    body = {"message_id": message} if message else {}
    answer = from_surroundings(central_config).post(f"/v1/webhooks/{quote(name, safe='')}/replay", body)
    if json_:
        print_json(answer)
    else:
        note(f"{answer['replayed']} message(s) are in the queue again")


@click.command()
@central_config
@click.argument("name")
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 600), help="Seconds to wait.")
@as_json
def test(central_config: Path | None, name: str, wait: float, json_: bool) -> int:
    """Send a receiver a message that says nothing, and wait for what comes of it.

    Exit 0: it was taken. 4: it was not. 75: nothing came of it yet.
    """
    import time
    from urllib.parse import quote

    from callwarden.output import note, plain, print_json
    from edge.errors import Exit

    client = from_surroundings(central_config)
    message_id = client.post(f"/v1/webhooks/{quote(name, safe='')}/test", {})["message_id"]
    end = time.monotonic() + wait
    while True:
        found = client.get(f"/v1/webhooks/messages/{message_id}")
        tried = found["state"] != "waiting" or found["attempts"] > 0
        if tried or time.monotonic() >= end:
            break
        time.sleep(0.2)
    if json_:
        print_json(found)
    elif found["state"] == "sent":
        note(f"{plain(name)} took it")
    elif tried:
        note(f"{plain(name)} did not take it: {plain(found['why'])}")
    else:
        note("nothing came of it yet")
    return int(Exit.DONE if found["state"] == "sent" else Exit.UNREACHABLE if tried else Exit.PENDING)
