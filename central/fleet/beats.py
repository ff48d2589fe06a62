"""Heartbeats on their way into the database: kept in memory for a few seconds, then written and judged together.

Only the newest of each edge is stored. Ten thousand edges every 30 s are 1,700 rows in one transaction every 5 s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from central.conn import Conn, Row
from central.fleet.episodes import settle
from central.fleet.judge import AUDIT, CLONED, Session, findings, sessions_after
from central.fleet.settings import EdgeAlarms
from formats.heartbeat import Heartbeat
from formats.ids import format_time, parse_time

if TYPE_CHECKING:
    from central.state import Central

_log = structlog.get_logger("central")

#: Rows read at once.
_PAGE: Final = 500
#: Heartbeats of one edge that wait for the next writing; an edge that speaks faster is not listened to.
_WAITING: Final = 4
#: What was witnessed so recently may have overtaken a heartbeat.
_OVERTAKEN: Final = timedelta(seconds=60)
#: Two daemons are believed to be one again after this time without a sign of the other.
CLONE_QUIET: Final = timedelta(hours=1)


class _Head(msgspec.Struct, frozen=True):
    """What is read of the heartbeat on file, which a later version may have written."""

    log: str = ""
    size: int = -1
    root: str = ""


@dataclass
class Beats:
    """Belongs to the event loop."""

    _waiting: dict[str, list[tuple[str, Heartbeat]]] = field(default_factory=dict)

    def heard(self, edge_id: str, at: str, beat: Heartbeat) -> None:
        """It came at this time, by central's clock."""
        waiting = self._waiting.setdefault(edge_id, [])
        if len(waiting) < _WAITING:
            waiting.append((at, beat))

    async def write(self, central: Central) -> None:
        """Store and judge what came. Raises CentralError central.database: it is kept for the next time."""
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, {}
        try:
            await central.db.run(lambda conn: _write(central, conn, taken))
        except BaseException:
            for edge_id, beats in taken.items():
                self._waiting[edge_id] = (beats + self._waiting.get(edge_id, []))[:_WAITING]
            raise


def _write(central: Central, conn: Conn, taken: dict[str, list[tuple[str, Heartbeat]]]) -> None:
    conn.exclusive("heartbeats")  # two processes may have heard of one edge
    standing = {(row[0], row[1]) for row in conn.execute("SELECT edge_id, code FROM episode")}
    rows, judged = [], []
    everyone = sorted(taken)
    for names in (everyone[n : n + _PAGE] for n in range(0, len(everyone), _PAGE)):
        marks = ",".join("?" * len(names))
        known = {
            row["edge_id"]: row
            for row in conn.execute(f"SELECT * FROM heartbeat WHERE edge_id IN ({marks})", tuple(names))  # noqa: S608
        }
        for edge_id in names:
            try:
                row, said, log_moved = _one(central.config.edges, edge_id, known.get(edge_id), taken[edge_id])
            except Exception:  # whatever one edge says must not silence the others
                _log.exception("the heartbeats of an edge cannot be judged: this is a bug", edge_id=edge_id)
                continue
            if log_moved or (edge_id, AUDIT) in standing:
                heard, beat = taken[edge_id][-1]
                said[AUDIT] = _against_mirror(conn, edge_id, beat, heard)
            rows.append(row)
            judged.append((edge_id, said))
    conn.executemany(
        "INSERT INTO heartbeat(edge_id, heard_at, policy, policy_since, data, sessions, cloned_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT (edge_id) DO UPDATE SET heard_at=excluded.heard_at, policy=excluded.policy,"
        " policy_since=excluded.policy_since, data=excluded.data, sessions=excluded.sessions, cloned_at=excluded.cloned_at",
        rows,
    )
    for edge_id, said in judged:  # central's log comes last: others wait for it
        for code, message in said.items():
            if message is not None or (edge_id, code) in standing:
                settle(central, conn, edge_id, code, message)


def _one(
    limits: EdgeAlarms, edge_id: str, before: Row | None, beats: list[tuple[str, Heartbeat]]
) -> tuple[tuple[str | None, ...], dict[str, str | None], bool]:
    """The row after these heartbeats of one edge, what they say, and whether its audit log has another head. Asks no database."""
    known: tuple[Session, ...] = ()
    cloned_at: str | None = None
    if before is not None:
        known = msgspec.json.decode(before["sessions"], type=tuple[Session, ...])
        cloned_at = before["cloned_at"]
    said: dict[str, str | None] = {}
    for heard, beat in beats:
        known, cloned = sessions_after(known, beat)
        if cloned is not None:
            said[CLONED], cloned_at = cloned, heard
    heard, beat = beats[-1]
    if cloned_at is not None and parse_time(heard) - parse_time(cloned_at) > CLONE_QUIET:
        said[CLONED], cloned_at = None, None
    said |= findings(beat, parse_time(heard), limits)
    old = None if before is None else msgspec.json.decode(before["data"], type=_Head)
    moved = old is None or (old.log, old.size, old.root) != (beat.log, beat.size, beat.root)
    since = heard if before is None or before["policy"] != beat.policy else before["policy_since"]
    data, sessions = msgspec.json.encode(beat).decode(), msgspec.json.encode(known).decode()
    return (edge_id, heard, beat.policy, since, data, sessions, cloned_at), said, moved


def _against_mirror(conn: Conn, edge_id: str, beat: Heartbeat, heard: str) -> str | None:
    """Why the head of its audit log does not fit what was witnessed; None where it does, or is not mirrored yet."""
    same = conn.execute(
        "SELECT root FROM witnessed WHERE edge_id=? AND origin=? AND size=?", (edge_id, beat.log, beat.size)
    ).fetchone()
    if same is not None:
        return None if bytes(same["root"]).hex() == beat.root else f"its audit log has another root at {beat.size}"
    before = format_time(parse_time(heard) - _OVERTAKEN)
    (longest,) = conn.execute(
        "SELECT max(size) FROM witnessed WHERE edge_id=? AND origin=? AND at<?", (edge_id, beat.log, before)
    ).fetchone()
    if longest is not None and longest > beat.size:
        return f"its audit log ends at {beat.size}, but {longest} entries were witnessed"
    return None
