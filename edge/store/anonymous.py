"""A call whose metadata becomes anonymous: what statistics count stays, what leads back to somebody goes. Inside the
caller's transaction (docs/spec/anonymous.md). Used by erasure and by retention.

What stays of the call: day and hour, policy, direction, mode, purposes, outcome, kind of number, duration in seconds; of
its consent events what the minimal record keeps, to the hour, for as long as evidence is kept.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Final

from edge.errors import CallwardenError
from edge.ports import AuditSink
from edge.store.base import decode_json, emit, missing, text_json
from edge.store.minimal import anonymising, minimise
from edge.store.notices import drop_notices
from edge.store.rows import forget_numbers
from formats.anonymous import less, to_the_hour

_HOUR: Final = "substr({0}, 1, 13) || ':00:00.000Z'"
_PARTIES: Final = "party_id IN (SELECT party_id FROM party WHERE call_id=?)"
_RECORDINGS: Final = "recording_id IN (SELECT recording_id FROM recording WHERE call_id=?)"
#: Where what stands behind a call has times: table, columns, which rows.
_TIMES: Final = (
    ("permit", ("granted_at", "revoked_at"), "call_id=?"),
    ("recording", ("started_at", "ended_at"), "call_id=?"),
    ("recording_flag", ("at",), _RECORDINGS),
    ("segment", ("opened_at", "closed_at"), _RECORDINGS),
)


def anonymise(conn: sqlite3.Connection, audit: AuditSink, at: str, call_id: str) -> bool:
    """Make a call anonymous; audit and outbox `call.anonymised`. False when it is already.

    Raises CallwardenError journal.unknown; journal.conflict for a call that goes on or still has audio, because what is
    stored of those is found by what goes here.
    """
    row = conn.execute(
        "SELECT state, started_at, ended_at, anonymised_at FROM call WHERE call_id=?", (call_id,)
    ).fetchone()
    if row is None:
        raise missing("call", call_id)
    state, started_at, ended_at, done = row
    if done is not None:
        return False
    audio = conn.execute(
        "SELECT 1 FROM recording WHERE call_id=? AND state NOT IN ('erased','no_audio')", (call_id,)
    ).fetchone()
    if state != "ended" or audio is not None:
        raise CallwardenError("journal.conflict", "the call goes on, or still has audio", where=call_id)
    seconds = duration_s(started_at, ended_at)
    minimise(conn, audit, at, call_id)
    forget_numbers(conn, call_id, agents=True)
    drop_notices(conn, call_id, "anonymous")
    conn.execute("UPDATE party SET number_hmac=NULL WHERE call_id=?", (call_id,))
    for table, where in (
        ("leg", _PARTIES),
        ("pause", "call_id=?"),
        ("notice", "call_id=?"),
        ("rectification", "call_id=?"),
    ):
        conn.execute(f"DELETE FROM {table} WHERE {where}", (call_id,))  # noqa: S608 - our own words
    for table, columns, where in _TIMES:
        sets = ", ".join(f"{one}={_HOUR.format(one)}" for one in columns)  # of null: null
        conn.execute(f"UPDATE {table} SET {sets} WHERE {where} ", (call_id,))  # noqa: S608 - our own words
    with anonymising(conn):
        conn.execute(
            f"UPDATE consent_event SET at_wall={_HOUR.format('at_wall')}, at_mono=0 WHERE call_id=?",  # noqa: S608
            (call_id,),
        )
    conn.execute("UPDATE recording SET channel_uid='', channel_name='', manifest=NULL WHERE call_id=?", (call_id,))
    conn.execute(f"UPDATE recording_flag SET detail='' WHERE {_RECORDINGS}", (call_id,))  # noqa: S608 - our own words
    # Two calls never have one linked id under one policy: the call's own id stands for it.
    conn.execute(
        "UPDATE call SET linked_id=call_id, channel_uid='', channel_name='', language=NULL, duration_s=?,"  # noqa: S608
        f" started_at={_HOUR.format('started_at')}, ended_at={_HOUR.format('ended_at')}, anonymised_at=?"
        " WHERE call_id=?",
        (seconds, at, call_id),
    )
    _less_to_send(conn, call_id)
    audit.append(conn, at, "call.anonymised", subject=call_id, call_id=call_id)
    emit(
        conn, "call.anonymised", call_id,
        {"call_id": call_id, "started_at": to_the_hour(started_at), "duration_s": seconds},
    )  # fmt: skip
    return True


def duration_s(started_at: str, ended_at: str) -> int:
    """Whole seconds between two times of the journal; 0 where the clock was set back in between."""
    span = datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)
    return max(0, round(span.total_seconds()))


def _less_to_send(conn: sqlite3.Connection, call_id: str) -> None:
    """What central has not heard yet says no more than what is stored now."""
    rows: list[tuple[int, str]] = conn.execute(
        "SELECT seq, body FROM outbox WHERE subject=? OR subject IN (SELECT recording_id FROM recording WHERE call_id=?)",
        (call_id, call_id),
    ).fetchall()
    for seq, body in rows:
        kept: dict[str, Any] = less(decode_json(body))
        conn.execute("UPDATE outbox SET body=? WHERE seq=?", (text_json(kept), seq))
