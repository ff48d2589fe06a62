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
@click.option("--recording", required=True, metavar="ID", help="The recording's whole id (32 hex digits).")
@click.option("--reason", required=True, help="Why; goes into the order, the receipt and both logs.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option(
    "--dpo-key",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The DPO's secret key file. It signs here and never leaves this process.",
)
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait.")
@click.option(
    "--trust", type=click.Path(path_type=Path, dir_okay=False), help="Verify the receipt against this key set, too."
)
def erase(
    central_config: Path | None,
    recording: str,
    reason: str,
    case_ref: str | None,
    dpo_key: Path,
    wait: float,
    trust: Path | None,
) -> int:
    """Order a recording erased and wait for the edge's receipt, which goes to stdout.

    Exit 0: erased (now or before). 5: no such recording. 6: refused or deferred. 75: still under way.
    """
    from callwarden.keyfiles import read_signing_key
    from callwarden.output import note, plain, print_json
    from edge.errors import CallwardenError, Exit
    from formats.ids import is_id
    from formats.orders import sign_order

    if not is_id(recording):
        raise CallwardenError("usage.recording", "not a recording's id", hint="32 hex digits", where=recording)
    key = read_signing_key(dpo_key)
    client = from_surroundings(central_config)
    asked = {"cmd": "erase", "target": {"kind": "recording", "id": recording}, "reason": reason}
    if case_ref:
        asked["case_ref"] = case_ref
    claims = checked(client.post("/v1/orders/draft", asked)["claims"], asked)
    note(f"signing: erase recording {recording} of fleet {plain(claims.fleet)}, reason: {plain(claims.reason)}")
    answer = client.post("/v1/orders", {"order": sign_order(claims, [key])})
    answer = wait_for_receipt(client, answer, wait)
    receipts = answer["receipts"]
    if not receipts:
        print_json({"pending": True, "jti": claims.jti, "order_sha256": answer["order_sha256"]})
        note(f"ordered, no answer yet; look again: callwarden central receipts --jti {claims.jti}")
        return int(Exit.PENDING)
    document = max(receipts, key=lambda r: r["n"])["document"]
    told = document["claims"]  # what was signed counts, not what central says beside it
    if told["jti"] != claims.jti or told.get("recording_id") not in (None, recording):
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
    if (drafted.cmd, target, drafted.reason, drafted.case_ref) != (
        asked["cmd"],
        asked["target"],
        asked["reason"],
        asked.get("case_ref"),
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
