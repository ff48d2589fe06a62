"""`callwarden hold`: legal holds and restrictions; one person places, two release."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config


@click.group()
def hold() -> None:
    """Keep what somebody may need in court, or keep everybody from reading it.

    A hold forbids erasing, by order and by age. A restriction keeps too, by age, and lets nobody read but for legal claims.
    Placing takes one person, releasing two.
    """


def _about(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--label", default="", help="How you call it; never a number or a name."),
        click.option("--case", default="", metavar="NUMBER", help="The case it belongs to."),
        click.option("--reason", required=True, help="Why; shown to whoever may not erase because of it."),
        click.option("--person", default="", metavar="NUMBER", help="All calls of this number, in any spelling."),
        click.option("--call", "call", default="", metavar="CALL", help="One call with all its recordings."),
        click.option("--recording", default="", metavar="RECORDING", help="One recording."),
    ):
        command = option(command)
    return as_json(edge_config(command))


@hold.command()
@_about
def place(recording: str, call: str, person: str, reason: str, case: str, label: str, json_: bool) -> None:
    """Forbid erasing a recording, a call, or everything of a person, also what comes later.

    Exit 6: too late, it is erased or being erased.
    """
    _place("hold", recording, call, person, reason, case, label, json_)


@hold.command()
@_about
def restrict(recording: str, call: str, person: str, reason: str, case: str, label: str, json_: bool) -> None:
    """Forbid reading but for legal claims, and erasing by age (GDPR Art. 18), until two people lift it.

    An order to erase and a withdrawal still erase.
    """
    _place("restriction", recording, call, person, reason, case, label, json_)


def _place(kind: str, recording: str, call: str, person: str, reason: str, case: str, label: str, json_: bool) -> None:
    from callwarden.door import open_door
    from callwarden.output import plain, print_json
    from edge.errors import CallwardenError

    named = {"recording": recording, "call": call, "person": person}
    chosen = [scope for scope, target in named.items() if target]
    if len(chosen) != 1:
        raise CallwardenError("usage.target", "name one of --recording, --call and --person", where="target")
    asked = {
        "kind": kind, "scope": chosen[0], "target": named[chosen[0]], "reason": reason, "case": case or None,
        "label": label or None,
    }  # fmt: skip
    with open_door(config_path()) as door:
        done = door.place_hold(asked)
    if json_:
        print_json(done)
        return
    covers = f", {done['calls']} calls so far" if done["scope"] == "person" else ""
    print(f"{plain(done['kind'])} {done['hold_id']} is in force on this {plain(done['scope'])}{covers}")


@hold.command("list")
@click.option("--released", is_flag=True, help="Those too that were released.")
@edge_config
@as_json
def list_(released: bool, json_: bool) -> None:
    """List holds and restrictions: who placed them, why, and who wants them released."""
    from callwarden.door import open_door
    from callwarden.output import print_json, print_table

    with open_door(config_path()) as door:
        rows = door.holds(released=released)
    if json_:
        print_json(rows)
        return
    print_table(
        ("hold", "kind", "about", "reason", "case", "label", "placed", "by", "release asked by", "released"),
        [
            (
                r["hold_id"], r["kind"], f"{r['calls']} calls of a person" if r["scope"] == "person" else
                f"{r['scope']} {r['target']}", r["reason"], r["case_ref"], r["label"], r["placed_at"], r["placed_by"],
                r["release_first_by"], r["released_at"],
            )
            for r in rows
        ],
        empty="nothing is held",
    )  # fmt: skip


@hold.command()
@click.argument("hold_id", metavar="HOLD")
@edge_config
@as_json
def release(hold_id: str, json_: bool) -> int:
    """Ask for the release of a hold or restriction, or complete it as the second person.

    HOLD is its id or 6 first digits or more. Exit 0: released. 75: a second person has to run the same command, logged in
    as themselves. 6: you were the first already.
    """
    from callwarden.door import open_door
    from callwarden.output import plain, print_json
    from edge.errors import Exit

    with open_door(config_path()) as door:
        done = door.release_hold(hold_id)
    if json_:
        print_json(done)
    elif done["released_at"]:
        print(f"released by {plain(done['release_first_by'])} and {plain(done['released_by'])}")
    else:
        print(f"asked for by {plain(done['release_first_by'])}; a second person has to run the same command")
    return int(Exit.DONE if done["released_at"] else Exit.PENDING)
