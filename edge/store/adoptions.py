"""Recordings that were files: begun, sealed piece by piece, their originals gone or kept."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.adoption import Known, printable
from edge.model.entities import ClosedSegment, NewSegment, Progress
from edge.model.lifecycle import CALL, RECORDING, SEGMENT, step
from edge.ports.adopting import NewAdoption
from edge.store.base import Base, emit, missing, text_json
from edge.store.calls import read_calls
from edge.store.dossier import original
from edge.store.numbers import report_held_numbers
from edge.store.recordings import close_segment, insert_recording, insert_segment, state_of
from edge.store.rows import file_event, insert_leg

#: States of a recording that still takes bytes.
_OPEN: Final = ("starting", "recording", "closing")
_EMPTY: Final = hashlib.sha256().hexdigest()


class Adoptions(Base):
    """The `AdoptionBook` of the journal."""

    async def adoption(self, identity: str) -> Known:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> Known:
            row = conn.execute(
                "SELECT r.state, a.recording_id, a.sealed_bytes, a.place FROM adoption a JOIN recording r"
                " USING(recording_id) WHERE a.identity=?",
                (identity,),
            ).fetchone()
            if row is None:
                return Known("new")
            state = {"sealed": "sealed", "erasing": "erased", "erased": "erased", "quarantined": "given_up"}
            return Known(state.get(row[0], "begun"), row[1], row[2], row[3] or "")

        return await self._readers.read(job)

    async def handled(self, uniqueid: str, linkedid: str) -> str | None:
        """See `edge.ports.AdoptionBook`."""
        return await self._readers.read(lambda conn: _handled(conn, uniqueid, linkedid))

    async def adopted_call(self, linked_id: str, policy_id: str) -> tuple[str, str] | None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> tuple[str, str] | None:
            rows = read_calls(conn, "c.linked_id=? AND c.policy_id=?", linked_id, policy_id)
            return (rows[0].call_id, rows[0].party_id) if rows else None

        return await self._readers.read(job)

    async def adopt(self, new: NewAdoption) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            facts, recording = new.asked.facts, new.recording
            if why := _handled(conn, facts.uniqueid, facts.linkedid):
                raise CallwardenError("adopt.handled", why, where=facts.name)
            if conn.execute("SELECT 1 FROM adoption WHERE identity=?", (facts.identity,)).fetchone():
                raise CallwardenError("journal.conflict", "this file is being taken over already", where=facts.name)
            at = self._clock.wall_text()
            call_id = self._call(conn, new, at)
            event_seq = file_event(conn, self._audit, at, call_id, new.event, "ended", "adopted")
            conn.execute(
                "INSERT INTO permit(permit_id, call_id, event_seq, purposes, policy_version, granted_at)"
                " VALUES(?, ?, ?, ?, ?, ?)",
                (recording.permit_id, call_id, event_seq, text_json(new.purposes), new.call.policy_version, at),
            )
            body = {
                "event": event_seq, "outcome": "adopted", "recording_id": recording.recording_id,
                "permit_id": recording.permit_id, "purposes": list(new.purposes),
            }  # fmt: skip
            self._said(conn, "recording.permitted", call_id, body)
            insert_recording(conn, recording)
            conn.execute(
                "UPDATE recording SET state=? WHERE recording_id=?",
                (step(RECORDING, "starting", "grows"), recording.recording_id),
            )
            conn.execute(
                "INSERT INTO recording_flag(recording_id, flag, detail, at) VALUES(?, 'adopted', '', ?)",
                (recording.recording_id, at),
            )
            conn.execute(
                "INSERT INTO adoption(recording_id, identity, content, place, name, source, by_uid, total_bytes,"
                " sealed_sha256, begun_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (recording.recording_id, facts.identity, facts.content, facts.place,
                 printable(facts.name) if new.asked.grounds.keep_names else None, new.asked.source, new.by_uid,
                 facts.total_bytes, _EMPTY, at),
            )  # fmt: skip

        await self._writer.do(job)

    def _call(self, conn: sqlite3.Connection, new: NewAdoption, at: str) -> str:
        """The call's row with its party; of a further file of one call the row that is there."""
        call = new.call
        known = read_calls(conn, "c.call_id=?", call.call_id)
        if known:
            conn.execute(
                "UPDATE call SET ended_at=max(ended_at, ?) WHERE call_id=?", (new.ended_at, call.call_id)
            )  # fmt: skip
            return call.call_id
        conn.execute(
            "INSERT OR IGNORE INTO policy(policy_id, version, document, loaded_at) VALUES(?, ?, ?, ?)",
            (call.policy_id, call.policy_version, call.policy_document, at),
        )
        conn.execute(
            "INSERT INTO call(call_id, linked_id, channel_uid, channel_name, party_id, direction, policy_id,"
            " policy_version, mode, purposes, state, outcome, language, started_at, ended_at)"
            " VALUES(?,?,?,'',?,?,?,?,?,?,?,'adopted',?,?,?)",
            (call.call_id, call.linked_id, call.channel_uid, call.party_id, call.direction, call.policy_id,
             call.policy_version, call.mode, text_json(call.purposes), step(CALL, "", "adopt"), call.language,
             call.started_at, new.ended_at),
        )  # fmt: skip
        conn.execute(
            "INSERT INTO party(party_id, call_id, role, number_heard, number_e164, number_class) VALUES(?,?,?,?,?,?)",
            (call.party_id, call.call_id, "callee" if call.direction == "outbound" else "caller", call.number_heard,
             call.number_e164, call.number_class),
        )  # fmt: skip
        insert_leg(conn, call.party_id, call.channel_uid, "", call.started_at)
        conn.execute("UPDATE leg SET left_at=? WHERE party_id=?", (new.ended_at, call.party_id))
        facts = {
            "policy_id": call.policy_id, "policy_version": call.policy_version, "mode": call.mode,
            "direction": call.direction,
        }  # fmt: skip
        self._said(conn, "call.opened", call.call_id, facts)
        more = {
            "call_id": call.call_id, "linked_id": call.linked_id, "number_class": call.number_class,
            "language": call.language, "purposes": call.purposes, "started_at": call.started_at,
        }  # fmt: skip
        emit(conn, "call.opened", call.call_id, {**facts, **more})
        self._said(conn, "call.closed", call.call_id, {"outcome": "adopted"})
        emit(
            conn, "call.closed", call.call_id,
            {"call_id": call.call_id, "ended_at": new.ended_at, "outcome": "adopted"},
        )  # fmt: skip
        report_held_numbers(conn, call.call_id)
        return call.call_id

    async def adopt_segment(self, segment: NewSegment) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            call_id = _still_taken(conn, segment.recording_id)
            insert_segment(conn, segment, self._clock.wall_text())
            facts = {"recording_id": segment.recording_id, "segment": segment.number}
            self._said(conn, "segment.opened", call_id, facts)

        await self._writer.do(job)

    async def adopt_progress(self, piece: Progress, sealed_bytes: int, sealed_sha256: str) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            (recording_id,) = conn.execute(
                "SELECT recording_id FROM segment WHERE segment_id=?", (piece.segment_id,)
            ).fetchone()
            _still_taken(conn, recording_id)
            conn.execute(
                "UPDATE segment SET chunks=?, plain_bytes=?, payload_bytes=?, tags_hash=? WHERE segment_id=?"
                " AND state='open'",
                (piece.chunks, piece.plain_bytes, piece.payload_bytes, piece.tags_hash, piece.segment_id),
            )
            _sealed(conn, recording_id, sealed_bytes, sealed_sha256)

        await self._writer.do(job, wakes=False)

    async def adopt_close(self, closed: ClosedSegment, sealed_bytes: int, sealed_sha256: str) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            _still_taken(conn, closed.recording_id)
            close_segment(conn, self._audit, self._clock.wall_text(), closed)
            _sealed(conn, closed.recording_id, sealed_bytes, sealed_sha256)

        await self._writer.do(job)

    async def adoption_progress(self, recording_id: str) -> tuple[int, str]:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> tuple[int, str]:
            query = "SELECT sealed_bytes, sealed_sha256 FROM adoption WHERE recording_id=?"
            row = conn.execute(query, (recording_id,)).fetchone()
            if row is None:
                raise missing("adoption", recording_id)
            return row[0], row[1]

        return await self._readers.read(job)

    async def give_up_adoption(self, recording_id: str) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            call_id = _still_taken(conn, recording_id)
            conn.execute("UPDATE recording SET state='quarantined' WHERE recording_id=?", (recording_id,))
            conn.execute(
                "UPDATE segment SET state=?, end_reason='resume_refused', closed_at=? WHERE recording_id=?"
                " AND state='open'",
                (step(SEGMENT, "open", "truncate"), self._clock.wall_text(), recording_id),
            )
            conn.execute(
                "UPDATE adoption SET given_up=1, identity=identity||':'||recording_id WHERE recording_id=?",
                (recording_id,),
            )
            self._said(conn, "recording.state", call_id, {"recording_id": recording_id, "state": "quarantined"})

        await self._writer.do(job)

    async def removing_original(self, recording_id: str) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            state, call_id = state_of(conn, recording_id)
            if state != "sealed":
                raise CallwardenError("adopt.not_sealed", f"the recording is {state}", where=recording_id)
            changed = conn.execute(
                "UPDATE adoption SET removing_at=? WHERE recording_id=? AND removing_at IS NULL",
                (self._clock.wall_text(), recording_id),
            )
            if changed.rowcount:
                self._said(conn, "adoption.removing", call_id, {"recording_id": recording_id})

        await self._writer.do(job)

    async def original_gone(self, recording_id: str, *, kept: bool) -> None:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> None:
            _, call_id = state_of(conn, recording_id)
            removed_at = None if kept else self._clock.wall_text()
            changed = conn.execute(
                "UPDATE adoption SET kept=?, removed_at=?, place=NULL WHERE recording_id=? AND removed_at IS NULL"
                " AND kept IS NOT ?",
                (kept, removed_at, recording_id, int(kept)),
            )
            if changed.rowcount:
                self._said(
                    conn, "adoption.kept" if kept else "adoption.removed", call_id, {"recording_id": recording_id}
                )

        await self._writer.do(job)

    async def originals(self) -> Sequence[Mapping[str, Any]]:
        """See `edge.ports.AdoptionBook`."""

        def job(conn: sqlite3.Connection) -> list[Mapping[str, Any]]:
            rows = conn.execute(
                "SELECT a.recording_id, a.place, r.state, a.removing_at FROM adoption a JOIN recording r USING(recording_id)"
                " WHERE a.removed_at IS NULL AND a.kept IS NULL AND a.given_up=0 ORDER BY a.begun_at, a.recording_id"
            )
            return [dict(zip(("recording_id", "place", "state", "removing_at"), row, strict=True)) for row in rows]

        return await self._readers.read(job)

    async def original_of(self, recording_id: str) -> Mapping[str, Any] | None:
        """See `edge.ports.AdoptionBook`."""
        return await self._readers.read(lambda conn: original(conn, recording_id))

    def _said(self, conn: sqlite3.Connection, kind: str, call_id: str, body: dict[str, Any]) -> None:
        self._audit.append(conn, self._clock.wall_text(), kind, subject=call_id, call_id=call_id, body=body)


