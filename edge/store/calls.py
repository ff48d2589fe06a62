"""Calls, parties, legs, consent events and permits."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.entities import CallRow, ConsentEvent, NewCall, NewRecording, PermitRow
from edge.model.lifecycle import CALL, NUMBER_GOES, step
from edge.model.live import Actor
from edge.store.base import Base, check_move, decode_json, emit, missing, text_json
from edge.store.memory import forget_number
from edge.store.numbers import report_held_numbers
from edge.store.recordings import insert_recording
from edge.store.rows import file_event, forget_numbers, forget_people, insert_event, insert_leg, report_event

_SELECT: Final = """
SELECT c.call_id, c.linked_id, c.channel_uid, c.channel_name, c.party_id, c.policy_id, c.policy_version, c.mode,
  c.state, c.outcome, c.language, p.number_heard, c.started_at, c.ended_at,
  (SELECT json_group_array(recording_id) FROM (SELECT recording_id FROM recording r
    WHERE r.call_id = c.call_id ORDER BY r.seq)), c.direction, c.purposes, p.number_class, p.number_e164
FROM call c JOIN party p ON p.party_id = c.party_id"""


#: Who ends the pauses that a call's end finds open.
ENDED_BY: Final = Actor("system", "call_ended")


def read_calls(conn: sqlite3.Connection, where: str, *args: Any) -> list[CallRow]:
    """Call rows that match `where` (SQL of our own), oldest first."""
    rows = conn.execute(f"{_SELECT} WHERE {where} ORDER BY c.seq", args)
    return [
        CallRow(*(*row[:14], tuple(decode_json(row[14])), row[15], tuple(decode_json(row[16])), row[17], row[18]))
        for row in rows
    ]


#: Outcomes that no answer given before them turns into a permit again.
TAKEN_BACK: Final = ("withdrawn", "objected")


class Calls(Base):
    """The `CallBook` of the journal."""

    async def open_call(self, call: NewCall) -> CallRow:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> CallRow:
            known = read_calls(conn, "c.linked_id=? AND c.policy_id=?", call.linked_id, call.policy_id)
            if known:
                return known[0]
            at = self._clock.wall_text()
            conn.execute(
                "INSERT OR IGNORE INTO policy(policy_id, version, document, loaded_at) VALUES(?, ?, ?, ?)",
                (call.policy_id, call.policy_version, call.policy_document, at),
            )
            state = step(CALL, "", "accept")
            conn.execute(
                "INSERT INTO call(call_id, linked_id, channel_uid, channel_name, party_id, direction, policy_id,"
                " policy_version, mode, purposes, state, language, started_at) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (call.call_id, call.linked_id, call.channel_uid, call.channel_name, call.party_id, call.direction,
                 call.policy_id, call.policy_version, call.mode, text_json(call.purposes), state, call.language,
                 call.started_at),
            )  # fmt: skip
            conn.execute(
                "INSERT INTO party(party_id, call_id, role, number_heard, number_e164, number_class)"
                " VALUES(?, ?, ?, ?, ?, ?)",
                (
                    call.party_id,
                    call.call_id,
                    "callee" if call.direction == "outbound" else "caller",
                    call.number_heard,
                    call.number_e164,
                    call.number_class,
                ),
            )
            insert_leg(conn, call.party_id, call.channel_uid, call.channel_name, call.started_at)
            facts = {
                "policy_id": call.policy_id,
                "policy_version": call.policy_version,
                "mode": call.mode,
                "direction": call.direction,
            }
            self._audit.append(conn, at, "call.opened", subject=call.call_id, call_id=call.call_id, body=facts)
            more = {
                "call_id": call.call_id,
                "linked_id": call.linked_id,
                "number_class": call.number_class,
                "language": call.language,
                "purposes": call.purposes,
                "started_at": call.started_at,
            }
            emit(conn, "call.opened", call.call_id, {**facts, **more})
            return read_calls(conn, "c.call_id=?", call.call_id)[0]

        return await self._writer.do(job)

    async def add_event(
        self,
        call_id: str,
        event: ConsentEvent,
        *,
        state: str | None = None,
        outcome: str | None = None,
        forget: str | None = None,
    ) -> int:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> int:
            before = _state(conn, call_id)
            if state is not None and state != before:
                check_move(CALL, before, state, "a call")
            conn.execute(
                "UPDATE call SET state=ifnull(?, state), outcome=ifnull(?, outcome),"
                " ended_at=CASE WHEN ?='ended' THEN ifnull(ended_at, ?) ELSE ended_at END WHERE call_id=?",
                (state, outcome, state, event.at_wall, call_id),
            )
            if forget is not None:
                forget_number(conn, forget, event.at_wall)
            seq = file_event(conn, self._audit, self._clock.wall_text(), call_id, event, state or before, outcome)
            if state == "ended" and before != "ended":
                self._over(conn, call_id, event.at_wall, outcome)
            return seq

        return await self._writer.do(job)

    async def grant(
        self, call_id: str, event: ConsentEvent, permit_id: str, purposes: Sequence[str], recording: NewRecording
    ) -> int:
        """See `edge.ports.CallBook`. Raises CallwardenError journal.conflict when the slot already has a row,
        calls.taken_back when somebody withdrew or objected between the answer and this commit."""
        if recording.call_id != call_id or recording.permit_id != permit_id:
            raise ValueError("the recording is not of this call and permit")

        def job(conn: sqlite3.Connection) -> int:
            before = _state(conn, call_id)
            if before != "permitted":
                check_move(CALL, before, "permitted", "a call")
            (said,) = conn.execute("SELECT outcome FROM call WHERE call_id=?", (call_id,)).fetchone()
            if said in TAKEN_BACK:
                raise CallwardenError("calls.taken_back", f"the call is {said} meanwhile", where=call_id)
            seq = insert_event(conn, call_id, event)
            conn.execute("UPDATE call SET state='permitted', outcome=? WHERE call_id=?", (event.kind, call_id))
            conn.execute("UPDATE party SET standing=? WHERE party_id=?", (event.kind, event.party_id))
            conn.execute(
                "INSERT INTO permit(permit_id, call_id, event_seq, purposes, policy_version, granted_at)"
                " SELECT ?, call_id, ?, ?, policy_version, ? FROM call WHERE call_id=?",
                (permit_id, seq, text_json(purposes), event.at_wall, call_id),
            )
            self._audit.append(
                conn, self._clock.wall_text(), "recording.permitted", subject=call_id, call_id=call_id,
                body={"event": seq, "outcome": event.kind, "recording_id": recording.recording_id,
                      "permit_id": permit_id, "purposes": list(purposes)},
            )  # fmt: skip
            report_event(conn, call_id, seq, event, "permitted", event.kind)
            insert_recording(conn, recording)
            return seq

        return await self._writer.do(job)

    async def permit(self, call_id: str) -> PermitRow | None:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> PermitRow | None:
            row = conn.execute(
                "SELECT p.permit_id, p.call_id, p.event_seq, e.kind, p.purposes, c.policy_id, p.policy_version"
                " FROM permit p JOIN call c USING(call_id) JOIN consent_event e ON e.seq = p.event_seq"
                " WHERE p.call_id=? AND p.revoked_at IS NULL ORDER BY p.event_seq DESC LIMIT 1",
                (call_id,),
            ).fetchone()
            return row and PermitRow(*(*row[:4], tuple(decode_json(row[4])), *row[5:]))

        return await self._readers.read(job)

    async def add_recording(self, recording: NewRecording) -> None:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> None:
            row = conn.execute(
                "SELECT purposes, event_seq FROM permit WHERE permit_id=? AND call_id=? AND revoked_at IS NULL",
                (recording.permit_id, recording.call_id),
            ).fetchone()
            if row is None:
                raise CallwardenError(
                    "journal.conflict", "the permit was revoked, or is another call's", where=recording.permit_id
                )
            self._audit.append(
                conn, self._clock.wall_text(), "recording.permitted", subject=recording.call_id,
                call_id=recording.call_id,
                body={"event": row[1], "recording_id": recording.recording_id, "permit_id": recording.permit_id,
                      "purposes": decode_json(row[0])},
            )  # fmt: skip
            insert_recording(conn, recording)

        await self._writer.do(job)

    async def end_call(self, call_id: str, ended_at: str) -> None:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> None:
            row = conn.execute("SELECT state, outcome, party_id FROM call WHERE call_id=?", (call_id,)).fetchone()
            if row is None:
                raise missing("call", call_id)
            state, outcome, party_id = row
            if state == "ended":
                return
            ended = step(CALL, state, "gone")
            if outcome is None:
                # The outcome is the last word of the event list, so the word must be on the list.
                outcome = "abandoned" if state == "asking" else "unavailable"
                event = ConsentEvent(outcome, ended_at, self._clock.mono_ns(), {"reason": "call_ended"}, party_id)
                report_event(conn, call_id, insert_event(conn, call_id, event), event, ended, outcome)
            conn.execute(
                "UPDATE call SET state=?, outcome=?, ended_at=? WHERE call_id=?", (ended, outcome, ended_at, call_id)
            )
            self._over(conn, call_id, ended_at, outcome)
            facts = {"outcome": outcome}
            self._audit.append(
                conn, self._clock.wall_text(), "call.closed", subject=call_id, call_id=call_id, body=facts
            )
            emit(conn, "call.closed", call_id, {"call_id": call_id, "ended_at": ended_at, **facts})

        await self._writer.do(job, patient=True)

    def _over(self, conn: sqlite3.Connection, call_id: str, at: str, outcome: str | None) -> None:
        """What the end of a call brings, however it ends. Behind its last event, whose number may have to go, too."""
        _close_company(conn, call_id, at)
        _put_off(conn, call_id, at)
        forget_by_outcome(conn, call_id, outcome, told=False)
        forget_people(conn, self._audit, self._clock.wall_text(), call_id)
        report_held_numbers(conn, call_id)

    async def open_calls(self) -> Sequence[CallRow]:
        """See `edge.ports.CallBook`."""
        return await self._readers.read(lambda conn: read_calls(conn, "c.state <> 'ended'"))

    async def call(self, call_id: str) -> CallRow | None:
        """See `edge.ports.CallBook`."""
        rows = await self._readers.read(lambda conn: read_calls(conn, "c.call_id=?", call_id))
        return rows[0] if rows else None

    async def policy_document(self, policy_id: str, version: str) -> str | None:
        """See `edge.ports.CallBook`."""

        def job(conn: sqlite3.Connection) -> str | None:
            query = "SELECT document FROM policy WHERE policy_id=? AND version=?"
            row = conn.execute(query, (policy_id, version)).fetchone()
            return None if row is None else str(row[0])

        return await self._readers.read(job)


def _state(conn: sqlite3.Connection, call_id: str) -> str:
    row = conn.execute("SELECT state FROM call WHERE call_id=?", (call_id,)).fetchone()
    if row is None:
        raise missing("call", call_id)
    state: str = row[0]
    return state


def _close_company(conn: sqlite3.Connection, call_id: str, at: str) -> None:
    """Nobody is on the call any more, and nothing of it is paused."""
    conn.execute(
        "UPDATE leg SET left_at=? WHERE left_at IS NULL AND party_id IN (SELECT party_id FROM party WHERE call_id=?)",
        (at, call_id),
    )
    conn.execute(
        "UPDATE pause SET ended_at=?, ended_kind=?, ended_name=? WHERE call_id=? AND ended_at IS NULL",
        (at, ENDED_BY.kind, ENDED_BY.name, call_id),
    )


def _put_off(conn: sqlite3.Connection, call_id: str, ended_at: str) -> None:
    """What a withdrawal in mid-call made due so long after it is due so long after the call's end."""
    rows = conn.execute(
        "SELECT d.recording_id, d.due_at, e.at_wall FROM due_erasure d JOIN recording r USING(recording_id)"
        " JOIN consent_event e ON e.seq=d.event_seq WHERE r.call_id=?",
        (call_id,),
    ).fetchall()
    for recording_id, due_at, withdrawn_at in rows:
        later = datetime.fromisoformat(ended_at) - datetime.fromisoformat(withdrawn_at)
        due = datetime.fromisoformat(due_at) + max(later, timedelta(0))
        text = f"{due:%Y-%m-%dT%H:%M:%S}.{due.microsecond // 1000:03d}Z"
        conn.execute("UPDATE due_erasure SET due_at=? WHERE recording_id=?", (text, recording_id))


def forget_by_outcome(conn: sqlite3.Connection, call_id: str, outcome: str | None, *, told: bool = True) -> None:
    """After the end of a call: some outcomes keep nobody's number. `told`: central may have been told it."""
    if outcome in NUMBER_GOES:
        forget_numbers(conn, call_id, agents=False, told=told)
