"""Runs of `verify`, what they found, and the two changes of state that follow: quarantined, explained."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from edge.model.lifecycle import RECORDING, step
from edge.ports.integrity import Run
from edge.store.audit import raise_alarm
from edge.store.base import Base, decode_json, text_json
from edge.store.recordings import state_of

_META = "verify_run"


class Integrity(Base):
    """The `IntegrityBook` of the journal."""

    async def begin_verify(self, *, deep: bool, anew: bool, uid: int) -> Run:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> Run:
            open_ = _open(conn)
            goes_on = open_ is not None and not anew and bool(open_["deep"]) == deep
            at = self._clock.wall_text()
            body = {"deep": deep, "goes_on": goes_on, "uid": uid}
            self._audit.append(conn, at, "verify.begun", body=body)
            if open_ is not None and goes_on:
                rows = conn.execute("SELECT recording_id FROM verified WHERE run=?", (open_["run"],))
                return Run(open_["run"], open_["begun_at"], deep, frozenset(r[0] for r in rows), True)
            run = secrets.token_hex(16)
            conn.execute(
                "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (_META, text_json({"run": run, "begun_at": at, "deep": deep})),
            )
            return Run(run, at, deep, frozenset(), False)

        return await self._writer.do(job)

    async def note_verified(self, run: str, recording_id: str, findings: Sequence[Mapping[str, Any]]) -> None:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT INTO verified(recording_id, run, at, findings) VALUES(?, ?, ?, ?) ON CONFLICT(recording_id)"
                " DO UPDATE SET run=excluded.run, at=excluded.at, findings=excluded.findings",
                (recording_id, run, self._clock.wall_text(), text_json(list(findings))),
            )

        await self._writer.do(job, wakes=False)

    async def last_found(self, recording_id: str) -> Sequence[str]:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> list[str]:
            row = conn.execute("SELECT findings FROM verified WHERE recording_id=?", (recording_id,)).fetchone()
            return [] if row is None else [one["code"] for one in decode_json(row[0])]

        return await self._readers.read(job)

    async def end_verify(self, run: str) -> Sequence[Mapping[str, Any]]:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> list[Mapping[str, Any]]:
            open_ = _open(conn)
            if open_ is None or open_["run"] != run:
                return []
            rows = conn.execute("SELECT findings FROM verified WHERE run=? ORDER BY at, recording_id", (run,))
            texts = [row[0] for row in rows]
            found: list[Mapping[str, Any]] = [one for text in texts for one in decode_json(text)]
            conn.execute("DELETE FROM meta WHERE key=?", (_META,))
            body = {"run": run, "recordings": len(texts), "findings": len(found)}
            self._audit.append(conn, self._clock.wall_text(), "verify.ended", body=body)
            return found

        return await self._writer.do(job)

    async def quarantine(self, recording_id: str, codes: Sequence[str], uid: int) -> bool:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            state, call_id = state_of(conn, recording_id)
            if state not in ("sealed", "no_audio"):
                return False
            after, at = step(RECORDING, state, "disagree"), self._clock.wall_text()
            conn.execute("UPDATE recording SET state=? WHERE recording_id=?", (after, recording_id))
            self._audit.append(
                conn, at, "recording.quarantined", subject=call_id, call_id=call_id,
                body={"recording_id": recording_id, "state": after, "why": list(codes), "uid": uid},
            )  # fmt: skip
            message = f"rows and files of a recording disagree: {', '.join(codes)}"
            raise_alarm(conn, self._audit, at, "vault.quarantined", message, recording_id)
            return True

        return await self._writer.do(job)

    async def explained(self, recording_id: str, uid: int) -> bool:
        """See `edge.ports.IntegrityBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            state, call_id = state_of(conn, recording_id)
            signed = conn.execute(
                "SELECT 1 FROM recording WHERE recording_id=? AND manifest IS NOT NULL", (recording_id,)
            ).fetchone()
            if state != "quarantined" or signed is None:
                return False
            after = step(RECORDING, state, "explained")
            conn.execute("UPDATE recording SET state=? WHERE recording_id=?", (after, recording_id))
            self._audit.append(
                conn, self._clock.wall_text(), "recording.explained", subject=call_id, call_id=call_id,
                body={"recording_id": recording_id, "state": after, "uid": uid},
            )  # fmt: skip
            return True

        return await self._writer.do(job)


def _open(conn: sqlite3.Connection) -> dict[str, Any] | None:
    row = conn.execute("SELECT value FROM meta WHERE key=?", (_META,)).fetchone()
    return None if row is None else dict(decode_json(row[0]))
