"""`callwarden central locate|cancel|certificate`, and erasing a person or a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callwarden.centralclient import CentralClient, central_config, from_surroundings
from callwarden.options import as_json

if TYPE_CHECKING:
    from formats.keys import SigningKey


@click.command()
@central_config
@click.option("--number", required=True, help="The number, in any spelling.")
@click.option("--country", default="", help='Where a national spelling is at home: "CZ".')
@click.option("--as-of", metavar="TIME", help="Only calls that began by then (RFC 3339; default: now).")
@click.option("--reason", required=True, help="Why; goes into the order and both logs.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait.")
@as_json
def locate(
    central_config: Path | None, number: str, country: str, as_of: str | None, reason: str, case_ref: str | None,
    wait: float, json_: bool,
) -> int:  # fmt: skip
    """Find a person's calls at every edge: times, policy, length; no number comes back. Audited at each edge.

    Exit 0: every edge answered. 75: not all of them yet.
    """
    from callwarden.output import print_json
    from edge.errors import Exit

    asked = {name: one for name, one in (("case_ref", case_ref), ("as_of", as_of)) if one}
    found = search(from_surroundings(central_config), _e164(number, country), {**asked, "reason": reason}, wait)
    if json_:
        print_json(found)
    else:
        show(found)
    return int(Exit.DONE if found["complete"] else Exit.PENDING)


def search(client: CentralClient, number: str, asked: dict[str, Any], wait: float) -> dict[str, Any]:
    """Order a search and wait: `jti`, `complete`, `edges` (edge to its last word), `matches` (each with its `edge_id`)."""
    import time

    from callwarden.commands.central_erase import checked

    person = _person(number)
    body = {"cmd": "locate", "target": {"kind": "person", "id": person.id}, **asked}
    drafted = client.post("/v1/orders/draft", body)["claims"]
    checked(drafted, body)
    answer = client.post("/v1/orders", {"claims": _said(drafted), "opening": person.document()})
    end = time.monotonic() + wait
    while not answer["complete"] and time.monotonic() < end:
        time.sleep(0.2)
        answer = client.get(f"/v1/orders/{answer['jti']}")
    told = [one["document"]["claims"] for one in answer["receipts"]]
    return {
        "jti": answer["jti"],
        "complete": answer["complete"],
        "edges": {one["edge_id"]: one["result"] for one in told},
        "matches": [
            {"edge_id": one["edge_id"], **match} for one in told for match in one["evidence"].get("matches", [])
        ],
        "more": sum(one["evidence"].get("more", 0) for one in told),
    }


def show(found: dict[str, Any]) -> None:
    """The finds as a table."""
    from callwarden.output import note, plain, print_table

    print_table(
        ("began", "seconds", "edge", "policy", "direction", "outcome", "recordings", "held", "call"),
        (
            (
                m["started_at"], "" if m["seconds"] is None else m["seconds"], m["edge_id"], m["policy_id"], m["direction"],
                m["outcome"] or "", m["recordings"], "yes" if m["held"] else "", m["call_id"],
            )
            for m in found["matches"]
        ),
        empty="no call was found",
    )  # fmt: skip
    if found["more"]:
        note(f"{found['more']} more are not listed; search again with an earlier --as-of")
    for edge_id, result in found["edges"].items():
        if result.startswith("refused"):
            note(f"edge {plain(edge_id)}: {plain(result)}")
    if not found["complete"]:
        note("not every edge has answered yet")


def erase_many(
    client: CentralClient, kind: str, target: str, asked: dict[str, Any], keys: Sequence[SigningKey], *, country: str,
    yes: bool, wait: float,
) -> int:  # fmt: skip
    """Search, review, sign, submit. Exit codes as of `callwarden central erase`."""
    import contextlib
    import sys

    from callwarden.commands.central_erase import checked, wait_for_receipt
    from callwarden.output import note, plain, print_json
    from edge.errors import CallwardenError, Exit
    from formats.orders import sign_order

    more: dict[str, Any] = {}
    if kind == "person":
        number = _e164(target, country)
        why: dict[str, Any] = {name: asked[name] for name in ("reason", "case_ref", "as_of") if name in asked}
        found = search(client, number, why, wait)
        with contextlib.redirect_stdout(sys.stderr):  # stdout is the answer's
            show(found)
        left = [one for one in found["matches"] if one["call_id"] not in asked["exclude"]]
        note(f"{len(left)} of {len(found['matches'])} call(s) would be erased, and later finds")
        person = _person(number)
        asked = {**asked, "target": {"kind": kind, "id": person.id}, "located": found["jti"]}
        more = {"opening": person.document()}
    else:
        asked = {**asked, "target": {"kind": kind, "id": target}}
    if not yes:
        if not sys.stdin.isatty():
            raise CallwardenError("usage.review", "somebody must look at what was found", hint="answer, or give --yes")
        click.confirm("Restrict these now, and destroy them when the window is over?", abort=True, err=True)
    claims = checked(client.post("/v1/orders/draft", asked)["claims"], asked)
    note(f"signing: erase {kind} of fleet {plain(claims.fleet)}, reason: {plain(claims.reason)}")
    answer = client.post("/v1/orders", {"order": sign_order(claims, keys), **more})
    answer = wait_for_receipt(client, answer, wait)
    print_json(
        {
            "jti": answer["jti"], "complete": answer["complete"],
            "receipts": [one["document"]["claims"] for one in answer["receipts"]],
        }
    )  # fmt: skip
    results = [one["result"] for one in answer["receipts"]]
    note(
        f"until it is over: callwarden central cancel {answer['jti']}; then: callwarden central certificate {answer['jti']}"
    )
    if any(one.startswith("refused") for one in results):
        return int(Exit.REFUSED)
    return int(Exit.DONE if answer["complete"] else Exit.PENDING)


@click.command()
@central_config
@click.argument("jti", metavar="ORDER")
@click.option("--reason", required=True, help="Why; goes into the order and both logs.")
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A DPO's or auditor's key; else the store signs alone.",
)
def cancel(central_config: Path | None, jti: str, reason: str, key: Path | None) -> int:
    """Stop an order about a person or a policy before it destroys anything more.

    Exit 75: passed on; `callwarden central receipts --jti` shows what the edges answer.
    """
    from callwarden.commands.central_erase import checked
    from callwarden.keyfiles import read_signing_key
    from callwarden.output import note, print_json
    from edge.errors import Exit
    from formats.orders import sign_order

    client = from_surroundings(central_config)
    asked = {"cmd": "cancel", "target": {"kind": "order", "id": jti}, "reason": reason}
    drafted = client.post("/v1/orders/draft", asked)["claims"]
    claims = checked(drafted, asked)
    body = {"claims": _said(drafted)} if key is None else {"order": sign_order(claims, [read_signing_key(key)])}
    answer = client.post("/v1/orders", body)
    print_json({"jti": answer["jti"], "edges": [one["edge_id"] for one in answer["deliveries"]]})
    note(f"passed on to {len(answer['deliveries'])} edge(s)")
    return int(Exit.PENDING)


@click.command()
@central_config
@click.argument("jti", metavar="ORDER")
@click.option("--text", is_flag=True, help="In words, for a person to read.")
@click.option("--interim", is_flag=True, help="Also while edges are outstanding; it says which.")
def certificate(central_config: Path | None, jti: str, text: bool, interim: bool) -> None:
    """Print the deletion certificate of an order that is complete; `callwarden receipt verify` checks it.

    Exit 75: an edge has not given its last word, or its log is not cosigned that far.
    """
    from callwarden.certificatetext import in_words
    from callwarden.output import print_json

    document = from_surroundings(central_config).get(f"/v1/certificates/{jti}", **({"interim": 1} if interim else {}))
    if text:
        print(in_words(document["claims"]))
    else:
        print_json(document)


def _said(drafted: dict[str, Any]) -> dict[str, Any]:
    """Claims without the members that say nothing."""
    return {name: one for name, one in drafted.items() if one or name == "case_ref"}


def _e164(number: str, country: str) -> str:
    from edge.consent.numbers import e164
    from edge.errors import CallwardenError

    found = e164(number, country)
    if found is None:
        hint = "write it with its country, +420…, or name --country"
        raise CallwardenError("usage.number", "this is no telephone number", hint=hint, where="number")
    return found


def _person(number: str) -> Any:
    import secrets

    from formats.orders import Person

    return Person(secrets.token_bytes(16), number)
