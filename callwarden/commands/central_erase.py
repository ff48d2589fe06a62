"""`callwarden central erase`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from callwarden.centralclient import CentralClient, central_config, from_surroundings

#: Between two looks for the receipt, seconds: quick at first, since an erasure takes less than a second.
_FIRST_LOOK_S, _SLOWEST_LOOK_S = 0.1, 1.0


@click.command()
@central_config
@click.option("--recording", metavar="ID", help="The recording's whole id (32 hex digits).")
@click.option("--call", metavar="ID", help="All recordings of a call, by its whole id.")
@click.option(
    "--person", metavar="NUMBER", help="All calls of a number, in any spelling. Shown first, and asked about."
)
@click.option("--policy", metavar="NAME", help="All calls under a policy, at every edge.")
@click.option("--reason", required=True, help="Why; goes into the order, the receipt and both logs.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option(
    "--dpo-key",
    "dpo_keys",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    multiple=True,
    help="A DPO's secret key file. It signs here and never leaves this process. Twice where edges demand a second.",
)
@click.option("--as-of", metavar="TIME", help="Calls that began later are not covered (RFC 3339; default: now).")
@click.option("--exclude", metavar="CALL", multiple=True, help="A call that was found and is left out; repeat.")
@click.option("--exported-to", metavar="WHERE", help="Of a policy: where its recordings were handed over.")
@click.option("--country", default="", help='Where a national spelling of the number is at home: "CZ".')
@click.option("--yes", is_flag=True, help="What was found is approved; do not ask.")
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait.")
@click.option(
    "--trust", type=click.Path(path_type=Path, dir_okay=False), help="Verify the receipt against this key set, too."
)
def erase(
    central_config: Path | None,
    recording: str | None,
    call: str | None,
    person: str | None,
    policy: str | None,
    reason: str,
    case_ref: str | None,
    dpo_keys: tuple[Path, ...],
    as_of: str | None,
    exclude: tuple[str, ...],
    exported_to: str | None,
    country: str,
    yes: bool,
    wait: float,
    trust: Path | None,
) -> int:
    """Order a recording, a call, a person or a policy erased, and wait for a receipt, which goes to stdout.

    A person or a policy is restricted at once and destroyed after the edges' window; until then `callwarden central cancel`
    stops it. Exit 0: erased (now or before). 5: no such thing. 6: refused or deferred. 75: still under way.
    """
    from callwarden.keyfiles import read_signing_key
    from callwarden.output import note, plain, print_json
    from edge.errors import CallwardenError, Exit
    from formats.ids import is_id
    from formats.orders import sign_order

    named = [(kind, one) for kind, one in (("recording", recording), ("call", call)) if one]
    many = [(kind, one) for kind, one in (("person", person), ("policy", policy)) if one]
    if len(named) + len(many) != 1:
        raise CallwardenError("usage.target", "name one of --recording, --call, --person, --policy", where="erase")
    keys = [read_signing_key(one) for one in dpo_keys]
    client = from_surroundings(central_config)
    asked: dict[str, Any] = {"cmd": "erase", "reason": reason}
    asked |= {name: one for name, one in (("case_ref", case_ref), ("as_of", as_of)) if one}
    if many:
        from callwarden.commands.central_many import erase_many

        asked |= {"exclude": list(exclude), **({"exported_to": exported_to} if exported_to else {})}
        return erase_many(client, *many[0], asked, keys, country=country, yes=yes, wait=wait)
    kind, target = named[0]
    if not is_id(target):
        raise CallwardenError(f"usage.{kind}", f"not a {kind}'s id", hint="32 hex digits", where=target)
    recording = target
    asked["target"] = {"kind": kind, "id": target}
    claims = checked(client.post("/v1/orders/draft", asked)["claims"], asked)
    note(f"signing: erase {kind} {target} of fleet {plain(claims.fleet)}, reason: {plain(claims.reason)}")
    answer = client.post("/v1/orders", {"order": sign_order(claims, keys)})
    answer = wait_for_receipt(client, answer, wait)
    receipts = answer["receipts"]
    if not receipts:
        print_json({"pending": True, "jti": claims.jti, "order_sha256": answer["order_sha256"]})
        note(f"ordered, no answer yet; look again: callwarden central receipts --jti {claims.jti}")
        return int(Exit.PENDING)
    document = max(receipts, key=lambda r: r["n"])["document"]
    told = document["claims"]  # what was signed counts, not what central says beside it
    if told["jti"] != claims.jti or (kind == "recording" and told.get("recording_id") not in (None, target)):
        raise CallwardenError(
            "receipt.order", "central shows the receipt of another order", hint="look into central", where=claims.jti
        )
    if trust is not None:
        from callwarden.keyfiles import read_trust
        from callwarden.receiptcheck import check_receipt
        from formats import canonical

        check_receipt(canonical.dumps(document), read_trust(trust))
    print_json(document)
    return _verdict(told, recording)


def checked(claims: object, asked: dict[str, Any]) -> Any:
    """The drafted claims, if they order what was asked and nothing else: a person signs what they meant to sign."""
    import msgspec

    from edge.errors import CallwardenError
    from formats.orders import OrderClaims

    try:
        drafted = msgspec.convert(claims, OrderClaims)
    except msgspec.ValidationError as error:
        raise CallwardenError("sync.answer", f"central drafted no order: {error}") from error
    target = {"kind": drafted.target.kind, "id": drafted.target.id}
    drawn = (drafted.cmd, target, drafted.reason, drafted.case_ref, drafted.located, drafted.exported_to)
    meant = tuple(asked.get(name) for name in ("cmd", "target", "reason", "case_ref", "located", "exported_to"))
    if (
        drawn != meant
        or drafted.content != asked.get("content", {})
        or list(drafted.exclude) != list(asked.get("exclude", ()))
        or drafted.as_of != asked.get("as_of", drafted.as_of)
    ):
        raise CallwardenError(
            "auth.draft",
            "central drafted another order than was asked for; it was not signed",
            hint="look into central",
        )
    return drafted


def wait_for_receipt(client: CentralClient, answer: dict[str, Any], wait: float) -> dict[str, Any]:
    """Look until there is a receipt. The order is accepted by now: a central that is away for a moment ends nothing."""
    from callwarden.failure import shown
    from callwarden.output import note
    from edge.errors import CallwardenError

    end, pause = time.monotonic() + wait, _FIRST_LOOK_S
    while not answer["complete"] and not answer["receipts"] and (left := end - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _SLOWEST_LOOK_S)
        try:
            answer = client.get(f"/v1/orders/{answer['jti']}")
        except CallwardenError as error:
            if not error.code.startswith(("sync.", "central.")):
                raise
            note(f"still asking: {shown(error)}")
    return answer


def _verdict(claims: dict[str, Any], recording: str) -> int:
    from callwarden.output import note, plain
    from edge.errors import Exit

    result = str(claims["result"])
    told = f" ({plain(claims['reason'])})" if claims.get("reason") else ""
    edge = plain(claims["edge_id"])
    if result == "done":
        note(
            f"erased: recording {recording} at {claims['at']} by edge {edge}, {len(claims['key_ids'])} key(s) destroyed"
        )
        return int(Exit.DONE)
    if result == "already":
        note(f"erased before: recording {recording}, says edge {edge}{told}")
        return int(Exit.DONE)
    if result == "not_found":
        note(f"not found: edge {edge} has no recording {recording}")
        return int(Exit.NOT_FOUND)
    if result == "deferred":
        note(f"deferred: edge {edge} may not erase it yet{told}; it will when the obstacle ends")
    else:
        note(f"{plain(result)}: edge {edge} did not erase it{told}")
    return int(Exit.REFUSED)
