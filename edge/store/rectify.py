"""Corrections of a call's metadata, and what a certificate needs of receipts and of the log."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from edge.errors import CallwardenError
from edge.model.entities import ReceiptRow
from edge.store.base import Base, emit, missing
from edge.store.minimal import anonymising
from edge.store.numbers import report_numbers

_ID = re.compile(r"[0-9a-f]{32}")


class Rectify(Base):
    """The `RectifyBook` of the journal."""

    async def rectify(
        self, call_id: str, changes: Mapping[str, str], number: tuple[str, str | None, str, str | None] | None,
        reason: str, uid: int,
    ) -> Sequence[str]:  # fmt: skip
        """See `edge.ports.RectifyBook`."""

        def job(conn: sqlite3.Connection) -> Sequence[str]:
            row = conn.execute(
                "SELECT language, policy_id, party_id, anonymised_at FROM call WHERE call_id=?", (call_id,)
            ).fetchone()
            if row is None:
                raise missing("call", call_id)
            language, policy_id, party_id, anonymous = row
            if anonymous is not None:
                raise CallwardenError(
                    "calls.anonymous", "the call is anonymous: nothing of it can be corrected", where=call_id
                )
            done: dict[str, str] = {}
            told: dict[str, str] = {}
            if number is not None:
                done["number"] = _number(conn, call_id, party_id, number)
            if "language" in changes:
                conn.execute("UPDATE call SET language=? WHERE call_id=?", (changes["language"], call_id))
                done["language"], told["language"] = language or "", changes["language"]
            if "policy" in changes:
                version = changes["policy_version"]
                _policy(conn, call_id, changes["policy"], version)
                done["policy"] = policy_id
                told |= {"policy_id": changes["policy"], "policy_version": version}
            at = self._clock.wall_text()
            for field, old in done.items():
                salt = secrets.token_hex(16)
                digest = f"{salt}:{hashlib.sha256(salt.encode() + old.encode()).hexdigest()}"
                conn.execute(
                    "INSERT INTO rectification(call_id, field, old_hmac, reason, uid, at) VALUES(?, ?, ?, ?, ?, ?)",
                    (call_id, field, digest, reason, uid, at),
                )
            # Neither value nor reason: the log cannot forget.
            body = {"fields": sorted(done), "uid": uid}
            self._audit.append(conn, at, "call.rectified", subject=call_id, call_id=call_id, body=body)
            emit(conn, "call.rectified", call_id, {"call_id": call_id, "fields": sorted(done), "at": at, **told})
            if "number" in done or "policy" in done:
                report_numbers(conn, call_id, moved="policy" in done)
            return sorted(done)

        return await self._writer.do(job)

    async def newest_version(self, policy_id: str) -> str | None:
        """See `edge.ports.RectifyBook`."""
        query = "SELECT version FROM policy WHERE policy_id=? ORDER BY loaded_at DESC LIMIT 1"

        def job(conn: sqlite3.Connection) -> str | None:
            row = conn.execute(query, (policy_id,)).fetchone()
            return None if row is None else str(row[0])

        return await self._readers.read(job)

    async def receipt(self, receipt_id: str) -> ReceiptRow | None:
        """See `edge.ports.RectifyBook`."""

        def job(conn: sqlite3.Connection) -> ReceiptRow | None:
            query = "SELECT receipt_id, jti, n, result, jws, acked_at FROM receipt WHERE receipt_id=?"
            row = conn.execute(query, (receipt_id,)).fetchone()
            return None if row is None else ReceiptRow(*row)

        return await self._readers.read(job)

    async def entries_naming(self, ids: Collection[str]) -> Sequence[tuple[int, str]]:
        """See `edge.ports.RectifyBook`."""
        wanted = frozenset(ids)

        def job(conn: sqlite3.Connection) -> Sequence[tuple[int, str]]:
            rows = conn.execute("SELECT idx, entry FROM audit ORDER BY idx")
            return [(row[0], row[1]) for row in rows if not wanted.isdisjoint(_ID.findall(row[1]))]

        return await self._readers.read(job)


def _number(
    conn: sqlite3.Connection, call_id: str, party_id: str, number: tuple[str, str | None, str, str | None]
) -> str:
    """Put the number right wherever the call has it; returns the old one."""
    heard, e164, kind, digest = number
    old = conn.execute(
        "SELECT coalesce(number_heard, number_e164, number_hmac), number_heard IS NULL AND number_e164 IS NULL"
        " FROM party WHERE party_id=?",
        (party_id,),
    ).fetchone()
    if old[0] is None:
        raise CallwardenError("calls.no_number", "no number of this call is stored any more", where=call_id)
    if old[1]:
        if digest is None:
            raise CallwardenError(
                "calls.no_digest",
                "only an HMAC of the number is left, and the new one has none",
                hint="write it with its country: +420…",
                where=call_id,
            )
        conn.execute("UPDATE party SET number_hmac=? WHERE party_id=?", (digest, party_id))
        return str(old[0])
    conn.execute(
        "UPDATE party SET number_heard=?, number_e164=?, number_class=? WHERE party_id=?", (heard, e164, kind, party_id)
    )
    with anonymising(conn):
        conn.execute(
            "UPDATE consent_event SET evidence=json_set(evidence, '$.party.number_heard', ?, '$.party.number_e164', ?)"
            " WHERE call_id=? AND party_id=? AND (json_type(evidence, '$.party.number_heard') IS NOT NULL"
            " OR json_type(evidence, '$.party.number_e164') IS NOT NULL)",
            (heard, e164, call_id, party_id),
        )
    return str(old[0])


def _policy(conn: sqlite3.Connection, call_id: str, policy_id: str, version: str) -> None:
    """Put a call under another policy."""
    try:
        conn.execute("UPDATE call SET policy_id=?, policy_version=? WHERE call_id=?", (policy_id, version, call_id))
    except sqlite3.IntegrityError as error:
        raise CallwardenError(
            "calls.two_rows", "the call has a row under that policy already", where=call_id
        ) from error
