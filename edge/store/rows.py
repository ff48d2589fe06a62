"""Rows that several books write, each inside the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from edge.model.entities import ConsentEvent
from edge.ports import AuditSink
from edge.store.base import emit, text_json
from edge.store.minimal import anonymising, forget_corrections, minimise
from edge.store.notices import drop_notices
from edge.store.numbers import has_numbers, report_numbers

#: Where evidence has numbers (docs/spec/evidence.md). No event of evidence carries them; `edge.store.numbers` is the one way.
_NUMBERS: Final = ("number_heard", "number_e164")
#: Where it has who took an answer back: a device, a user, a key's owner. No event to central carries that either.
_ACTOR: Final = "actor"


def forget_numbers(conn: sqlite3.Connection, call_id: str, *, agents: bool, told: bool = True) -> None:
    """Take the numbers of a call's parties out of their rows, out of the evidence and out of corrections; `agents`: theirs
    too. Central hears of it, unless it cannot have been `told` a number yet."""
    forget_corrections(conn, call_id)
    told = told and has_numbers(conn, call_id)
    conn.execute(
        "UPDATE party SET number_heard=NULL, number_e164=NULL WHERE call_id=? AND (? OR role<>'agent')",
        (call_id, agents),
    )
    if told:
        report_numbers(conn, call_id)
    found = conn.execute(
        "SELECT seq FROM consent_event WHERE call_id=? AND (json_type(evidence, '$.party.number_heard') IS NOT NULL"
        " OR json_type(evidence, '$.party.number_e164') IS NOT NULL)",
        (call_id,),
    ).fetchall()
    if not found:
        return
    with anonymising(conn):
        conn.executemany(
            "UPDATE consent_event SET evidence=json_remove(evidence, '$.party.number_heard', '$.party.number_e164')"
            " WHERE seq=?",
            found,
        )


def forget_people(
    conn: sqlite3.Connection, audit: AuditSink, at: str, call_id: str, hmacs: Mapping[str, str] | None = None
) -> None:
    """Take everybody out of the rows of a call whose recordings are all erased, or had no audio; else nothing. Part of
    an erasure, and of the end of a call that went on behind one. What proves the answer stays as the minimal record;
    `hmacs`: party_id to what stays of a number."""
    erased, kept = conn.execute(
        "SELECT ifnull(sum(state='erased'), 0), ifnull(sum(state NOT IN ('erased','no_audio')), 0) FROM recording"
        " WHERE call_id=?",
        (call_id,),
    ).fetchone()
    if erased and not kept:
        take_people_out(conn, audit, at, call_id, hmacs)


def take_people_out(
    conn: sqlite3.Connection, audit: AuditSink, at: str, call_id: str, hmacs: Mapping[str, str] | None = None
) -> None:
    """Everybody out of the rows of a call, whatever is left of it: numbers, names of channels, who acted. The evidence
    becomes the minimal record; `hmacs`: party_id to what stays of a number."""
    conn.executemany(
        "UPDATE party SET number_hmac=? WHERE party_id=? AND call_id=?",
        [(digest, party_id, call_id) for party_id, digest in (hmacs or {}).items()],
    )
    forget_numbers(conn, call_id, agents=True)
    conn.execute("UPDATE call SET channel_name='' WHERE call_id=?", (call_id,))
    conn.execute("UPDATE recording SET channel_name='' WHERE call_id=?", (call_id,))
    # Who acted on the recording: devices and agents are persons too. What kind of party it was stays.
    conn.execute("UPDATE pause SET actor_name='' WHERE call_id=? AND actor_kind<>'system'", (call_id,))
    conn.execute("UPDATE pause SET ended_name='' WHERE call_id=? AND ended_kind<>'system'", (call_id,))
    drop_notices(conn, call_id, "erased")
    conn.execute(
        "UPDATE leg SET channel_name='' WHERE party_id IN (SELECT party_id FROM party WHERE call_id=?)", (call_id,)
    )
    minimise(conn, audit, at, call_id)


def insert_leg(conn: sqlite3.Connection, party_id: str, channel_uid: str, channel_name: str, at: str) -> None:
    """One more channel of a party; one that it has already only becomes present again."""
    conn.execute(
        "INSERT INTO leg(party_id, channel_uid, channel_name, joined_at) VALUES(?, ?, ?, ?)"
        " ON CONFLICT(party_id, channel_uid) DO UPDATE SET left_at=NULL",
        (party_id, channel_uid, channel_name, at),
    )


def insert_event(conn: sqlite3.Connection, call_id: str, event: ConsentEvent) -> int:
    """The event's row; returns its seq."""
    cursor = conn.execute(
        "INSERT INTO consent_event(call_id, party_id, kind, at_wall, at_mono, evidence) VALUES(?, ?, ?, ?, ?, ?)",
        (call_id, event.party_id, event.kind, event.at_wall, event.at_mono_ns, text_json(event.evidence)),
    )
    assert cursor.lastrowid is not None  # an INSERT that did not raise has a row
    return cursor.lastrowid


def report_event(
    conn: sqlite3.Connection, call_id: str, seq: int, event: ConsentEvent, state: str, outcome: str | None
) -> None:
    """Outbox `consent.recorded`, without the numbers and names in the evidence."""
    evidence = {name: value for name, value in event.evidence.items() if name != _ACTOR}
    if isinstance(party := evidence.get("party"), Mapping):
        evidence["party"] = {name: value for name, value in party.items() if name not in _NUMBERS}
    body = {
        "call_id": call_id, "event_seq": seq, "kind": event.kind, "at": event.at_wall, "party_id": event.party_id,
        "evidence": evidence, "state": state, "outcome": outcome,
    }  # fmt: skip
    emit(conn, "consent.recorded", call_id, body)


def file_event(
    conn: sqlite3.Connection, audit: AuditSink, at: str, call_id: str, event: ConsentEvent, state: str,
    outcome: str | None,
) -> int:  # fmt: skip
    """The event's row, audit `consent.<kind>` and outbox `consent.recorded`; returns its seq."""
    seq = insert_event(conn, call_id, event)
    facts = {"event": seq, "state": state, "outcome": outcome}
    audit.append(conn, at, f"consent.{event.kind}", subject=call_id, call_id=call_id, body=facts)
    report_event(conn, call_id, seq, event, state, outcome)
    return seq
