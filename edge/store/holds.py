"""Holds and restrictions: placed by one, released by two, and the calls they cover."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.holds import HoldRow
from edge.store.base import Base, emit, missing
from edge.store.covers import BOTH, HOLDS, RESTRICTIONS, covers, covers_any
from edge.store.recordings import state_of

#: The kind of hold that keeps data from readers; central hears of it, call by call.
RESTRICTION: Final = "restriction"
_HOLD: Final = """
SELECT h.hold_id, h.kind, h.scope, h.target, h.reason, h.case_ref, h.placed_by, h.placed_at, h.label, h.release_first_by,
  h.release_asked_at, h.released_by, h.released_at, (SELECT count(*) FROM hold_cover v WHERE v.hold_id=h.hold_id)
FROM hold h"""


def read_holds(conn: sqlite3.Connection, where: str, *args: Any) -> list[HoldRow]:
    """Holds that match `where` (SQL of our own), the oldest first."""
    return [HoldRow(*row) for row in conn.execute(f"{_HOLD} WHERE {where} ORDER BY h.placed_at, h.hold_id", args)]


def refuse_held(conn: sqlite3.Connection, recording_id: str, call_id: str, *, by_itself: bool) -> None:
    """Part of the commit that files an intent to erase: a hold that came a moment ago still counts; for what goes
    `by_itself` a restriction does too. Raises CallwardenError command.held (retryable)."""
    kinds = BOTH if by_itself else HOLDS
    query = f"SELECT 1 FROM hold h WHERE {covers('?1', '?2', kinds)} LIMIT 1"  # noqa: S608 - our own words
    if conn.execute(query, (recording_id, call_id)).fetchone() is not None:
        raise CallwardenError(
            "command.held", "a hold was placed on it a moment ago", where=recording_id, retryable=True,
            hint="callwarden hold list shows who placed it and why",
        )  # fmt: skip


class Holds(Base):
    """The `HoldBook` of the journal."""

    async def place_hold(self, hold: HoldRow, covers: Sequence[str] = ()) -> HoldRow:
        """See `edge.ports.HoldBook`."""

        def job(conn: sqlite3.Connection) -> HoldRow:
            if there := read_holds(conn, "h.hold_id=?", hold.hold_id):
                return there[0]
            call_id = _subject(conn, hold)
            conn.execute(
                "INSERT INTO hold(hold_id, kind, scope, target, reason, case_ref, placed_by, placed_at, label)"
                " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (hold.hold_id, hold.kind, hold.scope, hold.target, hold.reason, hold.case_ref, hold.placed_by,
                 hold.placed_at, hold.label),
            )  # fmt: skip
            _cover(conn, [(hold.hold_id, one) for one in covers])
            if hold.kind == RESTRICTION and call_id is not None:
                named = {"recording_id": hold.target} if hold.scope == "recording" else {}
                emit(conn, "restriction.placed", call_id, {"hold_id": hold.hold_id, "call_id": call_id, **named})
            # Neither reason nor label: they are free text, and the log cannot forget.
            facts = {"hold_id": hold.hold_id, "scope": hold.scope, "by": hold.placed_by}
            if hold.scope == "recording":
                facts["recording_id"] = hold.target
            self._hold_said(conn, f"{hold.kind}.placed", call_id, facts)
            return read_holds(conn, "h.hold_id=?", hold.hold_id)[0]

        return await self._writer.do(job)

    async def release_hold(self, hold_id: str, by: Sequence[str], at: str) -> HoldRow:
        """See `edge.ports.HoldBook`."""

        def job(conn: sqlite3.Connection) -> HoldRow:
            found = read_holds(conn, "h.hold_id=?", hold_id)
            if not found:
                raise missing("hold", hold_id)
            hold = found[0]
            if not hold.open:
                return hold
            people = [*([hold.release_first_by] if hold.release_first_by else []), *by]
            first, second = people[0], next((one for one in people[1:] if one != people[0]), None)
            if second is None and hold.release_first_by is not None:
                raise CallwardenError(
                    "command.same_person", "the release needs a second person, and you asked for it already",
                    where=hold_id, hint="somebody else, logged in as themselves, runs the same command",
                )  # fmt: skip
            conn.execute(
                "UPDATE hold SET release_first_by=?, release_asked_at=ifnull(release_asked_at, ?), released_by=?,"
                " released_at=? WHERE hold_id=?",
                (first, at, second, at if second else None, hold_id),
            )
            if second is not None:
                conn.execute("DELETE FROM hold_cover WHERE hold_id=?", (hold_id,))
                if hold.kind == RESTRICTION:
                    emit(conn, "restriction.released", hold_id, {"hold_id": hold_id})
            word = "released" if second else "release_asked"
            self._hold_said(conn, f"{hold.kind}.{word}", _call_of(conn, hold), {"hold_id": hold_id, "by": list(by)})
            return read_holds(conn, "h.hold_id=?", hold_id)[0]

        return await self._writer.do(job)

    async def hold(self, hold_id: str) -> HoldRow | None:
        """See `edge.ports.HoldBook`."""
        found = await self._readers.read(lambda conn: read_holds(conn, "h.hold_id=?", hold_id))
        return found[0] if found else None

    async def holds(self, *, released: bool = False) -> Sequence[HoldRow]:
        """See `edge.ports.HoldBook`."""
        where = "1" if released else "h.released_at IS NULL"
        return await self._readers.read(lambda conn: read_holds(conn, where))

    async def holds_on(self, recording_id: str, call_id: str) -> Sequence[str]:
        """See `edge.ports.HoldBook`; the oldest first."""
        return await self._reasons(recording_id, call_id, HOLDS)

    async def restrictions_on(self, recording_id: str, call_id: str) -> Sequence[str]:
        """See `edge.ports.HoldBook`; the oldest first."""
        return await self._reasons(recording_id, call_id, RESTRICTIONS)

    async def _reasons(self, recording_id: str, call_id: str, kinds: str) -> Sequence[str]:
        query = f"SELECT h.reason FROM hold h WHERE {covers('?1', '?2', kinds)} ORDER BY h.placed_at"  # noqa: S608
        return await self._readers.read(
            lambda conn: [row[0] for row in conn.execute(query, (recording_id, call_id)).fetchall()]
        )

    async def holds_on_calls(self, call_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """See `edge.ports.HoldBook`; calls that nothing keeps are left out."""
        query = (
            "SELECT CASE h.kind WHEN 'hold' THEN 'under hold: ' ELSE 'restricted: ' END || h.reason FROM hold h WHERE"  # noqa: S608
            f" {covers_any('?1')} ORDER BY h.placed_at"
        )

        def job(conn: sqlite3.Connection) -> dict[str, Sequence[str]]:
            if conn.execute("SELECT 1 FROM hold WHERE released_at IS NULL LIMIT 1").fetchone() is None:
                return {}
            found = {one: [row[0] for row in conn.execute(query, (one,))] for one in call_ids}
            return {one: reasons for one, reasons in found.items() if reasons}

        return await self._readers.read(job)

    async def person_holds(self) -> Sequence[tuple[str, str, int]]:
        """See `edge.ports.HoldBook`."""
        query = "SELECT hold_id, target, looked_at_seq FROM hold WHERE released_at IS NULL AND scope='person'"
        return await self._readers.read(lambda conn: [(r[0], r[1], r[2]) for r in conn.execute(query)])

    async def people_of(self, call_ids: Sequence[str]) -> Sequence[tuple[str, str | None, str | None, str | None]]:
        """See `edge.ports.HoldBook`."""
        query = (
            "SELECT call_id, number_heard, number_e164, number_hmac FROM party WHERE call_id=?"
            " AND coalesce(number_heard, number_e164, number_hmac) IS NOT NULL"
        )

        def job(conn: sqlite3.Connection) -> list[tuple[str, str | None, str | None, str | None]]:
            return [(r[0], r[1], r[2], r[3]) for one in call_ids for r in conn.execute(query, (one,))]

        return await self._readers.read(job)

    async def calls_after(self, seq: int, limit: int) -> Sequence[tuple[int, str, bool]]:
        """See `edge.ports.HoldBook`."""
        query = "SELECT seq, call_id, state='ended' FROM call WHERE seq>? ORDER BY seq LIMIT ?"
        return await self._readers.read(
            lambda conn: [(r[0], r[1], bool(r[2])) for r in conn.execute(query, (seq, limit))]
        )

    async def cover(self, found: Sequence[tuple[str, str]], looked: Mapping[str, int]) -> None:
        """See `edge.ports.HoldBook`."""

        def job(conn: sqlite3.Connection) -> None:
            _cover(conn, found)
            conn.executemany(
                "UPDATE hold SET looked_at_seq=max(looked_at_seq, ?) WHERE hold_id=?",
                [(seq, hold_id) for hold_id, seq in looked.items()],
            )

        await self._writer.do(job, wakes=False)

    def _hold_said(self, conn: sqlite3.Connection, kind: str, call_id: str | None, body: dict[str, Any]) -> None:
        self._audit.append(conn, self._clock.wall_text(), kind, subject=call_id, call_id=call_id, body=body)


def _cover(conn: sqlite3.Connection, pairs: Sequence[tuple[str, str]]) -> None:
    for hold_id, call_id in pairs:
        new = conn.execute(
            "INSERT INTO hold_cover(hold_id, call_id) SELECT h.hold_id, c.call_id FROM hold h, call c WHERE h.hold_id=?"
            " AND h.released_at IS NULL AND c.call_id=? ON CONFLICT DO NOTHING",
            (hold_id, call_id),
        ).rowcount
        kind = conn.execute("SELECT kind FROM hold WHERE hold_id=?", (hold_id,)).fetchone() if new else None
        if kind == (RESTRICTION,):
            emit(conn, "restriction.placed", call_id, {"hold_id": hold_id, "call_id": call_id})


def _subject(conn: sqlite3.Connection, hold: HoldRow) -> str | None:
    """The call it is about. Raises journal.unknown, command.too_late."""
    if hold.scope == "recording":
        state, call_id = state_of(conn, hold.target)
        if state in ("erasing", "erased"):
            raise CallwardenError(
                "command.too_late",
                "the recording is erased" if state == "erased" else "the recording is being erased",
                hint="its key is destroyed; nothing brings it back",
                where=hold.target,
            )
        return call_id
    if hold.scope == "call" and _call_of(conn, hold) is None:
        raise missing("call", hold.target)
    return _call_of(conn, hold)


def _call_of(conn: sqlite3.Connection, hold: HoldRow) -> str | None:
    column = "recording_id" if hold.scope == "recording" else "call_id"
    table = "recording" if hold.scope == "recording" else "call"
    row = conn.execute(f"SELECT call_id FROM {table} WHERE {column}=?", (hold.target,)).fetchone()  # noqa: S608
    return None if row is None else str(row[0])
