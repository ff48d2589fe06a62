"""`callwarden order …`: orders made, signed and carried by hand, and what became of those that came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from callwarden.options import as_json, config_path, edge_config

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_KEY = click.Path(path_type=Path, dir_okay=False)
TYPE = "callwarden-order-file/v1"
#: What each command can be about, made by hand.
_TARGETS = {
    "erase": ("recording", "call", "person", "policy"), "cancel": ("order",), "release": ("hold",), "policy": ("policy",),
    "keys": ("fleet",),
}  # fmt: skip


@click.group()
def order() -> None:
    """Make, sign and apply orders by hand; see what became of those that came."""


@order.command()
@click.argument("cmd", type=click.Choice(["erase", "cancel", "release", "policy", "keys"]))
@click.option("--recording", metavar="ID", help="Of one recording.")
@click.option("--call", metavar="ID", help="Of a call's recordings.")
@click.option("--person", metavar="NUMBER", help="Of all calls of a number, in any spelling. Found and shown first.")
@click.option("--policy", metavar="NAME", help="Of all calls under a policy; of cmd policy: the one that is replaced.")
@click.option("--order", "jti", metavar="ID", help="The order to cancel.")
@click.option("--hold", metavar="ID", help="The hold or restriction to release; two people sign.")
@click.option("--file", type=_FILE, help="Of policy: its table ([policy.NAME]); of keys: the key set document.")
@click.option("--fleet", default="local", show_default=True, help="The fleet this edge was enrolled in.")
@click.option("--reason", required=True, help="Why; goes into the order, the receipt and the certificate.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option("--as-of", metavar="TIME", help="Calls that began later are not covered (RFC 3339; default: now).")
@click.option("--exclude", metavar="CALL", multiple=True, help="A call that was found and is left out; repeat.")
@click.option("--exported-to", metavar="WHERE", help="Of a policy: where its recordings were handed over.")
@click.option("--key", "keys", type=_KEY, required=True, multiple=True, help="Secret key file of who signs; repeat.")
@click.option("--yes", is_flag=True, help="What was found is approved; do not ask.")
@click.option(
    "--out", type=_KEY, required=True, help="File to write; of a person it holds the number, so keep it safe."
)
@edge_config
def new(
    cmd: str, recording: str | None, call: str | None, person: str | None, policy: str | None, jti: str | None, hold: str | None,
    file: Path | None, fleet: str,
    reason: str, case_ref: str | None, as_of: str | None, exclude: tuple[str, ...], exported_to: str | None,
    keys: tuple[Path, ...], yes: bool, out: Path,
) -> None:  # fmt: skip
    """Make an order and sign it, without central. `callwarden order apply` carries it out.

    Where this edge pins no store, a DPO's signature is enough; else it needs the store's too, and comes from central.
    """
    import secrets
    import sys
    from datetime import UTC, datetime

    from callwarden.keyfiles import read_signing_key, write_new
    from callwarden.output import note
    from edge.errors import CallwardenError
    from formats.errors import FormatError
    from formats.ids import format_time
    from formats.orders import OrderClaims, Person, Target, sign_order

    named = [
        ("recording", recording), ("call", call), ("person", person), ("policy", policy), ("order", jti), ("hold", hold),
        ("fleet", fleet if cmd == "keys" else None),
    ]  # fmt: skip
    given = [(kind, one) for kind, one in named if one]
    if len(given) != 1 or given[0][0] not in _TARGETS[cmd]:
        hint = "erase: --recording, --call, --person or --policy; cancel: --order; release: --hold; policy: --policy"
        raise CallwardenError("usage.target", "name one thing", hint=hint, where=cmd)
    if (file is not None) != (cmd in ("policy", "keys")):
        raise CallwardenError("usage.file", "policy and keys bring a --file, and nothing else does", where=cmd)
    content = _content(cmd, file) if file is not None else {}
    kind, target = given[0]
    now = format_time(datetime.now(UTC))
    located, opening = None, None
    if kind == "person":
        found = _door("locate", {"number": target, "as_of": as_of or now})
        _show(found)
        if not yes and not sys.stdin.isatty():
            raise CallwardenError("usage.review", "somebody must look at what was found", hint="answer, or give --yes")
        if not yes:
            click.confirm("Erase these, and what is found later?", abort=True, err=True)
        who = Person(secrets.token_bytes(16), found["number"])
        target, located, opening = who.id, found["located"], who.document()
    try:
        claims = OrderClaims(
            iss="by hand", jti=secrets.token_hex(16), iat=now, fleet=fleet, cmd=cmd,  # type: ignore[arg-type]
            target=Target(kind, target), as_of=as_of or now, reason=reason, case_ref=case_ref,  # type: ignore[arg-type]
            located=located, exclude=exclude, exported_to=exported_to, content=content,
        )  # fmt: skip
        document = sign_order(claims, [read_signing_key(one) for one in keys])
    except FormatError as error:
        raise CallwardenError("usage.order", error.message, where="order") from error
    text = json.dumps({"type": TYPE, "order": document, "opening": opening}, indent=1) + "\n"
    write_new(out, text.encode())
    note(f"order {claims.jti}: {cmd} of a {kind}; carry it out with: callwarden order apply {out}")


@order.command()
@click.argument("file", type=_FILE)
@click.option("--key", type=_KEY, required=True, help="Secret key file of who signs, too.")
def sign(file: Path, key: Path) -> None:
    """Add a signature to an order in a file, after a look at what it says: stdout has the order with it."""
    from callwarden.keyfiles import read_signing_key
    from callwarden.output import note, plain, print_json
    from formats.orders import countersign_order, read_order

    value = _read(file)
    claims = read_order(value["order"])
    note(f"signing: {claims.cmd} of a {claims.target.kind}, reason: {plain(claims.reason)}")
    print_json({**value, "order": countersign_order(value["order"], read_signing_key(key))})


@order.command()
@click.argument("file", type=_FILE)
@edge_config
def apply(file: Path) -> None:
    """Hand an order in a file to this edge's daemon, which checks it as it checks central's.

    Exit 6: it is not signed as it must be. What comes of it: `callwarden order list`, `callwarden receipt show`.
    """
    from callwarden.output import note, print_json

    value = _read(file)
    answer = _door("take", {"order": value["order"], "opening": value.get("opening")})
    print_json(answer)
    note(f"order {answer['jti']} " + ("is taken" if answer["new"] else "was here before"))


@order.command(name="list")
@as_json
@edge_config
def list_(json_: bool) -> None:
    """List the orders that came to this edge, with how far they are."""
    from callwarden.output import print_json, print_table

    rows = _door("orders", {})["orders"]
    if json_:
        print_json(rows)
        return
    print_table(
        ("received", "order", "what", "state", "until", "waiting", "done", "answers"),
        (
            (
                r["received_at"], r["jti"], f"{r['cmd']} {r['target']}", r["state"], r["due_at"], r["waiting"], r["done"],
                " ".join(r["results"][-3:]),
            )
            for r in rows
        ),
        empty="no order came yet",
    )  # fmt: skip


@order.command()
@click.argument("jti", metavar="ORDER")
@edge_config
def show(jti: str) -> None:
    """Print how far an order is: calls that wait, calls that are done, what holds some, each answer."""
    from callwarden.output import print_json
    from edge.errors import CallwardenError

    found = [one for one in _door("orders", {})["orders"] if one["jti"] == jti]
    if not found:
        raise CallwardenError("not_found.order", "no such order came here", hint="callwarden order list", where=jti)
    print_json(found[0])


@click.command()
@click.argument("call")
@click.option("--number", help="The right number of the party the call is about.")
@click.option("--language", help='The right language, for example "cs".')
@click.option("--policy", help="The policy (queue) it belongs to; one that keeps it no shorter.")
@click.option("--reason", required=True, help="Why, in words that name nobody.")
@edge_config
def rectify(call: str, number: str | None, language: str | None, policy: str | None, reason: str) -> None:
    """Correct a call's metadata. The old value is kept as a salted hash only; the log says which field, never a value."""
    from callwarden.output import print_json

    given = {name: one for name, one in (("number", number), ("language", language), ("policy", policy)) if one}
    print_json(_door("rectify", {"call": call, "reason": reason, **given}))


