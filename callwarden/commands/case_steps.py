"""`callwarden central case new|identify|note|step|extend`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import central_config, from_surroundings
from callwarden.options import as_json

KINDS = ("access", "erasure", "restriction", "rectification", "objection", "portability")
METHODS = ("document", "signature", "callback", "account", "in_person", "known_channel", "representative")


@click.command()
@central_config
@click.option("--kind", type=click.Choice(KINDS), required=True)
@click.option(
    "--number", "numbers", multiple=True, required=True, help="A number of the person, in any spelling; repeat."
)
@click.option("--country", default="", help='Where national spellings are at home: "CZ".')
@click.option("--received", metavar="TIME", help="When the request reached you (RFC 3339; default: now).")
@click.option("--note", default="", help="How it came and what exactly is asked.")
@as_json
def new(
    central_config: Path | None,
    kind: str,
    numbers: tuple[str, ...],
    country: str,
    received: str | None,
    note: str,
    json_: bool,
) -> None:
    """File a request; prints the case's name and its day.

    The clock runs from the day the request reached you, not from the day you file it.
    """
    from callwarden import output

    body: dict[str, Any] = {"kind": kind, "numbers": list(numbers), "country": country.upper(), "note": note}
    if received:
        body["received_at"] = _utc(received)
    made = from_surroundings(central_config).post("/v1/cases", body)
    if json_:
        output.print_json(made)
        return
    print(made["ref"])
    output.note(f"to be answered before {made['due_at']}")


def _utc(text: str) -> str:
    from datetime import datetime

    from edge.errors import CallwardenError
    from formats.ids import format_time

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise CallwardenError(
            "usage.time", "not a time with its zone", hint="2026-01-31T12:00:00+01:00", where="--received"
        )
    return format_time(at)


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option("--method", type=click.Choice(METHODS), required=True)
@click.option("--note", required=True, help="What was seen, and by whom.")
def identify(central_config: Path | None, ref: str, method: str, note: str) -> None:
    """Note how the person was identified; nothing happens before."""
    _show(
        from_surroundings(central_config).post(
            f"/v1/cases/{ref}/steps", {"act": "identify", "method": method, "note": note}
        )
    )


@click.command(name="note")
@central_config
@click.argument("ref", metavar="CASE")
@click.argument("text", metavar="TEXT")
def note_(central_config: Path | None, ref: str, text: str) -> None:
    """Add a note to a case."""
    _show(from_surroundings(central_config).post(f"/v1/cases/{ref}/notes", {"text": text}))


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.argument("act", type=click.Choice(["answer", "refuse", "withdraw", "close"]))
@click.option("--note", default="", help="How and when the person was told, or why.")
def step(central_config: Path | None, ref: str, act: str, note: str) -> None:
    """Take a step that says what somebody did: answer, refuse, withdraw, close.

    A refusal must be told to the person within the month, with its reasons and where to complain; `close` records that.
    """
    _show(from_surroundings(central_config).post(f"/v1/cases/{ref}/steps", {"act": act, "note": note}))


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option("--reason", required=True, help="Why; the person is told the same before the first month is over.")
def extend(central_config: Path | None, ref: str, reason: str) -> None:
    """Extend a case by two months, once, before the first is over."""
    _show(from_surroundings(central_config).post(f"/v1/cases/{ref}/extension", {"text": reason}))


def _show(case: dict[str, Any]) -> None:
    from callwarden.output import note

    print(case["state"])
    note(f"{case['ref']}: next: {', '.join(case['allowed']) or 'nothing'}; its day ends at {case['due_at']}")
