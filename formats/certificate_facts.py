"""What follows from the receipts of an order, or of a ground: the part of a deletion certificate that is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from formats import canonical
from formats.errors import FormatError, ReceiptError
from formats.ids import parse_time
from formats.jws import verify_compact
from formats.keyset import KeySet
from formats.orders import MANY, ReceiptClaims, VerifiedReceipt

#: `typ` of the statement that central's keeper signs with the store key.
KEEPER_TYP = "callwarden-keeper+json"
#: `typ` of central's statement that a payload it kept is gone; what certificates call the place.
MEDIA_TYP = "callwarden-media+json"
CENTRAL_MEDIA = "central/media"
#: Evidence of a payload that central has not said to be gone.
NOT_YET = "not removed yet; its keys are gone"
STATES = ("destroyed", "expires", "exported", "unknown")
#: What no overwriting reaches, said of every place that had a copy.
BEYOND = "sectors that a device remapped, and images of the whole machine"


def facts_of(proofs: Sequence[VerifiedReceipt], keys: KeySet, media: Sequence[str] = ()) -> dict[str, Any]:
    """jti, order, target, reason, actors, recordings, calls, copies, failed, effective_at, final_at. `media`: central's statements
    that payloads it kept are gone.

    Raises ReceiptError `certificate.*` for receipts that are not all the answers to one thing.
    """
    _check_series(proofs)
    first = proofs[0]
    order = first.order
    done = [one.claims for one in proofs if one.claims.result == "done"]
    gone = media_statements(media, done, keys)
    copies = sorted(
        (copy for claims in done for copy in (*_copies(claims, keys), *_media(claims, keys, gone))), key=canonical.dumps
    )
    effective = max((claims.at for claims in done), default=max(one.claims.at for one in proofs))
    final = max([effective, *(copy["at"] for copy in copies if _ends_later(copy))])
    return {
        "jti": first.claims.jti,
        "order_sha256": first.claims.order_sha256,
        "fleet": order.fleet if order else None,
        "target": {"kind": order.target.kind, "id": order.target.id} if order else _ground(first),
        "reason": order.reason if order else (first.ground.cause if first.ground else ""),
        "case_ref": order.case_ref if order else None,
        "actors": sorted(
            ({"kid": one.kid, "role": one.role, "owner": one.owner} for one in first.ordered_by), key=lambda a: a["kid"]
        ),
        "recordings": sorted((_recording(claims) for claims in done if claims.recording_id), key=canonical.dumps),
        "calls": _calls(proofs),
        "copies": copies,
        "failed": _failed(proofs),
        "effective_at": effective,
        "final_at": final,
    }


def _check_series(proofs: Sequence[VerifiedReceipt]) -> None:
    """All answers of each edge, from the first to its last word: one that is left out could be the one that says what failed."""
    if len({(one.claims.jti, one.claims.order_sha256) for one in proofs}) != 1:
        raise ReceiptError("certificate.receipts", "the receipts answer different orders")
    numbers: dict[str, list[int]] = {}
    for one in proofs:
        numbers.setdefault(one.claims.edge_id, []).append(one.claims.n)
    for edge_id, found in numbers.items():
        if sorted(found) != list(range(len(found))):
            raise ReceiptError("certificate.receipts", f"the receipts of {edge_id} are not all there")
    for one in proofs:
        kind = one.order.target.kind if one.order else "recording"
        if one.claims.n == max(numbers[one.claims.edge_id]) and not is_last_word(one.claims, kind):
            raise ReceiptError("certificate.receipts", f"the last word of {one.claims.edge_id} is not there")
    if len({one.claims.receipt_id for one in proofs}) != len(proofs):
        raise ReceiptError("certificate.receipts", "a receipt is there twice")


def is_last_word(claims: ReceiptClaims, target_kind: str) -> bool:
    """Whether an edge says no more after the answer `claims` to an order about a `target_kind`: about many calls it names no
    recording, and about a call it says that no recording of it is left."""
    if claims.result == "deferred" or (target_kind in MANY and claims.recording_id is not None):
        return False
    return target_kind != "call" or claims.result != "done" or claims.evidence.get("left") == 0


def _ground(proof: VerifiedReceipt) -> dict[str, str]:
    return {"kind": "recording", "id": proof.ground.recording_id if proof.ground else ""}


def _recording(claims: ReceiptClaims) -> dict[str, Any]:
    manifest = claims.evidence.get("manifest_sha256")
    return {
        "recording_id": claims.recording_id,
        "edge_id": claims.edge_id,
        "receipt_id": claims.receipt_id,
        "at": claims.at,
        "key_ids": sorted(claims.key_ids),
        "manifest_sha256": manifest if isinstance(manifest, str) else None,
    }


def _calls(proofs: Sequence[VerifiedReceipt]) -> dict[str, int]:
    """How many calls became anonymous at each edge, of an order about many."""
    found: dict[str, int] = {}
    for one in proofs:
        calls = one.claims.evidence.get("calls")
        if one.claims.result == "done" and one.claims.recording_id is None and isinstance(calls, int):
            found[one.claims.edge_id] = calls
    return found


def _copies(claims: ReceiptClaims, keys: KeySet) -> Iterator[dict[str, Any]]:
    """Every place that had a copy of one recording, as its receipt proves it."""
    if claims.recording_id is None:
        return
    edge = f"edge/{claims.edge_id}"
    yield _copy(claims, edge, "destroyed", claims.at, "keys overwritten and read back, payload unlinked")
    yield _copy(claims, f"{edge}/medium", "unknown", None, BEYOND)
    if (statement := keeper_statement(claims, keys)) is not None:
        yield _copy(claims, "central/keeper", "destroyed", str(statement["at"]), f"signed: {statement['result']}")
        yield _copy(claims, "central/medium", "unknown", None, BEYOND)
    elsewhere = claims.evidence.get("copies")
    for one in elsewhere if isinstance(elsewhere, list) else []:
        if not isinstance(one, Mapping) or one.keys() != {"place", "state", "at", "detail"}:
            raise ReceiptError("certificate.copies", "a copy in a receipt is malformed")
        if one["state"] not in STATES or one["state"] == "destroyed":
            raise ReceiptError("certificate.copies", f"a copy elsewhere cannot be {one['state']!r}")
        if one["at"] is not None:
            parse_time(str(one["at"]))
        yield _copy(claims, f"{edge}/{one['place']}", str(one["state"]), one["at"], str(one["detail"]))


def _media(
    claims: ReceiptClaims, keys: KeySet, gone: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Payloads at central: those that it said it had when its keys went, and those that it says are gone."""
    if claims.recording_id is None:
        return
    statement = keeper_statement(claims, keys) or {}
    held = statement.get("media", [])
    if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
        raise ReceiptError("certificate.keeper", "the keeper's statement names its media wrongly")
    mine = {sha512: said for (recording, sha512), said in gone.items() if recording == claims.recording_id}
    for sha512 in sorted({*held, *mine}):
        named = f"sha512 {sha512[:16]}"
        if sha512 in mine:
            place, at = f"{CENTRAL_MEDIA}/{mine[sha512]['place']}", str(mine[sha512]["at"])
            yield _copy(claims, place, "destroyed", at, f"signed: destroyed, {named}")
        else:
            yield _copy(claims, CENTRAL_MEDIA, "unknown", None, f"{NOT_YET}, {named}")
    if held or mine:
        yield _copy(claims, f"{CENTRAL_MEDIA}/medium", "unknown", None, BEYOND)


