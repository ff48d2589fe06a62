"""Read models about one call beyond its own row: who took part, pauses, permits, marks, notices; and when the daemon was
away. Plain functions over a reading connection, JSON-able."""

from __future__ import annotations

import sqlite3
from typing import Any

from edge.store.base import decode_json

Json = dict[str, Any]


def dossier(conn: sqlite3.Connection, call_id: str) -> Json:
    """permits (in the order of their events), parties (in the order they came), pauses (in the order they began),
    notices, due (erasures that come by themselves)."""
    return {
        "permits": permits(conn, call_id),
        "parties": _parties(conn, call_id),
        "pauses": _pauses(conn, call_id),
        "notices": _rows(
            conn, ("when", "country", "state", "attempts", "due_at", "made_at", "sent_at", "why"),
            "SELECT when_, country, state, attempts, due_at, made_at, sent_at, why FROM notice WHERE call_id=?"
            " ORDER BY made_at", call_id,
        ),
        "due": _rows(
            conn, ("recording_id", "due_at", "cause", "event_seq", "waits_for"),
            "SELECT d.recording_id, d.due_at, d.cause, d.event_seq, d.waits_for FROM due_erasure d JOIN recording r USING(recording_id)"
            " WHERE r.call_id=? ORDER BY r.seq", call_id,
        ),
    }  # fmt: skip


def permits(conn: sqlite3.Connection, call_id: str) -> list[Json]:
    """permit_id event_seq purposes policy_version granted_at revoked_at."""
    names = ("permit_id", "event_seq", "purposes", "policy_version", "granted_at", "revoked_at")
    query = (
        "SELECT permit_id, event_seq, purposes, policy_version, granted_at, revoked_at FROM permit WHERE call_id=?"
        " ORDER BY event_seq, permit_id"
    )
    found = _rows(conn, names, query, call_id)
    return [{**one, "purposes": decode_json(one["purposes"])} for one in found]


def flags(conn: sqlite3.Connection, recording_id: str) -> list[Json]:
    """flag detail at: marks on a recording that a reader must know."""
    query = "SELECT flag, detail, at FROM recording_flag WHERE recording_id=? ORDER BY at, flag"
    return _rows(conn, ("flag", "detail", "at"), query, recording_id)


def original(conn: sqlite3.Connection, recording_id: str) -> Json | None:
    """name kept removing_at removed_at of the file that a recording was, None of one that was none."""
    query = "SELECT name, kept, removing_at, removed_at FROM adoption WHERE recording_id=?"
    found = _rows(conn, ("name", "kept", "removing_at", "removed_at"), query, recording_id)
    return {**found[0], "kept": bool(found[0]["kept"])} if found else None


def outages(conn: sqlite3.Connection) -> list[Json]:
    """from to: the daemon was away; the last one has to = null when it was not started again (`alive_at` is the last
    time it was seen; only of worth while no daemon runs)."""
    found = [
        {"from": body["from"], "to": body["to"]}
        for body in (
            decode_json(row[0])
            for row in conn.execute(
                "SELECT json_extract(entry, '$.body') FROM audit WHERE json_extract(entry, '$.kind')='outage'"
                " ORDER BY idx"
            )
        )
    ]
    alive = conn.execute("SELECT value FROM meta WHERE key='alive_at'").fetchone()
    return [*found, {"from": alive[0], "to": None}] if alive else found


def _parties(conn: sqlite3.Connection, call_id: str) -> list[Json]:
    found = _rows(
        conn, ("party_id", "role", "number", "number_class", "standing", "number_hmac"),
        "SELECT p.party_id, p.role, coalesce(p.number_e164, p.number_heard), p.number_class, p.standing, p.number_hmac"
        " FROM party p JOIN call c USING(call_id)"
        " LEFT JOIN leg l ON l.party_id=p.party_id WHERE p.call_id=? GROUP BY p.party_id"
        # The first is first, also when times are cut to the minute.
        " ORDER BY p.party_id<>c.party_id, min(l.joined_at), p.party_id", call_id,
    )  # fmt: skip
    for party in found:
        party["legs"] = _rows(
            conn, ("channel_uid", "channel_name", "joined_at", "left_at"),
            "SELECT channel_uid, channel_name, joined_at, left_at FROM leg WHERE party_id=? ORDER BY joined_at",
            party["party_id"],
        )  # fmt: skip
    return found


def _pauses(conn: sqlite3.Connection, call_id: str) -> list[Json]:
    found = _rows(
        conn,
        ("reason", "kind", "name", "began_at", "until_at", "ended_at", "ended_kind", "ended_name"),
        "SELECT reason, actor_kind, actor_name, began_at, until_at, ended_at, ended_kind, ended_name FROM pause"
        " WHERE call_id=? ORDER BY began_at, reason",
        call_id,
    )
    return [
        {
            "reason": one["reason"],
            "by": {"kind": one["kind"], "name": one["name"]},
            "began_at": one["began_at"],
            "until_at": one["until_at"],
            "ended_at": one["ended_at"],
            "ended_by": {"kind": one["ended_kind"], "name": one["ended_name"]} if one["ended_kind"] else None,
        }
        for one in found
    ]


def _rows(conn: sqlite3.Connection, names: tuple[str, ...], query: str, key: str) -> list[Json]:
    return [dict(zip(names, row, strict=True)) for row in conn.execute(query, (key,))]
