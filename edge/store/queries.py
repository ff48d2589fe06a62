"""Read models: plain functions over a reading connection that return JSON-able values, newest first.

The daemon's local door answers from them, and with the daemon stopped the command opens the journal and does the same.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from edge.model.entities import RecordingRow, SegmentRow
from edge.model.lifecycle import LIVE
from edge.store.base import decode_json
from edge.store.calls import read_calls
from edge.store.dossier import dossier, flags, original
from edge.store.recordings import read_recordings

Json = dict[str, Any]


def calls(conn: sqlite3.Connection) -> list[Json]:
    """Every call: call_id linked_id policy mode outcome caller started_at ended_at state recordings(ids)."""
    return [
        {
            "call_id": c.call_id,
            "linked_id": c.linked_id,
            "policy": c.policy_id,
            "mode": c.mode,
            "outcome": c.outcome,
            "caller": c.caller,
            "started_at": c.started_at,
            "ended_at": c.ended_at,
            "state": c.state,
            "recordings": list(c.recordings),
        }
        for c in reversed(read_calls(conn, "1"))
    ]


def recordings(conn: sqlite3.Connection) -> list[Json]:
    """Every recording: recording_id call_id state ending seconds codec suite held reported marks started_at
    ended_at segments."""
    waiting, marks = _waiting(conn), _marks(conn)
    return [
        {**_recording(row, waiting), "marks": marks.get(row.recording_id, [])}
        for row in reversed(read_recordings(conn, "1"))
    ]


def reads(conn: sqlite3.Connection, recording_id: str) -> list[Json]:
    """Who read a recording or was refused, oldest first: at index kind, and what the entry's body has."""
    rows = conn.execute(
        """SELECT idx, at, entry FROM audit WHERE substr(entry, instr(entry, '"recording_id":"') + 16, 32)=? AND"""
        """ (instr(entry, '"kind":"recording.read') > 0 OR instr(entry, '"kind":"recording.exported"') > 0)"""
        " ORDER BY idx",
        (recording_id,),
    )
    found = []
    for index, at, text in rows:
        entry = decode_json(text)
        body = {name: value for name, value in entry["body"].items() if name != "recording_id"}
        found.append({"at": at, "index": index, "kind": entry["kind"], **body})
    return found


def _waiting(conn: sqlite3.Connection) -> set[str]:
    return {row[0] for row in conn.execute("SELECT DISTINCT subject FROM outbox")}


def _seconds(segment: SegmentRow, recording: RecordingRow) -> float:
    return round(recording.frames_of(segment) / recording.rate, 3)


def _marks(conn: sqlite3.Connection) -> dict[str, list[str]]:
    """Recording to the flags on it, in order of time."""
    found: dict[str, list[str]] = {}
    for recording_id, flag in conn.execute("SELECT recording_id, flag FROM recording_flag ORDER BY at, flag"):
        found.setdefault(recording_id, []).append(flag)
    return found


def _recording(row: RecordingRow, waiting: set[str]) -> Json:
    rate = row.rate * row.frame_bytes
    return {
        "recording_id": row.recording_id,
        "call_id": row.call_id,
        "state": row.state,
        "ending": row.ending,
        "seconds": round(sum(row.frames_of(s) for s in row.segments) / row.rate, 3),
        "codec": row.codec,
        "suite": row.suite,
        "held": row.held,
        # Central has everything: the closing event was written (with the final state) and no row is left to send.
        "reported": row.state in ("sealed", "no_audio", "erased") and row.recording_id not in waiting,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "segments": [
            {
                "segment_id": s.segment_id,
                "number": s.number,
                "state": s.state,
                "seconds": _seconds(s, row),
                "encoding": s.encoding,
                "payload_bytes": s.payload_bytes,
                "start_s": round(s.spool_offset / rate, 3),
                "end_reason": s.end_reason,
            }
            for s in row.segments
        ],
    }


def why(conn: sqlite3.Connection, call_id: str) -> Json | None:
    """Everything stored about one call: call, events, permit (the newest), policy, recordings with their tombstones,
    flags and what became of the file they were (`original`), and `dossier`'s permits, parties, pauses, notices, due; None when unknown."""
    row = conn.execute(
        "SELECT c.call_id, c.linked_id, c.direction, c.policy_id, c.policy_version, c.mode, c.purposes, c.state,"
        " c.outcome, c.language, c.started_at, c.ended_at, p.number_heard, p.number_class, d.document, c.evidence"
        " FROM call c JOIN party p ON p.party_id=c.party_id"
        " JOIN policy d ON d.policy_id=c.policy_id AND d.version=c.policy_version WHERE c.call_id=?",
        (call_id,),
    ).fetchone()
    if row is None:
        return None
    names = ("call_id", "linked_id", "direction", "policy", "policy_version", "mode")
    call = dict(zip(names, row[:6], strict=True))
    call.update(
        purposes=decode_json(row[6]), state=row[7], outcome=row[8], language=row[9], started_at=row[10],
        ended_at=row[11], caller=row[12], number_class=row[13], evidence=row[15],
    )  # fmt: skip
    events = [
        {"seq": seq, "kind": kind, "at": at, "party_id": party_id, "evidence": decode_json(evidence)}
        for seq, kind, at, party_id, evidence in conn.execute(
            "SELECT seq, kind, at_wall, party_id, evidence FROM consent_event WHERE call_id=? ORDER BY seq", (call_id,)
        )
    ]
    permit = conn.execute(
        "SELECT permit_id, event_seq, purposes, policy_version, granted_at, revoked_at FROM permit WHERE call_id=?"
        " ORDER BY event_seq DESC LIMIT 1",
        (call_id,),
    ).fetchone()
    waiting = _waiting(conn)
    rows = read_recordings(conn, "r.call_id=?", call_id)
    tombs = {row.recording_id: _tombstone(conn, row.recording_id) for row in rows if row.state == "erased"}
    return {
        "call": call,
        "events": events,
        "permit": None if permit is None else {
            "permit_id": permit[0], "event_seq": permit[1], "purposes": decode_json(permit[2]),
            "policy_version": permit[3], "granted_at": permit[4], "revoked_at": permit[5],
        },
        "policy_document": row[14],
        "recordings": [
            {**_recording(r, waiting), "codec": r.codec, "rate": r.rate, "channels": r.channels,
             "end_reasons": [s.end_reason for s in r.segments], "tombstone": tombs.get(r.recording_id),
             "permit_id": r.permit_id, "flags": flags(conn, r.recording_id), "original": original(conn, r.recording_id)}
            for r in rows
        ],
        **dossier(conn, call_id),
    }  # fmt: skip


