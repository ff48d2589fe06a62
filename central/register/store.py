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
from formats.register import InForce, parse_report

#: Longer than any moment, in the order of texts.
_EVER: Final = "9999-12-31T23:59:59.999Z"


def take(central: Central, conn: Conn, edge_id: str, data: dict[str, Any]) -> None:
    """Job: file an event `policy.loaded`. A repeat changes nothing. Raises CentralError event.policy, FormatError.

    In force since `at`, or since now where an edge's clock is ahead: else the report of a clock that was wrong once would
    stand in the way of all later ones.
    """
    report = parse_report(data)
    try:
        parse_time(report.at)
    except FormatError as error:
        raise CentralError("event.policy", "at must be a time", where="at") from error
    text = canonical.dumps(msgspec.to_builtins(msgspec.structs.replace(report, at=""))).decode()
    digest = hashlib.sha256(text.encode()).hexdigest()
    now = central.now()
    conn.execute(
        "INSERT INTO policy_report(report_sha256, report) VALUES (?,?) ON CONFLICT(report_sha256) DO NOTHING",
        (digest, text),
    )
    conn.execute(
        "INSERT INTO edge_policy(edge_id, policy, at, report_sha256, version, since, received_at) VALUES (?,?,?,?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (edge_id, report.policy, report.at, digest, report.version, min(report.at, now), now),
    )


def running(conn: Conn, at: str = "") -> list[InForce]:
    """Job: every policy that edges ran at that moment ("" for now), with since when in that version; sorted."""
    rows = conn.execute(
        "SELECT edge_id, policy, since, at, version, report_sha256 FROM edge_policy WHERE since<=?"
        " ORDER BY edge_id, policy, since, at, report_sha256",
        (at or _EVER,),
    ).fetchall()
    last = [found for found in map(_standing, _histories(rows)) if found is not None]
    texts = {
        digest: conn.execute("SELECT report FROM policy_report WHERE report_sha256=?", (digest,)).fetchone()["report"]
        for digest in {row["report_sha256"] for row, _ in last}
    }
    reports = {digest: parse_report(canonical.loads(text)) for digest, text in texts.items()}
    return [InForce(row["edge_id"], since, reports[row["report_sha256"]]) for row, since in last]


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
    since = last["since"]
    for row in reversed(rows):
        if row["version"] != last["version"]:
            break
        since = row["since"]
    return last, str(since)
