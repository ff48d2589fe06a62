"""Deletion certificates: built from the receipts of every edge once an order is complete, signed by the store, the same ever after."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, door
from central.errors import CentralError
from central.openapi import answers
from central.progress import missing, progress
from central.state import CENTRAL, Central
from formats import canonical, merkle
from formats.certificate import LogEntry, entries_of, make_certificate
from formats.checkpoint import EntryProof, open_checkpoint
from formats.errors import FormatError
from formats.ids import is_id
from formats.keyset import KeySet
from formats.note import ED25519, NoteKey
from formats.orders import ReceiptClaims, verify_receipt


def doors() -> list[Door]:
    """Out to administrators."""
    return [
        door(
            "GET",
            "/v1/certificates/{jti}",
            get_certificate,
            "dpo auditor",
            "The certificate of an order that erased.",
            query=(
                Param("interim", "1: also before every edge gave its last word; it names those that are outstanding"),
            ),
            answer=answers.CertificateDocument,
            problems=(409,),
        )
    ]


async def get_certificate(request: web.Request) -> web.Response:
    """Administrator: the certificate of an order. 409 certificate.pending while an edge has not given its last word, or its log
    is not cosigned that far. `?interim=1`: over those that have, with the outstanding ones by name; that one is not kept.
    A revoked edge is outstanding for good and waited for no longer."""
    central = request.app[CENTRAL]
    jti, interim = request.match_info["jti"], request.query.get("interim") == "1"
    return json_answer(await central.db.run(lambda conn: _certificate(central, conn, jti, interim=interim)))


def _certificate(central: Central, conn: Conn, jti: str, *, interim: bool) -> dict[str, Any]:
    """Job: the stored one, or a new one."""
    order = conn.execute("SELECT cmd, jws FROM orders WHERE jti=?", (jti,)).fetchone() if is_id(jti) else None
    if order is None:
        raise CentralError("not_found.order", "no such order", status=404, where=jti[:64])
    if order["cmd"] != "erase":
        raise CentralError("usage.order", f"an order to {order['cmd']} destroys nothing", where=jti)
    known = conn.execute("SELECT document FROM certificate WHERE jti=?", (jti,)).fetchone()
    if known is not None:
        document: dict[str, Any] = canonical.loads(known["document"])
        return document
    now = central.now()
    rows = progress(conn, jti, now)
    waits = bool(missing(rows))
    outstanding = [
        {"edge_id": str(one["edge_id"]), "since": str(one["queued_at"])}
        for one in rows
        if one["state"] in ("silent", "under way", "revoked")
    ]
    away = {one["edge_id"] for one in outstanding}
    said = conn.execute("SELECT edge_id, jws FROM receipt WHERE jti=? ORDER BY edge_id, n", (jti,)).fetchall()
    receipts = [str(row["jws"]) for row in said if row["edge_id"] not in away]
    if not receipts and outstanding and not waits:
        raise CentralError(
            "certificate.revoked", "every edge that it was for is revoked: nobody can say what was destroyed", status=409,
            where=jti, hint="what became of their recordings is for the incident to say (docs/incidents.md)",
        )  # fmt: skip
    if not receipts or (waits and not interim):
        raise _pending("an edge has not given its last word", jti)
    keys = central.keys(conn)
    claims = [verify_receipt(one, keys)[0] for one in receipts]
    media, leaving = _media(conn, [one for one in claims if one.result == "done"])
    try:
        document = make_certificate(
            central.store,
            receipts,
            canonical.loads(order["jws"]),
            keys,
            certificate_id=secrets.token_hex(16),
            at=now,
            issuer="central",
            level=central.config.level,
            log=_log(conn, claims, keys),
            outstanding=outstanding,
            media=media,
        )
    except FormatError as error:
        raise CentralError(error.code, error.message, status=409, where=jti) from error
    facts = {"jti": jti, "certificate_id": document["claims"]["certificate_id"], "outstanding": len(outstanding)}
    if not waits and not leaving:  # else the next one can say more
        text = canonical.dumps(document).decode()
        query = "INSERT INTO certificate(jti, document, at) VALUES (?,?,?) ON CONFLICT(jti) DO NOTHING"
        if not conn.execute(query, (jti, text, now)).rowcount:  # somebody else asked at the same time
            known = conn.execute("SELECT document FROM certificate WHERE jti=?", (jti,)).fetchone()
            first: dict[str, Any] = canonical.loads(known["document"])
            return first
    central.log.append(conn, now, "certificate.issued", facts)
    return document


def _media(conn: Conn, done: Sequence[ReceiptClaims]) -> tuple[list[str], bool]:
    """Central's statements about payloads it kept of what was destroyed, and whether one is not gone yet."""
    rows = [
        row
        for recording_id, edge_id in sorted({(one.recording_id, one.edge_id) for one in done if one.recording_id})
        for row in conn.execute(
            "SELECT state, statement FROM media WHERE recording_id=? AND edge_id=? ORDER BY number",
            (recording_id, edge_id),
        ).fetchall()
    ]
    return [str(row["statement"]) for row in rows if row["state"] == "gone"], any(
        row["state"] != "gone" for row in rows
    )


def _log(conn: Conn, receipts: Sequence[ReceiptClaims], keys: KeySet) -> list[LogEntry]:
    """Of each receipt of one order the entry of the edge's log that was written with it, under a checkpoint that was cosigned.
    One pass over the log of each edge."""
    log: list[LogEntry] = []
    for edge_id in sorted({one.edge_id for one in receipts}):
        own = [one for one in receipts if one.edge_id == edge_id]
        rows = conn.execute(
            "SELECT origin, idx, entry FROM mirror WHERE edge_id=? AND (entry LIKE ? OR entry LIKE ?) ORDER BY idx",
            (edge_id, '%"kind":"recording.erased"%', f"%{own[0].jti}%"),
        )
        found = entries_of((((row["origin"], int(row["idx"])), row["entry"]) for row in rows), own)
        if len(found) < len(own):
            raise _pending("the log of an edge has not come that far", own[0].jti)
        for place, entry, claims in (found[one.receipt_id] for one in own):
            log.append(_proof(conn, claims, *place, entry, keys))
    return log


def _proof(conn: Conn, claims: ReceiptClaims, origin: str, index: int, entry: str, keys: KeySet) -> LogEntry:
    row = conn.execute(
        "SELECT size, cosigned FROM witnessed WHERE edge_id=? AND origin=? AND size>? ORDER BY size LIMIT 1",
        (claims.edge_id, origin, index),
    ).fetchone()
    if row is None:
        raise _pending("the log of an edge is not cosigned that far", claims.jti)
    edge = next(one for one in keys.with_role("edge") if one.edge_id == claims.edge_id)
    size = open_checkpoint(row["cosigned"], NoteKey(origin, ED25519, edge.key)).checkpoint.size

    def read(level: int, idx: int) -> bytes:
        node = conn.execute(
            "SELECT hash FROM mirror_node WHERE edge_id=? AND origin=? AND level=? AND idx=?",
            (claims.edge_id, origin, level, idx),
        ).fetchone()
        return bytes(node["hash"])

    path = tuple(merkle.inclusion_proof(index, size, read))
    return LogEntry(claims.receipt_id, entry, str(EntryProof(index, path, row["cosigned"])))


def _pending(why: str, jti: str) -> CentralError:
    hint = "ask again in a minute: edges send their logs on, and central cosigns them"
    return CentralError("certificate.pending", why, status=409, where=jti, hint=hint)
