"""The deletion certificate: one document over every copy of what was erased, built from receipts and proven by them
(docs/spec/certificate.md).

What it says is computed from the receipts inside it, by the same function in whoever writes and whoever verifies; what
cannot be computed (the level, entries of logs, who issued it when) is signed beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from formats import canonical
from formats.certificate_facts import facts_of
from formats.checkpoint import Checkpoint, EntryProof
from formats.errors import FormatError, ReceiptError
from formats.ids import check_id, parse_time
from formats.jws import sign_compact, verify_compact
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.note import COSIGNATURE, ED25519, Note, NoteKey
from formats.orders import ReceiptClaims, VerifiedReceipt, open_receipt_document, receipt_document

TYPE = "callwarden-certificate/v1"
TYP = "callwarden-certificate+json"
_MEMBERS = {"type", "claims", "jws", "order", "receipts"}
#: What a certificate says besides what follows from its receipts.
_OWN = {"certificate_id", "at", "issuer", "level", "log"}
#: Edges whose last word central does not have: it still waits for them (an interim certificate), or they were revoked.
OUTSTANDING = "outstanding"
#: And where central kept payloads: its statements that they are gone.
_MEDIA = "media"
LEVELS = range(4)
_ID = re.compile(r"[0-9a-f]{32}")
Place = TypeVar("Place")


@dataclass(frozen=True)
class LogEntry:
    """An entry of an edge's audit log: its canonical JSON, and the `.tlog-proof` that it is there."""

    receipt_id: str
    entry: str
    proof: str


@dataclass(frozen=True)
class VerifiedCertificate:
    """What a certificate proves. witnessed: whether every log entry stands under a checkpoint that a pinned witness
    cosigned; logged: how many of the receipts have such an entry."""

    claims: Mapping[str, Any]
    receipts: tuple[VerifiedReceipt, ...]
    issuer: KeyEntry
    witnessed: bool
    logged: int


def make_certificate(
    key: SigningKey,
    receipts: Sequence[str],
    order: Mapping[str, Any] | None,
    keys: KeySet,
    *,
    certificate_id: str,
    at: str,
    issuer: str,
    level: int,
    log: Sequence[LogEntry],
    outstanding: Sequence[Mapping[str, str]] = (),
    media: Sequence[str] = (),
) -> dict[str, Any]:
    """The signed document. `receipts`: every receipt of the order, or of the ground, as compact JWS; `issuer`: `central` or the
    edge's name. `outstanding`: `edge_id` and `since` of each edge that it says nothing about. `media`: central's
    signed statements about payloads it kept. Raises ReceiptError where it would not hold: nothing is signed that its reader would
    refuse."""
    proofs = [open_receipt_document(receipt_document(one, order), keys) for one in receipts]
    own: dict[str, Any] = {
        "certificate_id": certificate_id,
        "at": at,
        "issuer": issuer,
        "level": level,
        "log": [{"receipt_id": one.receipt_id, "entry": one.entry, "proof": one.proof} for one in log],
    }
    if outstanding:
        own[OUTSTANDING] = sorted((dict(one) for one in outstanding), key=lambda one: one["edge_id"])
    if media:
        own[_MEDIA] = sorted(media)
    payload = canonical.dumps(facts_of(proofs, keys, own.get(_MEDIA, ())) | own)
    jws = sign_compact(payload, key, key.kid, TYP)
    document = {
        "type": TYPE,
        "claims": canonical.loads(payload),
        "jws": jws,
        "order": None if order is None else dict(order),
        "receipts": list(receipts),
    }
    open_certificate(document, keys)
    return document


def open_certificate(document: Mapping[str, Any] | bytes | str, keys: KeySet) -> VerifiedCertificate:
    """Everything a certificate proves, checked with nothing but `keys`. Raises ReceiptError `certificate.*` `receipt.*`."""
    try:
        return _open(document, keys)
    except ReceiptError:
        raise
    except FormatError as error:
        raise ReceiptError(f"certificate.{error.code.rpartition('.')[2]}", error.message) from error


