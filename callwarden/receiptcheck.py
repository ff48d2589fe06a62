"""Everything a receipt document can prove, checked with the trusted keys alone: the receipt and its order, the keeper's
statement inside it, and the checkpoint inside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formats import canonical
from formats.checkpoint import Checkpoint, open_checkpoint
from formats.errors import FormatError, ReceiptError
from formats.jws import verify_compact
from formats.keyset import KeySet
from formats.note import ED25519, Note, NoteKey
from formats.orders import ReceiptClaims, VerifiedReceipt, open_receipt_document

#: `typ` of the statement that central's keeper signs with the store key.
KEEPER_TYP = "callwarden-keeper+json"


@dataclass(frozen=True)
class Checked:
    """proof: the receipt and its order. keeper: what central's keeper says of its copies (`destroyed`, `none`, …), or
    why there is no statement. keeper_signed: whether that is a statement signed by the store. checkpoint_size: entries
    of the edge's audit log under the signed head in the receipt; None without one."""

    proof: VerifiedReceipt
    keeper: str
    keeper_signed: bool
    checkpoint_size: int | None


def check_receipt(document: bytes, keys: KeySet) -> Checked:
    """Raises ReceiptError `receipt.*`: whatever is in the document is held to, not only the outer signature."""
    proof = open_receipt_document(document, keys)
    keeper, signed = _keeper(proof.claims, keys)
    return Checked(proof, keeper, signed, _checkpoint(proof, keys))


def _keeper(claims: ReceiptClaims, keys: KeySet) -> tuple[str, bool]:
    evidence = claims.keeper_evidence
    if evidence is None:
        return "no statement", False
    if "jws" not in evidence:
        return str(evidence.get("result", "no statement")), False
    try:
        stated: Any = canonical.loads(verify_compact(str(evidence["jws"]), keys, KEEPER_TYP, "store").payload)
    except FormatError as error:
        raise ReceiptError("receipt.keeper", f"the keeper's statement does not hold: {error.message}") from error
    about = (claims.recording_id, claims.edge_id)
    if not isinstance(stated, Mapping) or (stated.get("recording_id"), stated.get("edge_id")) != about:
        raise ReceiptError("receipt.keeper", "the keeper's statement is about another recording")
    if evidence.get("claims") != stated:
        raise ReceiptError("receipt.keeper", "what the receipt shows of the keeper is not what the keeper signed")
    if not set(stated.get("key_ids") or ()) <= set(claims.key_ids):
        raise ReceiptError("receipt.keeper", "the keeper destroyed other keys than the receipt names")
    return str(stated.get("result", "")), True


def _checkpoint(proof: VerifiedReceipt, keys: KeySet) -> int | None:
    note = proof.claims.checkpoint
    if note is None:
        return None
    try:
        origin = Checkpoint.parse(Note.parse(note).text).origin
        if origin.split("/")[:2] != ["callwarden", proof.claims.edge_id]:
            raise ReceiptError("receipt.checkpoint", "the checkpoint is of another edge's log")
        return open_checkpoint(note, NoteKey(origin, ED25519, proof.edge.key)).checkpoint.size
    except ReceiptError:
        raise
    except FormatError as error:
        raise ReceiptError("receipt.checkpoint", f"the checkpoint does not hold: {error.message}") from error


def is_certificate(data: bytes) -> bool:
    """Whether a file says that it is a deletion certificate."""
    try:
        value: Any = canonical.loads(data)
    except FormatError:
        return False
    return isinstance(value, Mapping) and str(value.get("type", "")).startswith("callwarden-certificate/")
