"""`callwarden receipt show ID`, `carry ORDER`, `certificate RECORDING` and `callwarden receipt verify FILE --trust KEYS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callwarden.options import as_json, edge_config

if TYPE_CHECKING:
    from formats.keyset import KeySet

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def receipt() -> None:
    """Show and verify deletion receipts."""


@receipt.command()
@click.argument("subject", metavar="ID")
@edge_config
def show(subject: str) -> None:
    """Print the receipt that this edge signed about an erased recording or an order, to be kept and verified.

    ID is the whole id of the recording, the order or the receipt. Of several the last word is printed.
    """
    from callwarden.door import open_door
    from callwarden.options import config_path
    from callwarden.output import note, plain, print_json

    with open_door(config_path()) as door:
        found = door.receipts(subject)
    last = found[-1]
    note(f"{plain(last['result'])}, receipt {last['receipt_id']} ({len(found)} in all)")
    print_json(last["document"])


@receipt.command()
@click.argument("subject", metavar="ORDER")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@edge_config
def carry(subject: str, out: Path) -> None:
    """Write every receipt this edge signed about an order into a file, to be carried to central where no link goes:
    `callwarden central take-receipts FILE` there."""
    import json

    from callwarden.door import open_door
    from callwarden.keyfiles import write_new
    from callwarden.options import config_path
    from callwarden.output import note

    with open_door(config_path()) as door:
        found = sorted(door.receipts(subject), key=lambda one: int(one["n"]))
    documents = [one["document"] for one in found]
    value = {
        "type": "callwarden-receipts-file/v1", "edge_id": documents[0]["claims"]["edge_id"],
        "receipts": [one["jws"] for one in documents],
    }  # fmt: skip
    write_new(out, (json.dumps(value, indent=1) + "\n").encode())
    note(f"{len(documents)} receipt(s); at central: callwarden central take-receipts {out}")


@receipt.command()
@click.argument("recording", metavar="RECORDING")
@click.option("--text", is_flag=True, help="In words, for a person to read.")
@edge_config
def certificate(recording: str, text: bool) -> None:
    """Print this edge's own deletion certificate of a recording it erased, by an order or on a ground.

    Exit 75: its order is not carried out yet.
    """
    from callwarden.certificatetext import in_words
    from callwarden.door import open_door
    from callwarden.options import config_path
    from callwarden.output import print_json

    with open_door(config_path()) as door:
        document = door.erasure("certificate", {"recording": recording})
    if text:
        print(in_words(document["claims"]))
    else:
        print_json(document)


@receipt.command()
@click.argument("file", type=_FILE)
@click.option("--trust", type=_FILE, required=True, help="The key set to believe (trust.json).")
@as_json
def verify(file: Path, trust: Path, json_: bool) -> None:
    """Check a receipt or a deletion certificate with nothing but the trusted keys; needs no daemon and no network. Exit 7
    when it does not hold."""
    import msgspec

    from callwarden.keyfiles import read_trust
    from callwarden.output import plain, print_json
    from callwarden.receiptcheck import check_receipt, is_certificate
    from formats.errors import ReceiptError

    keys = read_trust(trust)
    data = file.read_bytes()
    try:
        if is_certificate(data):
            _certificate(data, keys, json_)
            return
        checked = check_receipt(data, keys)
    except ReceiptError as error:
        from edge.errors import CallwardenError

        hint = "do not rely on it; ask the edge for its receipt again"
        raise CallwardenError(error.code, error.message, hint=hint, where=str(file)) from error
    proof = checked.proof
    claims, order = proof.claims, proof.order
    if json_:
        print_json(
            {
                "verified": True,
                "claims": msgspec.to_builtins(claims),
                "order": msgspec.to_builtins(order),
                "ground": msgspec.to_builtins(proof.ground),
                "ordered_by": [{"kid": s.kid, "role": s.role, "owner": s.owner} for s in proof.ordered_by],
                "edge_kid": proof.edge.kid,
                "keeper": {"result": checked.keeper, "signed": checked.keeper_signed},
                "checkpoint_size": checked.checkpoint_size,
            }
        )
        return
    if order is not None:
        signers = ", ".join(f"{s.owner} ({s.role})" for s in proof.ordered_by)
        print(f"holds: {claims.result}, {order.cmd} of {order.target.kind} {plain(order.target.id)}")
        print(f"  done by edge {plain(claims.edge_id)} at {claims.at}")
        print(f"  ordered by {plain(signers)} at {order.iat}, reason: {plain(order.reason)}")
    elif proof.ground is not None:
        print(f"holds: {claims.result}, erase of recording {proof.ground.recording_id}")
        print(f"  done by edge {plain(claims.edge_id)} at {claims.at}")
        print(f"  nobody ordered it: {proof.ground.cause} in call {proof.ground.call_id}, on the edge's own word")
    if claims.key_ids:
        print(f"  keys destroyed: {', '.join(claims.key_ids)}")
    print(f"  central's copies: {plain(checked.keeper)}" + (" (signed)" if checked.keeper_signed else ""))
    if checked.checkpoint_size is not None:
        print(f"  audit log of the edge: {checked.checkpoint_size} entries were signed with it")
    if claims.reason:
        print(f"  note: {plain(claims.reason)}")


def _certificate(data: bytes, keys: KeySet, json_: bool) -> None:
    """Raises ReceiptError."""
    from callwarden.certificatetext import in_words
    from callwarden.output import plain, print_json
    from formats.certificate import open_certificate

    proven = open_certificate(data, keys)
    if json_:
        print_json(
            {
                "verified": True,
                "claims": proven.claims,
                "issuer_kid": proven.issuer.kid,
                "receipts": len(proven.receipts),
                "logged": proven.logged,
                "witnessed": proven.witnessed,
            }
        )
        return
    print(f"holds: {len(proven.receipts)} receipt(s), signed by {plain(proven.issuer.owner)}")
    witness = "cosigned by a witness" if proven.witnessed else "self-witnessed"
    print(f"  {proven.logged} of them in the edges' audit logs, {witness}\n")
    print(in_words(proven.claims))
