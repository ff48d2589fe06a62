"""`callwarden central incident …`: incidents, their steps, and what the authority is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.lazy import LazyGroup
from callwarden.options import as_json

_AT = "callwarden.commands.central_incident:"
_COMMANDS = {
    "acknowledge": (_AT + "acknowledge", "Say that somebody looks after an incident."),
    "assess": (_AT + "assess", "Say whether the authority must be told of an incident, and why or why not."),
    "close": (_AT + "close", "Say that an incident is over."),
    "list": (_AT + "list_", "List the incidents, and how much of the 72 hours is left."),
    "note": (_AT + "note_", "Write something down about an incident."),
    "notified": (_AT + "notified", "Say that the authority was told of an incident."),
    "open": (_AT + "open_", "Open an incident that no alarm saw; its id goes to stdout."),
    "report": (_AT + "report", "Print what the authority is told of an incident (GDPR Art. 33(3))."),
    "show": (_AT + "show", "Show an incident and everything that was said of it."),
}
#: Options of `assess`, in the order of the article: member, what it says.
_FACTS = (
    ("nature", "What happened."),
    ("categories", "Categories of data subjects."),
    ("subjects", "Approximate number of data subjects."),
    ("records", "Approximate number of records."),
    ("consequences", "Likely consequences."),
    ("measures", "Measures taken or proposed."),
    ("contact", "Where the authority can ask."),
)


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def incident() -> None:
    """Incidents: look, note, assess within 72 hours, close."""


@click.command(name="list")
@central_config
@click.option(
    "--state",
    type=click.Choice(("open", "acknowledged", "assessed", "notified", "closed")),
    help="open: all that are not closed.",
)
@as_json
def list_(central_config: Path | None, state: str | None, json_: bool) -> None:
    """List the incidents, and how much of the 72 hours is left."""
    from callwarden.output import print_json, print_table

    only = {"state": state} if state else {}
    rows = from_surroundings(central_config).pages("/v1/incidents", "incidents", **only)
    if json_:
        print_json(rows)
        return
    print_table(
        ("incident", "kind", "severity", "edge", "state", "clock", "deadline", "opened", "alarms"),
        (
            (
                r["incident_id"], r["kind"], r["severity"], r["edge_id"], r["state"], r["clock"], r["deadline"] or "",
                r["opened_at"], r["alarms"],
            )
            for r in rows
        ),
        empty="there is no incident",
    )  # fmt: skip


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@as_json
def show(central_config: Path | None, incident_id: str, json_: bool) -> None:
    """Show an incident and everything that was said of it."""
    from callwarden.output import plain, print_json

    found = from_surroundings(central_config).get(_path(incident_id))
    if json_:
        print_json(found)
        return
    for name, value in found.items():
        if name not in ("seq", "facts", "entries", "left_out") and value not in (None, ""):
            print(f"{name}: {plain(value)}")
    for one in found["entries"]:
        print(f"{one['at']} {one['step']} {plain(one['who'])}: {plain(one['text'])}")
    if found["left_out"]:
        print(f"{found['left_out']} alarms between the first and the last hundred are not shown")


@click.command(name="open")
@central_config
@click.option("--kind", required=True, help="docs/incidents.md lists them.")
@click.option("--edge", "edge_id", help="The edge it concerns; without it the fleet.")
@click.option("--aware", "aware_at", metavar="TIME", help="Since when somebody knew (2026-01-31T12:00:00.000Z); now.")
@click.option("--text", required=True, help="What was seen.")
@as_json
def open_(
    central_config: Path | None, kind: str, edge_id: str | None, aware_at: str | None, text: str, json_: bool
) -> None:
    """Open an incident that no alarm saw; its id goes to stdout."""
    from callwarden.output import print_json

    asked = {"kind": kind, "text": text, "edge_id": edge_id, "aware_at": aware_at}
    made = from_surroundings(central_config).post("/v1/incidents", {k: v for k, v in asked.items() if v})
    if json_:
        print_json(made)
    else:
        print(made["incident_id"])


@click.command(name="note")
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--text", required=True, help="What is to be remembered.")
@as_json
def note_(central_config: Path | None, incident_id: str, text: str, json_: bool) -> None:
    """Write something down about an incident."""
    _step(central_config, incident_id, "notes", {"text": text}, json_)


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--text", required=True, help="Who looks, and at what.")
@as_json
def acknowledge(central_config: Path | None, incident_id: str, text: str, json_: bool) -> None:
    """Say that somebody looks after an incident."""
    _step(central_config, incident_id, "acknowledge", {"text": text}, json_)


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--notifiable/--not-notifiable", default=None, required=True, help="Whether the authority must be told.")
@click.option("--text", required=True, help="Why, or why not.")
@click.option("--aware", "aware_at", metavar="TIME", help="When somebody was aware, if not when it was opened.")
@as_json
def assess(
    central_config: Path | None, incident_id: str, notifiable: bool, text: str, aware_at: str | None, json_: bool,
    **facts: str | None,
) -> None:  # fmt: skip
    """Say whether the authority must be told of an incident, and why or why not."""
    body: dict[str, Any] = {"notifiable": notifiable, "text": text, "facts": {k: v for k, v in facts.items() if v}}
    _step(central_config, incident_id, "assess", body | ({"aware_at": aware_at} if aware_at else {}), json_)


for _name, _says in _FACTS:
    assess = click.option(f"--{_name}", help=_says)(assess)


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--text", required=True, help="Whom, when, under which number.")
@as_json
def notified(central_config: Path | None, incident_id: str, text: str, json_: bool) -> None:
    """Say that the authority was told of an incident."""
    _step(central_config, incident_id, "notified", {"text": text}, json_)


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--text", required=True, help="How it ended.")
@as_json
def close(central_config: Path | None, incident_id: str, text: str, json_: bool) -> None:
    """Say that an incident is over."""
    _step(central_config, incident_id, "close", {"text": text}, json_)


@click.command()
@central_config
@click.argument("incident_id", metavar="INCIDENT")
@as_json
def report(central_config: Path | None, incident_id: str, json_: bool) -> None:
    """Print what the authority is told of an incident (GDPR Art. 33(3))."""
    from callwarden.output import print_json

    found = from_surroundings(central_config).get(_path(incident_id) + "/report")
    if json_:
        print_json(found)
    else:
        print(found["text"], end="")


def _path(incident_id: str) -> str:
    from urllib.parse import quote

    return f"/v1/incidents/{quote(incident_id, safe='')}"


def _step(central_config: Path | None, incident_id: str, step: str, body: dict[str, Any], json_: bool) -> None:
    from callwarden.output import note, print_json

    found = from_surroundings(central_config).post(f"{_path(incident_id)}/{step}", body)
    if json_:
        print_json(found)
        return
    left = f", clock {found['clock']} until {found['deadline']}" if found["deadline"] else ""
    note(f"{found['kind']} is {found['state']}{left}")
