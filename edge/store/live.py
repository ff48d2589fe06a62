"""Live calls: parties and their legs, pauses, marks on recordings, withdrawal and the erasures it brings."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from edge.model.entities import ConsentEvent, ReceiptRow
from edge.model.lifecycle import RECORDING
from edge.model.live import Actor, DueErasure, NewParty, PartyRow, PauseRow
from edge.store.base import Base, check_move, decode_json, missing
from edge.store.calls import ENDED_BY, forget_by_outcome
from edge.store.memory import forget_number
from edge.store.numbers import report_numbers
from edge.store.orders import store_receipt
from edge.store.recordings import state_of
from edge.store.rows import file_event, forget_people, insert_leg

_PARTY: Final = """
SELECT party_id, call_id, role, number_heard, number_class, standing,
  (SELECT json_group_array(channel_uid) FROM (SELECT channel_uid FROM leg l WHERE l.party_id = p.party_id
    ORDER BY l.joined_at, l.channel_uid)),
  (SELECT json_group_array(channel_uid) FROM (SELECT channel_uid FROM leg l WHERE l.party_id = p.party_id
    AND l.left_at IS NULL ORDER BY l.joined_at, l.channel_uid))
FROM party p"""
_PAUSE: Final = """
SELECT s.pause_id, s.call_id, s.reason, s.actor_kind, s.actor_name, s.began_at, s.until_at, s.ended_at, s.ended_kind,
  s.ended_name FROM pause s"""
_DUE: Final = "SELECT d.recording_id, d.due_at, d.cause, d.event_seq, d.waits_for, d.why FROM due_erasure d"


def read_parties(conn: sqlite3.Connection, call_id: str) -> list[PartyRow]:
    """The parties of a call: the caller first, then in the order in which they came."""
    order = "ORDER BY role<>'caller', (SELECT min(joined_at) FROM leg l WHERE l.party_id = p.party_id), party_id"
    rows = conn.execute(f"{_PARTY} WHERE call_id=? {order}", (call_id,))
    return [PartyRow(*(*row[:6], tuple(decode_json(row[6])), tuple(decode_json(row[7])))) for row in rows]


def read_pauses(conn: sqlite3.Connection, where: str, *args: Any) -> list[PauseRow]:
    """Pauses that match `where` (SQL of our own), oldest first."""
    rows = conn.execute(f"{_PAUSE} WHERE {where} ORDER BY s.began_at, s.pause_id", args)
    return [
        PauseRow(
            pause_id, call_id, reason, Actor(kind, name), began_at, until_at, ended_at,
            None if ended_kind is None else Actor(ended_kind, ended_name or ""),
        )
        for pause_id, call_id, reason, kind, name, began_at, until_at, ended_at, ended_kind, ended_name in rows
    ]  # fmt: skip


def read_due(conn: sqlite3.Connection, where: str, *args: Any) -> list[DueErasure]:
    """Due erasures that match `where` (SQL of our own), the earliest first."""
    return [DueErasure(*row) for row in conn.execute(f"{_DUE} WHERE {where} ORDER BY d.due_at, d.recording_id", args)]


def _due_with_late_ones(conn: sqlite3.Connection, call_id: str, due: Sequence[DueErasure]) -> list[DueErasure]:
    """`due`, and the same for recordings of the call that began after the caller of `withdraw` had looked."""
    if not due:
        return []
    rows = conn.execute("SELECT recording_id FROM recording WHERE call_id=? ORDER BY seq", (call_id,))
    late = {row[0] for row in rows} - {one.recording_id for one in due}
    return [*due, *(DueErasure(one, due[0].due_at, due[0].cause) for one in sorted(late))]


class Live(Base):
    """The `LiveBook` of the journal."""

    async def add_party(self, party: NewParty) -> None:
        """See `edge.ports.LiveBook`. A party that is known already gets one more leg."""

        def job(conn: sqlite3.Connection) -> None:
            known = conn.execute(
                "SELECT l.party_id FROM leg l JOIN party p ON p.party_id=l.party_id WHERE l.channel_uid=? AND p.call_id=?",
                (party.channel_uid, party.call_id),
            ).fetchone()
            if known is not None:
                conn.execute(
                    "UPDATE leg SET left_at=NULL WHERE party_id=? AND channel_uid=?", (known[0], party.channel_uid)
                )
                return
            refuses = party.role == "third" and party.standing == "refused"
            number = (None, None) if refuses else (party.number_heard, party.number_e164)
            new = conn.execute(
                "INSERT INTO party(party_id, call_id, role, number_heard, number_e164, number_class, standing)"
                " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(party_id) DO NOTHING",
                (party.party_id, party.call_id, party.role, *number, party.number_class, party.standing),
            ).rowcount
            insert_leg(conn, party.party_id, party.channel_uid, party.channel_name, party.joined_at)
            self._note(
                conn, "party.joined", party.call_id,
                {"role": party.role, "standing": party.standing, "number_class": party.number_class, "new": bool(new)},
            )  # fmt: skip

        await self._writer.do(job)

    async def set_standing(self, party_id: str, standing: str) -> None:
        """See `edge.ports.LiveBook`."""

        def job(conn: sqlite3.Connection) -> None:
            row = conn.execute("SELECT call_id, role, standing FROM party WHERE party_id=?", (party_id,)).fetchone()
            if row is None:
                raise missing("party", party_id)
            call_id, role, before = row
            if before == standing:
                return
            conn.execute("UPDATE party SET standing=? WHERE party_id=?", (standing, party_id))
            if role == "third" and standing == "refused":
                conn.execute("UPDATE party SET number_heard=NULL, number_e164=NULL WHERE party_id=?", (party_id,))
                report_numbers(conn, call_id)
            self._note(conn, "party.standing", call_id, {"role": role, "standing": standing, "before": before})

        await self._writer.do(job)

    async def leg_left(self, channel_uid: str, at: str) -> None:
        """See `edge.ports.LiveBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute("UPDATE leg SET left_at=? WHERE channel_uid=? AND left_at IS NULL", (at, channel_uid))

        await self._writer.do(job, wakes=False, patient=True)

    async def parties(self, call_id: str) -> Sequence[PartyRow]:
        """See `edge.ports.LiveBook`; the caller first."""
        return await self._readers.read(lambda conn: read_parties(conn, call_id))

    async def open_pause(self, pause: PauseRow) -> PauseRow:
        """See `edge.ports.LiveBook`. A call that has ended gets none: the row comes back closed and is not stored."""

        def job(conn: sqlite3.Connection) -> PauseRow:
            state = conn.execute("SELECT state FROM call WHERE call_id=?", (pause.call_id,)).fetchone()
            if state is None:
                raise missing("call", pause.call_id)
            if state[0] == "ended":
                return PauseRow(
                    pause.pause_id, pause.call_id, pause.reason, pause.actor, pause.began_at, pause.until_at,
                    pause.began_at, ENDED_BY,
                )  # fmt: skip
            found = read_pauses(conn, "s.call_id=? AND s.reason=? AND s.ended_at IS NULL", pause.call_id, pause.reason)
            if found:
                return found[0]
            conn.execute(
                "INSERT INTO pause(pause_id, call_id, reason, actor_kind, actor_name, began_at, until_at)"
                " VALUES(?, ?, ?, ?, ?, ?, ?)",
                (pause.pause_id, pause.call_id, pause.reason, pause.actor.kind, pause.actor.name, pause.began_at,
                 pause.until_at),
            )  # fmt: skip
            self._note(
                conn, "pause.opened", pause.call_id,
                {"pause_id": pause.pause_id, "reason": pause.reason, "by": pause.actor.kind, "until": pause.until_at},
            )  # fmt: skip
            return pause

        return await self._writer.do(job)

    async def close_pause(self, pause_id: str, at: str, by: Actor) -> None:
        """See `edge.ports.LiveBook`."""

        def job(conn: sqlite3.Connection) -> None:
            found = read_pauses(conn, "s.pause_id=?", pause_id)
            if not found:
                raise missing("pause", pause_id)
            if found[0].ended_at is not None:
                return
            conn.execute(
                "UPDATE pause SET ended_at=?, ended_kind=?, ended_name=? WHERE pause_id=?",
                (at, by.kind, by.name, pause_id),
            )
            facts = {"pause_id": pause_id, "reason": found[0].reason, "by": by.kind}
            self._note(conn, "pause.closed", found[0].call_id, facts)

        await self._writer.do(job)

    async def open_pauses(self) -> Sequence[PauseRow]:
        """See `edge.ports.LiveBook`."""
        where = "s.ended_at IS NULL AND EXISTS(SELECT 1 FROM call c WHERE c.call_id=s.call_id AND c.state<>'ended')"
        return await self._readers.read(lambda conn: read_pauses(conn, where))

    async def pauses(self, call_id: str) -> Sequence[PauseRow]:
        """See `edge.ports.LiveBook`; oldest first."""
        return await self._readers.read(lambda conn: read_pauses(conn, "s.call_id=?", call_id))

    async def set_muted(self, recording_id: str, muted: bool) -> None:
        """See `edge.ports.LiveBook`. Repeats do nothing; while a recording is `erasing` its state stays."""

        def job(conn: sqlite3.Connection) -> None:
            before, call_id = state_of(conn, recording_id)
            after = "paused" if muted else "recording"
            conn.execute("UPDATE capture SET muted=? WHERE recording_id=?", (int(muted), recording_id))
            if before in (after, "erasing"):
                return
            check_move(RECORDING, before, after, "a recording")
            conn.execute("UPDATE recording SET state=? WHERE recording_id=?", (after, recording_id))
            kind = "recording.paused" if muted else "recording.resumed"
            self._note(conn, kind, call_id, {"recording_id": recording_id, "state": after})

        await self._writer.do(job)

    async def withdraw(
        self, call_id: str, event: ConsentEvent, outcome: str, due: Sequence[DueErasure], *, forget: str | None
    ) -> int:
        """See `edge.ports.LiveBook`. The call's state stays: one that ended may still be withdrawn from."""

        def job(conn: sqlite3.Connection) -> int:
            row = conn.execute("SELECT state FROM call WHERE call_id=?", (call_id,)).fetchone()
            if row is None:
                raise missing("call", call_id)
            conn.execute("UPDATE call SET outcome=? WHERE call_id=?", (outcome, call_id))
            conn.execute(
                "UPDATE permit SET revoked_at=? WHERE call_id=? AND revoked_at IS NULL", (event.at_wall, call_id)
            )
            seq = file_event(conn, self._audit, self._clock.wall_text(), call_id, event, row[0], outcome)
            for one in _due_with_late_ones(conn, call_id, due):
                self._add_due(conn, DueErasure(one.recording_id, one.due_at, one.cause, seq))
            if forget is not None:
                forget_number(conn, forget, event.at_wall)
            if row[0] == "ended":
                forget_by_outcome(conn, call_id, outcome)
                forget_people(conn, self._audit, self._clock.wall_text(), call_id)
            return seq

        return await self._writer.do(job)

    async def revoked_at(self, call_id: str) -> str | None:
        """See `edge.ports.LiveBook`."""

        def job(conn: sqlite3.Connection) -> str | None:
            row = conn.execute("SELECT max(revoked_at) FROM permit WHERE call_id=?", (call_id,)).fetchone()
            return None if row[0] is None else str(row[0])

        return await self._readers.read(job)

    async def flag(self, recording_id: str, flag: str, detail: str = "") -> None:
        """See `edge.ports.LiveBook`. The first detail stays."""

        def job(conn: sqlite3.Connection) -> None:
            _, call_id = state_of(conn, recording_id)
            at = self._clock.wall_text()
            new = conn.execute(
                "INSERT INTO recording_flag(recording_id, flag, detail, at) VALUES(?, ?, ?, ?)"
                " ON CONFLICT(recording_id, flag) DO NOTHING",
                (recording_id, flag, detail, at),
            )
            if new.rowcount:
                self._note(conn, "recording.flagged", call_id, {"recording_id": recording_id, "flag": flag})

        await self._writer.do(job)

    async def flags(self, recording_id: str) -> Sequence[tuple[str, str]]:
        """(flag, detail), oldest first."""

        def job(conn: sqlite3.Connection) -> Sequence[tuple[str, str]]:
            query = "SELECT flag, detail FROM recording_flag WHERE recording_id=? ORDER BY at, flag"
            return [(flag, detail) for flag, detail in conn.execute(query, (recording_id,))]

        return await self._readers.read(job)

    async def add_due(self, due: DueErasure) -> None:
        """See `edge.ports.LiveBook`; audit `erasure.due`. One that is earlier already stays."""
        await self._writer.do(lambda conn: self._add_due(conn, due))

    def _add_due(self, conn: sqlite3.Connection, due: DueErasure) -> None:
        state, call_id = state_of(conn, due.recording_id)
        if state == "erased":
            return
        changed = conn.execute(
            "INSERT INTO due_erasure(recording_id, due_at, cause, event_seq, why) VALUES(?, ?, ?, ?, ?)"
            " ON CONFLICT(recording_id) DO UPDATE SET due_at=excluded.due_at WHERE excluded.due_at < due_at",
            (due.recording_id, due.due_at, due.cause, due.event_seq, due.why),
        )
        if changed.rowcount:
            facts = {"recording_id": due.recording_id, "due_at": due.due_at, "cause": due.cause}
            self._note(conn, "erasure.due", call_id, facts)

    async def due_erasures(self, now: str) -> Sequence[DueErasure]:
        """See `edge.ports.LiveBook`; the earliest first."""
        where = (
            "d.due_at<=? AND EXISTS(SELECT 1 FROM recording r JOIN call c ON c.call_id=r.call_id"
            " WHERE r.recording_id=d.recording_id AND r.state<>'erased' AND c.state='ended')"
        )
        return await self._readers.read(lambda conn: read_due(conn, where, now))

    async def defer_due(self, recording_id: str, why: str, receipt: ReceiptRow) -> None:
        """See `edge.ports.LiveBook`. The words stay out of the audit log: a hold's reason may name somebody."""

        def job(conn: sqlite3.Connection) -> None:
            _, call_id = state_of(conn, recording_id)
            conn.execute("UPDATE due_erasure SET waits_for=? WHERE recording_id=?", (why, recording_id))
            if store_receipt(conn, receipt):
                facts = {"recording_id": recording_id, "jti": receipt.jti, "n": receipt.n}
                self._note(conn, "erasure.deferred", call_id, facts)

        await self._writer.do(job)

    async def due_of(self, recording_id: str) -> DueErasure | None:
        """See `edge.ports.LiveBook`."""
        found = await self._readers.read(lambda conn: read_due(conn, "d.recording_id=?", recording_id))
        return found[0] if found else None

    def _note(self, conn: sqlite3.Connection, kind: str, call_id: str, body: dict[str, Any]) -> None:
        self._audit.append(conn, self._clock.wall_text(), kind, subject=call_id, call_id=call_id, body=body)