def media_statements(
    media: Sequence[str], done: Sequence[ReceiptClaims], keys: KeySet
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What central signed about payloads that it kept, by recording and SHA-512; each about a recording that is done.

    Raises ReceiptError `certificate.media`.
    """
    about = {(claims.recording_id, claims.edge_id) for claims in done if claims.recording_id}
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for jws in media:
        try:
            said: Any = canonical.loads(verify_compact(jws, keys, MEDIA_TYP, "store").payload)
        except FormatError as error:
            raise ReceiptError(
                "certificate.media", f"a statement about media does not hold: {error.message}"
            ) from error
        if not isinstance(said, Mapping) or (said.get("recording_id"), said.get("edge_id")) not in about:
            raise ReceiptError("certificate.media", "a statement about media is about another recording")
        texts = [said.get(name) for name in ("sha512", "place", "at")]
        if said.get("result") != "destroyed" or not all(isinstance(one, str) for one in texts):
            raise ReceiptError("certificate.media", "a statement about media does not say that the payload is gone")
        parse_time(said["at"])
        if (said["recording_id"], said["sha512"]) in found:
            raise ReceiptError("certificate.media", "a statement about media is there twice")
        found[said["recording_id"], said["sha512"]] = said
    return found


def _ends_later(copy: Mapping[str, Any]) -> bool:
    """Whether a copy may end after the keys: a backup that expires, a payload at central."""
    of_media = str(copy["place"]).startswith(CENTRAL_MEDIA) and copy["state"] == "destroyed"
    return bool(copy["at"]) and (copy["state"] == "expires" or of_media)


def _copy(claims: ReceiptClaims, place: str, state: str, at: str | None, evidence: str) -> dict[str, Any]:
    return {
        "place": place, "recording_id": claims.recording_id, "state": state, "at": at, "evidence": evidence,
        "receipt_id": claims.receipt_id,
    }  # fmt: skip


def keeper_statement(claims: ReceiptClaims, keys: KeySet) -> Mapping[str, Any] | None:
    """What central's keeper signed about its copies of this recording; None where there is no central.

    Raises ReceiptError `certificate.keeper`.
    """
    evidence = claims.keeper_evidence
    if evidence is None or "jws" not in evidence:
        return None
    try:
        stated: Any = canonical.loads(verify_compact(str(evidence["jws"]), keys, KEEPER_TYP, "store").payload)
    except FormatError as error:
        raise ReceiptError("certificate.keeper", f"the keeper's statement does not hold: {error.message}") from error
    about = (claims.recording_id, claims.edge_id)
    if not isinstance(stated, Mapping) or (stated.get("recording_id"), stated.get("edge_id")) != about:
        raise ReceiptError("certificate.keeper", "the keeper's statement is about another recording")
    if stated.get("result") not in ("destroyed", "nothing_held") or not isinstance(stated.get("at"), str):
        raise ReceiptError("certificate.keeper", "the keeper's statement does not say that its copies are gone")
    if not set(stated.get("key_ids") or ()) <= set(claims.key_ids):
        raise ReceiptError("certificate.keeper", "the keeper destroyed other keys than the receipt names")
    return stated


def _failed(proofs: Sequence[VerifiedReceipt]) -> list[dict[str, Any]]:
    """Last words that are no success."""
    last: dict[str, ReceiptClaims] = {}
    for one in proofs:
        claims = one.claims
        if claims.edge_id not in last or last[claims.edge_id].n < claims.n:
            last[claims.edge_id] = claims
    return [
        {"edge_id": one.edge_id, "result": one.result, "reason": one.reason}
        for one in sorted(last.values(), key=lambda c: c.edge_id)
        if one.result not in ("done", "already")
    ]
