"""`callwarden central case search|review|execute`: what a case does at the edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callwarden.centralclient import CentralClient, central_config, from_surroundings

if TYPE_CHECKING:
    from formats.keys import SigningKey

_KEY = click.Path(path_type=Path, dir_okay=False)


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option(
    "--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait for edges."
)
@click.option("--note", default="", help="Why it goes on although an edge has not answered.")
def search(central_config: Path | None, ref: str, wait: float, note: str) -> int:
    """Find the person's calls at every edge.

    Exit 75: an edge has not answered; search again, or say with --note why it is passed over.
    """
    from callwarden.commands.central_many import search as locate
    from callwarden.commands.central_many import show

    client = from_surroundings(central_config)
    for number in numbers_of(client, ref, "search"):
        show(locate(client, number, {"case_ref": ref, "reason": f"search, {ref}"}, wait))
    return _step(client, ref, "search", note)


def numbers_of(client: CentralClient, ref: str, why: str) -> list[str]:
    """The person's numbers in E.164. Raises usage.number where one is none."""
    from callwarden.commands.central_many import _e164

    found = client.post(f"/v1/cases/{ref}/person", {"text": why})
    return list(dict.fromkeys(_e164(one, found["country"]) for one in found["numbers"]))


def _step(client: CentralClient, ref: str, act: str, note: str) -> int:
    """Take it; 75 where something is still missing."""
    from callwarden import output
    from edge.errors import CallwardenError, Exit

    try:
        case = client.post(f"/v1/cases/{ref}/steps", {"act": act, "note": note})
    except CallwardenError as error:
        if error.code != "case.pending":
            raise
        output.note(f"not yet: {output.plain(error.message)}")
        return int(Exit.PENDING)
    print(case["state"])
    output.note(f"next: {', '.join(case['allowed']) or 'nothing'}")
    return int(Exit.DONE)


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option("--include", multiple=True, metavar="CALL", help="A call that is the person's; repeat.")
@click.option("--exclude", multiple=True, metavar="CALL", help="A call that is not; repeat.")
@click.option("--include-rest", is_flag=True, help="Every call that nobody decided about yet is in.")
@click.option("--reason", required=True, help="Why these are in, or out.")
@click.option("--done", is_flag=True, help="The review is complete: every call is in or out.")
def review(
    central_config: Path | None, ref: str, include: tuple[str, ...], exclude: tuple[str, ...], include_rest: bool, reason: str,
    done: bool,
) -> int:  # fmt: skip
    """Include or exclude calls that were found.

    CALL is a whole id as `case show` prints it. Nothing is disclosed, erased or restricted but what is in.
    """
    from edge.errors import CallwardenError, Exit

    client = from_surroundings(central_config)
    found = client.get(f"/v1/cases/{ref}")["matches"]
    named = [*include, *exclude]
    if unknown := set(named) - {m["call_id"] for m in found}:
        raise CallwardenError("usage.call", f"no search found {' '.join(sorted(unknown))}", where="--include")
    if len(set(named)) != len(named):
        raise CallwardenError("usage.call", "a call is in or out, not both", where="--exclude")
    wanted = dict.fromkeys(include, True) | dict.fromkeys(exclude, False)
    choices = [
        {"edge_id": m["edge_id"], "call_id": m["call_id"], "include": wanted.get(m["call_id"], True), "reason": reason}
        for m in found
        if m["call_id"] in wanted or (include_rest and m["included"] is None)
    ]
    if choices:
        client.post(f"/v1/cases/{ref}/choices", {"choices": choices})
    print(f"{sum(bool(c['include']) for c in choices)} in, {sum(not c['include'] for c in choices)} out")
    return _step(client, ref, "review", "") if done else int(Exit.DONE)


