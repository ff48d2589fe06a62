"""Evidence that gets less: to the minimal record when the audio is erased, to nothing when its time is over. Each
inside the caller's transaction, under `meta.anonymising`, which alone lets a stored event change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.model.minimal import minimal, to_the_minute
from edge.ports import AuditSink
from edge.store.base import decode_json, text_json
from edge.store.numbers import has_numbers, report_numbers

_MINUTE = "substr({0}, 1, 16) || ':00.000Z'"


@contextmanager
def anonymising(conn: sqlite3.Connection) -> Iterator[None]:
    """Events may be changed in here. An exception ends the job, whose savepoint takes the mark back."""
    conn.execute("INSERT INTO meta(key, value) VALUES('anonymising', '1')")
    yield
    conn.execute("DELETE FROM meta WHERE key='anonymising'")


def minimise(conn: sqlite3.Connection, audit: AuditSink, at: str, call_id: str) -> None:
    """Reduce the evidence of a call that has ended to the minimal record; audit `evidence.minimised`. Of a call that
    goes on nothing: its end does it. Repeats do nothing."""
    ended = conn.execute("SELECT 1 FROM call WHERE call_id=? AND state='ended'", (call_id,)).fetchone()
    if ended is None:
        return
    changed = []
    for seq, at_wall, at_mono, text in conn.execute(
        "SELECT seq, at_wall, at_mono, evidence FROM consent_event WHERE call_id=?", (call_id,)
    ):
        left = text_json(minimal(decode_json(text)))
        minute = to_the_minute(at_wall)
        if (left, minute, 0) != (text, at_wall, at_mono):
            changed.append((left, minute, seq))
    if not changed:
        return
    with anonymising(conn):
        conn.executemany("UPDATE consent_event SET evidence=?, at_wall=?, at_mono=0 WHERE seq=?", changed)
    for left, _, seq in changed:
        _report_less(conn, call_id, seq, left)
    _cut(conn, "permit", ("granted_at", "revoked_at"), "call_id=?", call_id)
    _cut(conn, "pause", ("began_at", "until_at", "ended_at"), "call_id=?", call_id)
    _cut(conn, "leg", ("joined_at", "left_at"), "party_id IN (SELECT party_id FROM party WHERE call_id=?)", call_id)
    conn.execute("UPDATE call SET evidence='minimal' WHERE call_id=?", (call_id,))
    audit.append(conn, at, "evidence.minimised", subject=call_id, call_id=call_id, body={"events": len(changed)})


def forget_corrections(conn: sqlite3.Connection, call_id: str) -> None:
    """A number that was wrong is a number, too, and its hash is searched in an hour; reasons name people."""
    conn.execute("DELETE FROM rectification WHERE call_id=? AND field='number'", (call_id,))
    conn.execute("UPDATE rectification SET reason='' WHERE call_id=?", (call_id,))


def expire(conn: sqlite3.Connection, call_id: str) -> int:
    """Remove the evidence of a call, whose row stays; returns how many events it had. What a permit stands on stays as
    its word and its minute."""
    told = has_numbers(conn, call_id)
    count: int = conn.execute("SELECT count(*) FROM consent_event WHERE call_id=?", (call_id,)).fetchone()[0]
    parties = "party_id IN (SELECT party_id FROM party WHERE call_id=?)"
    recordings = "recording_id IN (SELECT recording_id FROM recording WHERE call_id=?)"
    conn.execute(f"DELETE FROM due_erasure WHERE {recordings}", (call_id,))  # noqa: S608 - our own words
    with anonymising(conn):
        conn.execute(
            "DELETE FROM consent_event WHERE call_id=? AND seq NOT IN (SELECT event_seq FROM permit WHERE call_id=?)",
            (call_id, call_id),
        )
        conn.execute(
            f"UPDATE consent_event SET evidence='{{}}', at_wall={_MINUTE.format('at_wall')}, at_mono=0"  # noqa: S608
            " WHERE call_id=?",
            (call_id,),
        )
    _cut(conn, "permit", ("granted_at", "revoked_at"), "call_id=?", call_id)
    forget_corrections(conn, call_id)
    conn.execute(f"DELETE FROM leg WHERE {parties}", (call_id,))  # noqa: S608 - our own words
    conn.execute("DELETE FROM pause WHERE call_id=?", (call_id,))
    conn.execute("DELETE FROM notice WHERE call_id=?", (call_id,))
    conn.execute("UPDATE party SET number_heard=NULL, number_e164=NULL, number_hmac=NULL WHERE call_id=?", (call_id,))
    conn.execute("UPDATE recording SET channel_name='' WHERE call_id=?", (call_id,))
    conn.execute("UPDATE call SET channel_name='', evidence='expired' WHERE call_id=?", (call_id,))
    _report_less(conn, call_id, None, "{}")
    if told:
        report_numbers(conn, call_id)
    return count


def _report_less(conn: sqlite3.Connection, call_id: str, seq: int | None, evidence: str) -> None:
    """What was not sent yet says no more than what is stored: of one event, or of all."""
    at = "json_extract(body, '$.at')"
    conn.execute(
        f"UPDATE outbox SET body=json_set(body, '$.evidence', json(?), '$.at', {_MINUTE.format(at)})"  # noqa: S608
        " WHERE subject=? AND type='consent.recorded' AND (? IS NULL OR json_extract(body, '$.event_seq')=?)",
        (evidence, call_id, seq, seq),
    )


def _cut(conn: sqlite3.Connection, table: str, columns: tuple[str, ...], where: str, *args: Any) -> None:
    sets = ", ".join(f"{one}={_MINUTE.format(one)}" for one in columns)  # of null: null
    conn.execute(f"UPDATE {table} SET {sets} WHERE {where}", args)  # noqa: S608 - our own words
