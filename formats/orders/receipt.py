"""Receipts: an edge's signed answer to an order, or its word about an erasure that nobody ordered, and the document that
proves either to anybody with the trusted keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formats import canonical
from formats.errors import FormatError, ReceiptError
from formats.jws import sign_compact, verify_compact
from formats.keys import SigningKey, unb64url
from formats.keyset import KeyEntry, KeySet
from formats.orders.authority import MANY
from formats.orders.claims import RECEIPT_TYP, OrderClaims, ReceiptClaims, decode, encode
from formats.orders.ground import MEMBER, Ground, ground_of
from formats.orders.order import read_order, verify_order

TYPE = "callwarden-receipt/v1"
_MEMBERS = {"type", "claims", "jws", "order"}


@dataclass(frozen=True)
class VerifiedReceipt:
    """What a receipt document proves: what was ordered and by whom, what was done and by which edge.

    order: None where the edge erased by itself; then `ground` says why, and nobody but the edge signed it.
    """

    claims: ReceiptClaims
    order: OrderClaims | None
    ordered_by: tuple[KeyEntry, ...]
    edge: KeyEntry
    ground: Ground | None = None


def sign_receipt(claims: ReceiptClaims, key: SigningKey) -> str:
    """The compact JWS. Raises OrderError `command.malformed`."""
    return sign_compact(encode(claims), key, key.kid, RECEIPT_TYP)


def verify_receipt(jws: str, keys: KeySet) -> tuple[ReceiptClaims, KeyEntry]:
    """The claims, signed by the very edge they name, with a key that counted at the time they name.

    Raises SignatureError, OrderError `command.malformed`, ReceiptError `receipt.edge`.
    """
    verified = verify_compact(jws, keys, RECEIPT_TYP, "edge")
    claims = decode(verified.payload, ReceiptClaims)
    keys.active(claims.at).find(verified.signer.kid, "edge")
    if verified.signer.edge_id != claims.edge_id:
        raise ReceiptError("receipt.edge", f"the receipt of {claims.edge_id} is signed by {verified.signer.edge_id}")
    return claims, verified.signer


def read_receipt(jws: str) -> ReceiptClaims:
    """The claims, NOT verified: of one that was verified before. Raises ReceiptError, OrderError, SignatureError, JsonError."""
    return decode(_payload(jws), ReceiptClaims)


def receipt_document(jws: str, order: Mapping[str, Any] | str | bytes | None) -> dict[str, Any]:
    """The document that `callwarden receipt verify` reads: the claims to look at, the JWS and the order to prove them
    (None where there was none: the ground is among the claims).

    Raises OrderError, SignatureError, JsonError where either is malformed; nothing is verified.
    """
    payload = canonical.loads(_payload(jws))
    if order is None:
        return {"type": TYPE, "claims": payload, "jws": jws, "order": None}
    document = canonical.loads(order) if isinstance(order, str | bytes) else dict(order)
    read_order(document)
    return {"type": TYPE, "claims": payload, "jws": jws, "order": document}


def _payload(jws: str) -> bytes:
    parts = jws.split(".")
    if len(parts) != 3:
        raise ReceiptError("receipt.malformed", "a receipt's signature has three parts")
    return unb64url(parts[1])


def open_receipt_document(document: Mapping[str, Any] | bytes | str, keys: KeySet) -> VerifiedReceipt:
    """Everything a receipt document proves, checked with nothing but `keys`.

    The edge's signature, the order's signatures as the authority table demands them (with keys that counted when it was
    issued), that the receipt names this very order, or the ground it stands on, that what is shown is what was signed,
    and that an erasure called done names the keys it destroyed. Raises ReceiptError `receipt.*`, whatever was wrong.
    """
    try:
        return _open(document, keys)
    except ReceiptError:
        raise
    except FormatError as error:
        raise ReceiptError(f"receipt.{error.code.rpartition('.')[2]}", error.message) from error


def _open(document: Mapping[str, Any] | bytes | str, keys: KeySet) -> VerifiedReceipt:
    value = canonical.loads(document) if isinstance(document, bytes | str) else dict(document)
    if not isinstance(value, dict) or value.keys() != _MEMBERS or value["type"] != TYPE:
        raise ReceiptError("receipt.malformed", f"the file is not a receipt of type {TYPE}")
    if not isinstance(value["jws"], str) or not isinstance(value["order"], dict | None):
        raise ReceiptError("receipt.malformed", "the receipt's members have the wrong type")
    claims, edge = verify_receipt(value["jws"], keys)
    if canonical.dumps(value["claims"]) != _payload(value["jws"]):
        raise ReceiptError("receipt.shown", "what the receipt shows is not what the edge signed")
    ground = ground_of(claims.evidence)
    if value["order"] is None:
        return VerifiedReceipt(claims, None, (), edge, _check_ground(claims, ground))
    if ground is not None:
        raise ReceiptError("receipt.ground", "the receipt says that nobody ordered it, and has an order beside it")
    issued = read_order(value["order"]).iat
    order = verify_order(value["order"], keys, now=issued, expires=False)
    if (claims.order_sha256, claims.jti) != (order.sha256, order.claims.jti):
        raise ReceiptError("receipt.order", "the receipt answers another order than the one beside it")
    if order.claims.cmd == "erase" and (claims.recording_id or order.claims.target.kind not in MANY):
        _check_done(claims, claims.evidence)
    elif order.claims.cmd == "erase" and claims.result == "done":
        _check_many(claims.evidence)
    return VerifiedReceipt(claims, order.claims, order.signers, edge)


def _check_ground(claims: ReceiptClaims, ground: Ground | None) -> Ground:
    if ground is None:
        raise ReceiptError("receipt.order", "the receipt answers an order that is not beside it")
    named = (claims.order_sha256, claims.jti, claims.recording_id)
    if named != (ground.sha256, ground.jti, ground.recording_id):
        raise ReceiptError("receipt.ground", "the receipt is about something else than the ground it names")
    if claims.result not in ("done", "deferred"):
        raise ReceiptError("receipt.ground", "an erasure that nobody ordered is done or deferred")
    _check_done(claims, {name: value for name, value in claims.evidence.items() if name != MEMBER})
    return ground


def _check_done(claims: ReceiptClaims, evidence: Mapping[str, Any]) -> None:
    if claims.result == "done" and not (claims.key_ids and evidence):
        raise ReceiptError("receipt.evidence", "the receipt says done, but names no destroyed key or no evidence")


def _check_many(evidence: Mapping[str, Any]) -> None:
    """The last word about a person or a policy counts what was found; each recording has its own receipt."""
    calls = evidence.get("calls")
    if not isinstance(calls, int) or isinstance(calls, bool) or calls < 1:
        raise ReceiptError("receipt.evidence", "the receipt says done, but counts no calls")


def verify_receipt_document(document: Mapping[str, Any] | bytes | str, keys: KeySet) -> ReceiptClaims:
    """The claims of a receipt document that holds in every respect. Raises ReceiptError."""
    return open_receipt_document(document, keys).claims