@click.command()
@central_config
@click.argument("ref", metavar="CASE")
@click.option(
    "--dpo-key", "dpo_keys", type=_KEY, multiple=True, help="Of an erasure: a DPO's secret key file. It signs here."
)
@click.option(
    "--erase", is_flag=True, help="Of an objection: the basis does not outlive it, so the calls are erased, too."
)
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option(
    "--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait for edges."
)
@click.option("--note", default="", help="Why it counts as done although an edge has not answered.")
def execute(
    central_config: Path | None, ref: str, dpo_keys: tuple[Path, ...], erase: bool, yes: bool, wait: float, note: str
) -> int:
    """Do what was asked, to the calls that the review included.

    Erasure: an order that the DPO signs. Restriction and objection: orders to restrict. Rectification: the commands to run at the edges
    are printed. Access and portability: `case package` does it, and this records that it is done. Nothing is ordered twice; exit 75:
    not every edge has answered yet, run it again.
    """
    import sys

    from callwarden import output
    from callwarden.keyfiles import read_signing_key
    from edge.errors import CallwardenError

    client = from_surroundings(central_config)
    case = client.get(f"/v1/cases/{ref}")
    included = [m for m in case["matches"] if m["included"]]
    erases = case["kind"] == "erasure" or (case["kind"] == "objection" and erase)
    if included and case["state"] == "reviewed" and case["kind"] in ("erasure", "restriction", "objection"):
        if erases and not dpo_keys:
            raise CallwardenError(
                "usage.key", "an erasure is signed by a DPO", hint="--dpo-key FILE", where="--dpo-key"
            )
        what = "erase" if erases else "restrict"
        output.note(f"{what} {len(included)} call(s) of {len({m['edge_id'] for m in included})} edge(s) for {ref}")
        if not yes:
            if not sys.stdin.isatty():
                raise CallwardenError("usage.review", "somebody must answer for it", hint="answer, or give --yes")
            click.confirm("Order it?", abort=True, err=True)
        keys = [read_signing_key(one) for one in dpo_keys]
        _order(client, case, included, erases, keys)
        _wait(client, ref, wait)
    elif case["kind"] == "rectification":
        for one in included:
            output.note(f"at edge {output.plain(one['edge_id'])}: callwarden rectify {one['call_id']} … --reason {ref}")
    return _step(client, ref, "execute", note)


def _order(
    client: CentralClient,
    case: dict[str, Any],
    included: Sequence[dict[str, Any]],
    erases: bool,
    keys: Sequence[SigningKey],
) -> None:
    """What is not ordered yet. A person where nothing was left out, for then what comes to light later is covered, too; else each call
    by itself, but one order with exceptions where it erases."""
    from edge.errors import CallwardenError

    ref, out = case["ref"], [m["call_id"] for m in case["matches"] if m["included"] is False]
    if case["kind"] != "erasure":
        _restrict(client, case, included, whole=not out)
    if not erases:
        return
    searches = [o["jti"] for o in case["orders"] if o["cmd"] == "locate"]
    numbers = numbers_of(client, ref, "erasure")
    before = sum(o["cmd"] == "erase" for o in case["orders"])
    located = searches[-len(numbers) :]
    if len(located) < len(numbers):
        hint = f"callwarden central case search {ref}"
        raise CallwardenError("case.search", "not every number of the person was searched for", hint=hint, where=ref)
    for number, found in list(zip(numbers, located, strict=True))[before:]:
        asked = {"cmd": "erase", "reason": f"erasure, {ref}", "case_ref": ref, "located": found, "exclude": out}
        _person(client, number, asked, keys)


def _restrict(client: CentralClient, case: dict[str, Any], included: Sequence[dict[str, Any]], *, whole: bool) -> None:
    ref = case["ref"]
    asked = {"cmd": "restrict", "reason": f"{case['kind']}, {ref}", "case_ref": ref}
    before = [o["target"] for o in case["orders"] if o["cmd"] == "restrict"]
    if whole:
        for number in numbers_of(client, ref, "restriction")[before.count("person") :]:
            _person(client, number, asked, [])
        return
    for one in included:
        if f"call {one['call_id']}" not in before:
            _submit(client, {**asked, "target": {"kind": "call", "id": one["call_id"]}}, [], {})


def _person(client: CentralClient, number: str, asked: dict[str, Any], keys: Sequence[SigningKey]) -> None:
    from callwarden.commands.central_many import _person as opening

    person = opening(number)
    _submit(client, {**asked, "target": {"kind": "person", "id": person.id}}, keys, {"opening": person.document()})


def _submit(client: CentralClient, asked: dict[str, Any], keys: Sequence[SigningKey], more: dict[str, Any]) -> None:
    from callwarden.commands.central_erase import checked
    from callwarden.commands.central_many import _said
    from callwarden.output import note, plain
    from formats.orders import sign_order

    drafted = client.post("/v1/orders/draft", asked)["claims"]
    claims = checked(drafted, asked)
    if keys:
        note(
            f"signing: {claims.cmd} {claims.target.kind} of fleet {plain(claims.fleet)}, reason: {plain(claims.reason)}"
        )
        client.post("/v1/orders", {"order": sign_order(claims, keys), **more})
    else:
        client.post("/v1/orders", {"claims": _said(drafted), **more})


def _wait(client: CentralClient, ref: str, wait: float) -> None:
    """Until every order of the case is complete. A person's erasure takes the edges' window: that is not waited for."""
    import time

    end = time.monotonic() + wait
    while time.monotonic() < end:
        orders = client.get(f"/v1/cases/{ref}")["orders"]
        if all(o["complete"] or (o["cmd"] == "erase" and o["results"]) for o in orders):
            return
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))