def _open(document: Mapping[str, Any] | bytes | str, keys: KeySet) -> VerifiedCertificate:
    value = canonical.loads(document) if isinstance(document, bytes | str) else dict(document)
    if not isinstance(value, dict) or value.keys() != _MEMBERS or value["type"] != TYPE:
        raise ReceiptError("certificate.malformed", f"the file is not a certificate of type {TYPE}")
    jws, receipts, order = value["jws"], value["receipts"], value["order"]
    if not (isinstance(jws, str) and isinstance(receipts, list) and receipts and isinstance(order, dict | None)):
        raise ReceiptError("certificate.malformed", "the certificate's members have the wrong type")
    if not all(isinstance(one, str) for one in receipts):
        raise ReceiptError("certificate.malformed", "a receipt in the certificate is not a text")
    signed = verify_compact(jws, keys, TYP, "store", "edge")
    claims = canonical.loads_canonical(signed.payload)
    if not isinstance(claims, dict) or canonical.dumps(value["claims"]) != signed.payload:
        raise ReceiptError("certificate.shown", "what the certificate shows is not what was signed")
    proofs = tuple(open_receipt_document(receipt_document(one, order), keys) for one in receipts)
    media = claims.get(_MEDIA, [])
    if not isinstance(media, list) or not all(isinstance(one, str) for one in media):
        raise ReceiptError("certificate.media", "the statements about media are a list of texts")
    facts = facts_of(proofs, keys, media)
    own = _OWN | ({OUTSTANDING} & claims.keys()) | ({_MEDIA} if media else set())
    if {name: one for name, one in claims.items() if name not in own} != facts or claims.keys() != facts.keys() | own:
        raise ReceiptError("certificate.facts", "the certificate says something else than its receipts")
    _check_own(claims, signed.signer, proofs, keys)
    if OUTSTANDING in claims:
        _check_outstanding(claims[OUTSTANDING], signed.signer, proofs)
    witnessed, logged = _check_log(claims["log"], proofs, keys)
    return VerifiedCertificate(claims, proofs, signed.signer, witnessed, logged)


def _check_own(claims: Mapping[str, Any], signer: KeyEntry, proofs: Sequence[VerifiedReceipt], keys: KeySet) -> None:
    check_id(str(claims["certificate_id"]), "certificate_id")
    parse_time(str(claims["at"]))
    keys.active(str(claims["at"])).find(signer.kid, signer.role)
    if claims["issuer"] != ("central" if signer.role == "store" else signer.edge_id):
        raise ReceiptError("certificate.issuer", "the certificate is signed by somebody else than its issuer")
    if signer.role == "edge" and {one.edge.edge_id for one in proofs} != {signer.edge_id}:
        raise ReceiptError("certificate.issuer", "an edge certifies its own receipts only")
    level = claims["level"]
    if not isinstance(level, int) or isinstance(level, bool) or level not in LEVELS:
        raise ReceiptError("certificate.level", "the level is a number from 0 to 3")
    if str(claims["at"]) < str(claims["effective_at"]):
        raise ReceiptError("certificate.early", "the certificate is older than what it certifies")


def _check_outstanding(edges: Any, signer: KeyEntry, proofs: Sequence[VerifiedReceipt]) -> None:
    if signer.role != "store" or not isinstance(edges, list) or not edges:
        raise ReceiptError(
            "certificate.outstanding", "central alone says which edges are outstanding, and there are some"
        )
    names = []
    for one in edges:
        if not isinstance(one, dict) or one.keys() != {"edge_id", "since"} or not isinstance(one["edge_id"], str):
            raise ReceiptError("certificate.outstanding", "an outstanding edge has a name and a time")
        parse_time(str(one["since"]))
        names.append(one["edge_id"])
    if names != sorted(set(names)) or {one.edge.edge_id for one in proofs} & set(names):
        raise ReceiptError("certificate.outstanding", "an edge is outstanding once, and has not given its last word")


