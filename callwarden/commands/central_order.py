"""`callwarden central order`: what central may do alone: about a call that is going on, and to keep something."""

from __future__ import annotations

from pathlib import Path

import click

from callwarden.centralclient import central_config, from_surroundings


@click.command()
@central_config
@click.argument("cmd", type=click.Choice(["withdraw", "pause", "resume", "hold", "restrict", "fetch"]))
@click.option("--call", "call_id", metavar="ID", help="The call's whole id (32 hex digits).")
@click.option(
    "--recording", "recording_id", metavar="ID", help="Of hold, restrict and fetch: one recording's whole id instead."
)
@click.option("--reason", required=True, help="Why; goes into the order, the receipt and both logs.")
@click.option("--case", "case_ref", help="The case it belongs to.")
@click.option("--wait", default=30.0, show_default=True, type=click.FloatRange(0, 3600), help="Seconds to wait.")
def order(
    central_config: Path | None, cmd: str, call_id: str | None, recording_id: str | None, reason: str,
    case_ref: str | None, wait: float,
) -> int:  # fmt: skip
    """Order an edge to withdraw, pause or resume the recording of a call, and wait for its receipt (stdout).

    Also to hold or restrict a call or a recording, or to fetch its ciphertext. The store signs it: no person's key is needed. An
    order to pause or resume holds for 60 seconds, to withdraw for an hour, to fetch for a day. A hold or restriction is released
    by two people (callwarden central release; at the edge, callwarden hold release). Exit 0: done. 5: no such call. 6: refused.
    75: no answer yet, or the upload goes on.
    """
    from callwarden.commands.central_erase import checked, wait_for_receipt
    from callwarden.output import note, plain, print_json
    from edge.errors import CallwardenError, Exit
    from formats.ids import is_id

    kind, target = ("recording", recording_id) if recording_id else ("call", call_id or "")
    if bool(call_id) == bool(recording_id) or (recording_id and cmd not in ("hold", "restrict", "fetch")):
        hint = "hold, restrict and fetch take a --recording too"
        raise CallwardenError("usage.target", "name one --call", hint=hint, where=cmd)
    if not is_id(target):
        raise CallwardenError(f"usage.{kind}", f"not a {kind}'s id", hint="32 hex digits", where=target)
    client = from_surroundings(central_config)
    asked = {"cmd": cmd, "target": {"kind": kind, "id": target}, "reason": reason}
    if case_ref:
        asked["case_ref"] = case_ref
    drafted = client.post("/v1/orders/draft", asked)["claims"]
    claims = checked(drafted, asked)
    answer = wait_for_receipt(client, client.post("/v1/orders", {"claims": drafted}), wait)
    if not answer["receipts"]:
        print_json({"pending": True, "jti": claims.jti, "order_sha256": answer["order_sha256"]})
        note(f"ordered, no answer yet; look again: callwarden central receipts --jti {claims.jti}")
        return int(Exit.PENDING)
    document = max(answer["receipts"], key=lambda r: r["n"])["document"]
    told = document["claims"]  # what was signed counts, not what central says beside it
    if told["jti"] != claims.jti:
        raise CallwardenError(
            "receipt.order", "central shows the receipt of another order", hint="look into central", where=claims.jti
        )
    print_json(document)
    why = f": {plain(told['reason'])}" if told.get("reason") else ""
    note(f"{plain(told['result'])} by edge {plain(told['edge_id'])}{why}")
    if told["result"] == "not_found":
        return int(Exit.NOT_FOUND)
    if told["result"] == "deferred" and cmd == "fetch":
        return int(Exit.PENDING)
    return int(Exit.DONE if told["result"] == "done" else Exit.REFUSED)