def _tombstone(conn: sqlite3.Connection, recording_id: str) -> Json | None:
    row = conn.execute("SELECT erased_at, cause, receipt_id FROM tombstone WHERE recording_id=?", (recording_id,))
    found = row.fetchone()
    return None if found is None else dict(zip(("erased_at", "cause", "receipt_id"), found, strict=True))


def receipts(conn: sqlite3.Connection, subject: str) -> list[Json]:
    """The receipts of a recording, an order, a ground, or with this id, oldest first: receipt_id jti n result sent, and
    jws with the order's document (null where the receipt stands on a ground), from which a proof is made."""
    rows = conn.execute(
        "SELECT r.receipt_id, r.jti, r.n, r.result, r.acked_at IS NOT NULL, r.jws, i.jws FROM receipt r"
        " LEFT JOIN inbox i ON i.jti=r.jti WHERE r.receipt_id=?1 OR r.jti=?1 OR r.jti IN (SELECT s.jti FROM tombstone t"
        " JOIN receipt s ON s.receipt_id=t.receipt_id WHERE t.recording_id=?1) ORDER BY r.seq",
        (subject,),
    )
    names = ("receipt_id", "jti", "n", "result", "sent", "jws", "order")
    return [
        {**dict(zip(names, row, strict=True)), "sent": bool(row[4]), "order": decode_json(row[6]) if row[6] else None}
        for row in rows
    ]


def find_call(conn: sqlite3.Connection, text: str) -> list[str]:
    """call_ids that `text` may mean: a call id, a linked id, the uniqueid of a channel that took part, or the beginning
    (6 hex digits or more) of a call id."""
    rows = conn.execute(
        "SELECT call_id FROM call WHERE call_id=?1 OR linked_id=?1 OR channel_uid=?1 OR call_id IN"
        " (SELECT p.call_id FROM leg l JOIN party p USING(party_id) WHERE l.channel_uid=?1) ORDER BY seq", (text,)
    ).fetchall()  # fmt: skip
    if not rows and len(text) >= 6 and all(char in "0123456789abcdef" for char in text):
        rows = conn.execute(
            "SELECT call_id FROM call WHERE call_id>=?1 AND call_id<?1||'g' ORDER BY call_id LIMIT 20", (text,)
        ).fetchall()
    return [row[0] for row in rows]


def status(conn: sqlite3.Connection) -> Json:
    """Counts: calls and recordings by state, outcomes, live, outbox, orders, receipts, audit, checkpoints, alarms."""
    by_state = dict(conn.execute("SELECT state, count(*) FROM recording GROUP BY state"))
    waiting, dead = conn.execute("SELECT count(*) - count(dead_reason), count(dead_reason) FROM outbox").fetchone()
    latest = conn.execute("SELECT at, code, message, place FROM alarm ORDER BY seq DESC LIMIT 1").fetchone()
    return {
        "edge_id": conn.execute("SELECT value FROM meta WHERE key='edge_id'").fetchone()[0],
        "instance_id": conn.execute("SELECT value FROM meta WHERE key='instance_id'").fetchone()[0],
        "calls": dict(conn.execute("SELECT state, count(*) FROM call GROUP BY state")),
        "outcomes": dict(conn.execute("SELECT outcome, count(*) FROM call WHERE outcome IS NOT NULL GROUP BY outcome")),
        "recordings": by_state,
        "live_recordings": sum(by_state.get(state, 0) for state in LIVE),
        "outbox": {"waiting": waiting, "dead": dead},
        "orders": dict(conn.execute("SELECT state, count(*) FROM inbox GROUP BY state")),
        "receipts_waiting": conn.execute("SELECT count(*) FROM receipt WHERE acked_at IS NULL").fetchone()[0],
        "audit_size": conn.execute("SELECT ifnull(max(idx) + 1, 0) FROM audit").fetchone()[0],
        "last_checkpoint": _size(conn, "SELECT max(size) FROM checkpoint"),
        "last_cosigned": _size(conn, "SELECT max(size) FROM checkpoint WHERE cosigned IS NOT NULL"),
        "alarms": {
            "count": conn.execute("SELECT count(*) FROM alarm").fetchone()[0],
            "last": None if latest is None else dict(zip(("at", "code", "message", "where"), latest, strict=True)),
        },
    }


def _size(conn: sqlite3.Connection, query: str) -> int | None:
    found: int | None = conn.execute(query).fetchone()[0]
    return found