def _sealed(conn: sqlite3.Connection, recording_id: str, count: int, sha256: str) -> None:
    conn.execute(
        "UPDATE adoption SET sealed_bytes=?, sealed_sha256=? WHERE recording_id=? AND sealed_bytes<=?",
        (count, sha256, recording_id, count),
    )


def _still_taken(conn: sqlite3.Connection, recording_id: str) -> str:
    """The recording's call. Raises adopt.erased when it takes no bytes any more."""
    state, call_id = state_of(conn, recording_id)
    if state not in _OPEN:
        raise CallwardenError(
            "adopt.erased", f"the recording became {state} while it was being taken over", where=recording_id
        )
    return call_id


def _handled(conn: sqlite3.Connection, uniqueid: str, linkedid: str) -> str | None:
    """Why not: what the people on the call answered here counts, also where another recorder ran."""
    ids = tuple(one for one in {uniqueid, linkedid} if one)
    if not ids:
        return None
    marks = ",".join("?" * len(ids))
    rows = conn.execute(
        f"SELECT DISTINCT c.outcome, c.evidence FROM call c LEFT JOIN party p ON p.call_id=c.call_id"  # noqa: S608
        f" LEFT JOIN leg l ON l.party_id=p.party_id WHERE c.linked_id IN ({marks}) OR c.channel_uid IN ({marks})"
        f" OR l.channel_uid IN ({marks})",
        ids * 3,
    ).fetchall()
    for outcome, evidence in rows:
        if outcome != "adopted":
            return f"Callwarden handled this call itself: {outcome or 'not decided yet'}"
        if evidence != "full":
            return "recordings of this call were erased"
    return None