def _door(verb: str, body: dict[str, Any]) -> Any:
    from callwarden.door import open_door

    with open_door(config_path()) as door:
        return door.erasure(verb, body)


def _content(cmd: str, file: Path) -> dict[str, Any]:
    """What an order brings, from a file: a policy's table, or a key set without the edges' own keys."""
    from callwarden.keyfiles import read_trust
    from formats import canonical
    from formats.keyset import KeySet

    if cmd == "policy":
        return {"toml": file.read_text("utf-8")}
    keys = KeySet.of(one for one in read_trust(file).entries if one.role != "edge")
    return {"keyset": canonical.loads(keys.dump())}


def _read(file: Path) -> dict[str, Any]:
    """An order file, or the order alone."""
    from edge.errors import CallwardenError

    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise CallwardenError("usage.order", "the file is no order", where=str(file)) from error
    if isinstance(value, dict) and value.get("type") == TYPE and isinstance(value.get("order"), dict):
        return value
    if isinstance(value, dict) and value.keys() == {"payload", "signatures"}:
        return {"type": TYPE, "order": value, "opening": None}
    raise CallwardenError("usage.order", "the file is no order", hint="callwarden order new makes one", where=str(file))


def _show(found: dict[str, Any]) -> None:
    import contextlib
    import sys

    from callwarden.commands.central_many import show as table

    matches = [{"edge_id": "", **one} for one in found["matches"]]
    with contextlib.redirect_stdout(sys.stderr):
        table({"matches": matches, "more": found["more"], "edges": {}, "complete": True})
