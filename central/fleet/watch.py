"""What no heartbeat tells: edges that are silent, and edges whose policies are not those of the fleet."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.conn import Conn, Row
from central.fleet.episodes import settle
from central.fleet.judge import MUTE, POLICY, SILENT
from central.fleet.settings import MAJORITY
from central.register.store import policy_names
from formats.ids import format_time

if TYPE_CHECKING:
    from central.state import Central

#: How often this is looked at, seconds.
EVERY_S: Final = 15.0
#: Looks further apart than this were not all there: the database was away, or the host slept, or its clock was set.
GAP: Final = timedelta(seconds=4 * EVERY_S)
#: Alarms of silence at one look, so that a fleet behind a line that broke does not hold the database.
AT_ONCE: Final = 500
#: A majority is one of at least so many edges.
FEW: Final = 3
#: A heartbeat this old says nothing about which policies an edge has now.
STALE: Final = timedelta(minutes=10)
#: New policies reach a fleet edge by edge; who has others for longer than this diverges.
ROLLOUT: Final = timedelta(minutes=15)


@dataclass
class Watch:
    """One process's watch. Two of them do no harm: what stands is a row."""

    central: Central
    _since: float = field(default_factory=time.monotonic)
    _looked: datetime | None = None

    async def look(self) -> None:
        """One look. Raises CentralError central.database."""
        limits = self.central.config.edges
        await self.central.edges.write()
        now = self.central.wall()
        if self._looked is not None and not timedelta(0) <= now - self._looked <= GAP:
            self._since = time.monotonic()
        # While central was away, or without its database, nobody could be heard.
        there = time.monotonic() - self._since
        listening, hearing = there > limits.silent_s, there > STALE.total_seconds()
        await self.central.db.run(lambda conn: look(self.central, conn, listening=listening, hearing=hearing))
        self._looked = now


def look(central: Central, conn: Conn, *, listening: bool, hearing: bool = False) -> None:
    """Job: alarms begin and end. listening: whether central was there to hear them all the time; hearing: as long as a
    heartbeat counts."""
    conn.exclusive("heartbeats")
    limits, now = central.config.edges, central.wall()
    edge = format_time(now - timedelta(seconds=limits.silent_s))
    heard = "coalesce(e.last_seen_at, e.enrolled_at)"
    said: list[tuple[str, str, str | None]] = []
    if listening:
        silent = conn.execute(
            f"SELECT e.edge_id, {heard} AS heard FROM edge e WHERE e.state='enrolled' AND {heard}<? AND NOT EXISTS"  # noqa: S608
            " (SELECT 1 FROM episode p WHERE p.edge_id=e.edge_id AND p.code=?) ORDER BY e.edge_id LIMIT ?",
            (edge, SILENT, AT_ONCE),
        )
        said += [(row["edge_id"], SILENT, f"nothing was heard of it since {row['heard']}") for row in silent]
    back = conn.execute(
        f"SELECT e.edge_id FROM edge e JOIN episode p USING (edge_id) WHERE p.code=? AND (e.state<>'enrolled' OR {heard}>=?)",  # noqa: S608
        (SILENT, edge),
    )
    said += [(row["edge_id"], SILENT, None) for row in back]
    said += _mute(conn, edge, format_time(now - STALE), hearing)
    said += _policies(central, conn)
    for edge_id, code, message in said:
        settle(central, conn, edge_id, code, message)


def _mute(conn: Conn, seen: str, stale: str, hearing: bool) -> list[tuple[str, str, str | None]]:
    """Job: who was seen since `seen` and sent no heartbeat since `stale`, and who sends them again."""
    said: list[tuple[str, str, str | None]] = []
    last = "coalesce(h.heard_at, e.state_at, e.enrolled_at)"
    if hearing:
        mute = conn.execute(
            f"SELECT e.edge_id, {last} AS heard FROM edge e LEFT JOIN heartbeat h ON h.edge_id=e.edge_id"  # noqa: S608
            f" WHERE e.state='enrolled' AND e.last_seen_at>=? AND {last}<? AND NOT EXISTS"
            " (SELECT 1 FROM episode p WHERE p.edge_id=e.edge_id AND p.code=?) ORDER BY e.edge_id LIMIT ?",
            (seen, stale, MUTE, AT_ONCE),
        )
        said += [(row["edge_id"], MUTE, f"it is seen, but sent no heartbeat since {row['heard']}") for row in mute]
    again = conn.execute(
        "SELECT e.edge_id FROM episode p JOIN edge e ON e.edge_id=p.edge_id LEFT JOIN heartbeat h ON h.edge_id=e.edge_id"
        " WHERE p.code=? AND (e.state<>'enrolled' OR h.heard_at>=?)",
        (MUTE, stale),
    )
    return said + [(row["edge_id"], MUTE, None) for row in again]


def _policies(central: Central, conn: Conn) -> list[tuple[str, str, str | None]]:
    """Job: whose policies are not the expected ones, and whose are again."""
    now, wanted = central.wall(), central.config.edges.policy
    rows = conn.execute(
        "SELECT h.edge_id, h.policy, h.policy_since FROM heartbeat h JOIN edge e USING (edge_id)"
        " WHERE e.state='enrolled' AND h.heard_at>=?",
        (format_time(now - STALE),),
    ).fetchall()
    standing = {row[0] for row in conn.execute("SELECT edge_id FROM episode WHERE code=?", (POLICY,))}
    # A majority is one of edges that have policies of the same names; others do another work, and differ on purpose.
    differ = wanted == MAJORITY and len({row["policy"] for row in rows}) > 1
    names = policy_names(conn) if differ else {}
    groups: dict[frozenset[str], list[Row]] = {}
    for row in rows:
        groups.setdefault(names.get(row["edge_id"], frozenset()), []).append(row)
    patience = format_time(now - ROLLOUT)
    return [one for group in groups.values() for one in _diverging(group, wanted, standing, patience)]


def _diverging(rows: list[Row], wanted: str, standing: set[str], patience: str) -> list[tuple[str, str, str | None]]:
    """Of edges that are compared. patience: who has others only since then is not late yet."""
    expected = expected_policy(wanted, Counter(row["policy"] for row in rows))
    said: list[tuple[str, str, str | None]] = []
    # Before most edges had them nobody could be late with the majority's policies.
    since = sorted(row["policy_since"] for row in rows if row["policy"] == expected)
    began = since[len(rows) // 2] if wanted == MAJORITY and expected is not None else ""
    for row in rows:
        differs = expected is not None and row["policy"] != expected
        if differs and max(row["policy_since"], began) < patience and row["edge_id"] not in standing:
            said.append(
                (row["edge_id"], POLICY, f"its policies are {row['policy'][:16]}, expected {str(expected)[:16]}")
            )
        elif not differs and row["edge_id"] in standing:
            said.append((row["edge_id"], POLICY, None))
    return said


def expected_policy(wanted: str, counted: Counter[str]) -> str | None:
    """The hash that every edge should have: declared, or that of more than half of at least `FEW` edges. None: any."""
    if wanted == "any":
        return None
    if wanted != MAJORITY:
        return wanted
    total = counted.total()
    best = counted.most_common(1)
    return best[0][0] if total >= FEW and best[0][1] * 2 > total else None