def _check_log(log: Any, proofs: Sequence[VerifiedReceipt], keys: KeySet) -> tuple[bool, int]:
    if not isinstance(log, list):
        raise ReceiptError("certificate.log", "the log entries are a list")
    by_id = {one.claims.receipt_id: one for one in proofs}
    witnesses = [NoteKey(one.owner, COSIGNATURE, one.key) for one in keys.with_role("witness")]
    seen: set[str] = set()
    witnessed = True
    for one in log:
        if not isinstance(one, dict) or one.keys() != {"receipt_id", "entry", "proof"}:
            raise ReceiptError("certificate.log", "a log entry has a receipt, the entry and its proof")
        receipt = by_id.get(one["receipt_id"])
        if receipt is None or one["receipt_id"] in seen:
            raise ReceiptError("certificate.log", "a log entry is about a receipt that is not here, or about one twice")
        seen.add(one["receipt_id"])
        _check_entry(str(one["entry"]), receipt)
        witnessed = _proven(str(one["entry"]), str(one["proof"]), receipt, witnesses) and witnessed
    return witnessed and bool(seen), len(seen)


def _check_entry(text: str, receipt: VerifiedReceipt) -> None:
    """The entry that was written in the commit of this receipt."""
    entry = canonical.loads_canonical(text.encode())
    body = entry.get("body") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(body, dict) or not is_entry_of(entry, receipt.claims):
        raise ReceiptError("certificate.log", "a log entry is not the one of its receipt")


def is_entry_of(entry: Mapping[str, Any], claims: Any) -> bool:
    """Whether an audit entry was written with this receipt: `recording.erased` names it, `order.answered` its number."""
    body = entry.get("body") or {}
    if entry.get("kind") == "recording.erased":
        return bool(body.get("receipt_id") == claims.receipt_id and body.get("recording_id") == claims.recording_id)
    if entry.get("kind") == "order.answered":
        said = (body.get("jti"), body.get("n"), body.get("result"))
        return bool(said == (claims.jti, claims.n, claims.result))
    return False


def entries_of(
    log: Iterable[tuple[Place, str]], receipts: Sequence[ReceiptClaims]
) -> dict[str, tuple[Place, str, ReceiptClaims]]:
    """The first entry in `log` (its place, its canonical JSON) that was written with each of `receipts`, by receipt id. One pass,
    in which an entry is read only where it names a receipt or an order of them: logs are long."""
    by_id = {one.receipt_id: one for one in receipts}
    by_number = {(one.jti, one.n): one for one in receipts}
    names = by_id.keys() | {one.jti for one in receipts}
    found: dict[str, tuple[Place, str, ReceiptClaims]] = {}
    for place, text in log:
        if names.isdisjoint(_ID.findall(text)):
            continue
        entry: Any = canonical.loads(text)
        body = entry.get("body") if isinstance(entry, dict) else None
        if not isinstance(body, dict):
            continue
        number = (str(body.get("jti")), body["n"]) if isinstance(body.get("n"), int) else ("", -1)
        for one in (by_id.get(str(body.get("receipt_id"))), by_number.get(number)):
            if one is not None and is_entry_of(entry, one):
                found.setdefault(one.receipt_id, (place, text, one))
    return found


def _proven(entry: str, text: str, receipt: VerifiedReceipt, witnesses: Sequence[NoteKey]) -> bool:
    """Whether a witness vouches for it. Raises ReceiptError, ProofError."""
    proof = EntryProof.parse(text)
    origin = Checkpoint.parse(Note.parse(proof.note).text).origin
    if origin.split("/")[:2] != ["callwarden", receipt.claims.edge_id]:
        raise ReceiptError("certificate.log", "a log entry is of another edge's log")
    return not proof.verify(entry.encode(), NoteKey(origin, ED25519, receipt.edge.key), witnesses).self_witnessed
