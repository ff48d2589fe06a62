"""Outbox `call.numbers`: that central is to be told which numbers a call has now, as far as its policy lets numbers travel.

The row holds no number. What travels is read when it is sent (`edge.sync.numbers`): a number that is gone by then is never
sent, and one that central was told before it forgets. So no copy of a number waits anywhere, and the last word is always what is
stored here.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from edge.store.base import emit
from formats.search import EVENT, FORMS

#: A number of an outside party in E.164; nothing else is told.
_NUMBER: Final = "call_id=? AND role<>'agent' AND number_e164 IS NOT NULL"


def has_numbers(conn: sqlite3.Connection, call_id: str) -> bool:
    """Whether the call has a number that could be told."""
    query = f"SELECT 1 FROM party WHERE {_NUMBER} LIMIT 1"  # noqa: S608 - our own words
    return conn.execute(query, (call_id,)).fetchone() is not None


def report_numbers(conn: sqlite3.Connection, call_id: str, *, moved: bool = False) -> None:
    """Part of what changes the numbers of a call that is over: of one that goes on nothing is told. `moved`: the call came
    under another policy, so what its old one told may have to go."""
    row = conn.execute(
        "SELECT json_extract(d.document, '$.central.number'), c.policy_id, c.started_at FROM call c"
        " JOIN policy d ON d.policy_id=c.policy_id AND d.version=c.policy_version WHERE c.call_id=? AND c.state='ended'",
        (call_id,),
    ).fetchone()
    if row is not None and (row[0] in FORMS or moved):
        body = {"call_id": call_id, "form": row[0] or "none", "policy_id": row[1], "started_at": row[2]}
        emit(conn, EVENT, call_id, body)


def report_held_numbers(conn: sqlite3.Connection, call_id: str) -> None:
    """As `report_numbers`, of a call of which central knows none yet: nothing where there is none."""
    if has_numbers(conn, call_id):
        report_numbers(conn, call_id)
