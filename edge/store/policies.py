"""What central was told of the policies in effect: one row per policy, and the event that carries it, in one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from edge.store.base import Base, decode_json, emit, text_json

#: Begins the keys of `meta` under which the last report of each policy lies.
REPORTED: Final = "policy.report:"
KIND: Final = "policy.loaded"


class PolicyReports(Base):
    """The `PolicyReportBook` of the journal."""

    async def report_policies(self, reports: Mapping[str, Mapping[str, Any]]) -> int:
        """See `edge.ports.PolicyReportBook`."""

        def job(conn: sqlite3.Connection) -> int:
            known = {
                key.removeprefix(REPORTED): decode_json(value)
                for key, value in conn.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{REPORTED}*",))
            }
            gone: dict[str, Mapping[str, Any]] = {
                name: {"policy": name, "version": None}
                for name, before in known.items()
                if name not in reports and before["version"] is not None
            }
            new = 0
            for name, report in sorted({**reports, **gone}.items()):
                before = {key: value for key, value in known.get(name, {}).items() if key != "at"}
                if before == decode_json(text_json(report)):
                    continue
                body = {**report, "at": self._clock.wall_text()}
                emit(conn, KIND, "", body)
                conn.execute(
                    "INSERT INTO meta(key, value) VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                    (REPORTED + name, text_json(body)),
                )
                new += 1
            return new

        return await self._writer.do(job)

    async def policy_reports(self) -> Mapping[str, Mapping[str, Any]]:
        """See `edge.ports.PolicyReportBook`."""

        def job(conn: sqlite3.Connection) -> Mapping[str, Mapping[str, Any]]:
            rows = conn.execute("SELECT value FROM meta WHERE key GLOB ? ORDER BY key", (f"{REPORTED}*",)).fetchall()
            found = [decode_json(row[0]) for row in rows]
            return {one["policy"]: one for one in found}

        return await self._readers.read(job)


def resend_reports(conn: sqlite3.Connection) -> None:
    """Part of a resend: every policy's last report once more, with the time it is of."""
    rows = conn.execute("SELECT value FROM meta WHERE key GLOB ? ORDER BY key", (f"{REPORTED}*",)).fetchall()
    for (value,) in rows:
        emit(conn, KIND, "", decode_json(value))
