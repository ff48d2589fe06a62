"""Which policies edges run, and ran: every report once, its text once however many edges send it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import msgspec

from central.conn import Conn, Row
from central.errors import CentralError
from central.state import Central
from formats import canonical
from formats.errors import FormatError
from formats.ids import parse_time
from formats.register import InForce, PolicyReport, parse_report

#: Longer than any moment, in the order of texts.
_EVER: Final = "9999-12-31T23:59:59.999Z"


def take(central: Central, conn: Conn, edge_id: str, data: dict[str, Any]) -> None:
    """Job: file an event `policy.loaded`. A repeat changes nothing. Raises CentralError event.policy, FormatError.

    In force since `at`, or since now where an edge's clock is ahead: else the report of a clock that was wrong once would
    stand in the way of all later ones. Nor before what the edge reported earlier, where its clock is behind.
    """
    report = parse_report(data)
    try:
        parse_time(report.at)
    except FormatError as error:
        raise CentralError("event.policy", "at must be a time", where="at") from error
    text = canonical.dumps(msgspec.to_builtins(msgspec.structs.replace(report, at=""))).decode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    now = central.now()
    (last,) = conn.execute(
        "SELECT max(since) FROM edge_policy WHERE edge_id=? AND policy=?", (edge_id, report.policy)
    ).fetchone()
    conn.execute(
        "INSERT INTO policy_report(report_sha256, report) VALUES (?,?) ON CONFLICT(report_sha256) DO NOTHING",
        (digest, text),
    )
    conn.execute(
        "INSERT INTO edge_policy(edge_id, policy, at, report_sha256, version, since, received_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (edge_id, report.policy, report.at, digest, report.version, max(min(report.at, now), last or ""), now),
    )


def running(conn: Conn, at: str = "") -> list[InForce]:
    """Job: every policy that edges ran at that moment ("" for now), with since when in that version; sorted. What an edge ran
    that was revoked by then is marked so."""
    gone = {
        row["edge_id"]: str(row["state_at"])
        for row in conn.execute(
            "SELECT edge_id, state_at FROM edge WHERE state='revoked' AND state_at<=?", (at or _EVER,)
        ).fetchall()
    }
    last = [found for found in map(_standing, _histories(_reported(conn, at))) if found is not None]
    return [
        InForce(row["edge_id"], since, report, *(("revoked", gone[row["edge_id"]]) if row["edge_id"] in gone else ()))
        for (row, since), report in zip(last, _reports(conn, [row for row, _ in last]), strict=True)
    ]


def policy_names(conn: Conn) -> dict[str, frozenset[str]]:
    """Job: the names of the policies that each edge runs; an edge that reported none is left out."""
    rows = conn.execute(
        "SELECT p.edge_id, p.policy FROM edge_policy p WHERE p.version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM edge_policy q"
        " WHERE q.edge_id=p.edge_id AND q.policy=p.policy AND (q.since, q.received_at, q.at, q.report_sha256)"
        ">(p.since, p.received_at, p.at, p.report_sha256)) ORDER BY p.edge_id"
    )
    by_edge = groupby(rows, key=lambda row: str(row["edge_id"]))
    return {edge_id: frozenset(row["policy"] for row in found) for edge_id, found in by_edge}


def kept(conn: Conn) -> list[InForce]:
    """Job: what edges apply no longer, in its last version, while recordings made under it are left; sorted. Every call is looked
    through for it, so it is asked for such policies alone."""
    last = []
    for rows in _histories(_reported(conn, "")):
        before = [row for row in rows if row["version"] is not None]
        if rows[-1]["version"] is None and before and _has_recordings(conn, rows[-1]["edge_id"], rows[-1]["policy"]):
            last.append((before, str(rows[-1]["since"])))
    return [
        InForce(before[-1]["edge_id"], _since(before), report, "kept", ended)
        for (before, ended), report in zip(last, _reports(conn, [before[-1] for before, _ in last]), strict=True)
    ]


def _reported(conn: Conn, at: str) -> list[Row]:
    return conn.execute(
        "SELECT edge_id, policy, since, received_at, at, version, report_sha256 FROM edge_policy WHERE since<=?"
        " ORDER BY edge_id, policy, since, received_at, at, report_sha256",
        (at or _EVER,),
    ).fetchall()


def _reports(conn: Conn, rows: list[Row]) -> list[PolicyReport]:
    """The report of each row; of one that cannot be read (any more) what the row says, without a document."""
    found: dict[str, PolicyReport] = {}
    for row in rows:
        if (digest := row["report_sha256"]) not in found:
            query = "SELECT report FROM policy_report WHERE report_sha256=?"
            try:
                found[digest] = parse_report(canonical.loads(conn.execute(query, (digest,)).fetchone()["report"]))
            except FormatError:
                found[digest] = PolicyReport(row["policy"], row["version"])
    return [found[row["report_sha256"]] for row in rows]


def _has_recordings(conn: Conn, edge_id: str, policy: str) -> bool:
    """Whether a recording with audio is left of a call under the policy."""
    member = canonical.dumps({"policy_id": policy}).decode()[1:-1]
    like = "".join(f"!{c}" if c in "!%_" else c for c in member)
    rows = conn.execute(
        "SELECT c.opened FROM call c JOIN recording r ON r.call_id=c.call_id WHERE c.edge_id=? AND c.opened LIKE ? ESCAPE '!'"
        " AND r.state<>'erased' AND (r.sealed IS NULL OR r.sealed NOT LIKE ?)",
        (edge_id, f"%{like}%", '%"state":"no_audio"%'),
    )
    return any(canonical.loads(row["opened"]).get("policy_id") == policy for row in rows)


def history(conn: Conn) -> list[dict[str, Any]]:
    """Job: every report, oldest first, without its text."""
    rows = conn.execute(
        "SELECT edge_id, policy, version, since, report_sha256 FROM edge_policy"
        " ORDER BY since, edge_id, policy, report_sha256"
    )
    return [dict(row) for row in rows]


def _histories(rows: list[Row]) -> Iterator[list[Row]]:
    for _, found in groupby(rows, key=lambda row: (row["edge_id"], row["policy"])):
        yield list(found)


def _standing(rows: list[Row]) -> tuple[Row, str] | None:
    """The last report of one policy at one edge, and when its version came; None for a policy that is no more."""
    last = rows[-1]
    if last["version"] is None:
        return None
    return last, _since(rows)


def _since(rows: list[Row]) -> str:
    """When the version of the last of them came."""
    since = rows[-1]["since"]
    for row in reversed(rows):
        if row["version"] != rows[-1]["version"]:
            break
        since = row["since"]
    return str(since)
