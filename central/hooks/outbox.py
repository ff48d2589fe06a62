"""What is to be told, written in the transaction of what it tells: nothing is lost, and nothing told that did not happen."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from central.conn import Conn
from central.hooks.signing import GIVE_UP
from formats import canonical
from formats.ids import format_time, parse_time

if TYPE_CHECKING:
    from central.state import Central


def tell(central: Central, conn: Conn, kind: str, key: str, data: dict[str, Any]) -> None:
    """Job: one message of type `kind` for each receiver that wants it. key: names the occurrence within its type, so that it is
    told once however often its cause is repeated. data: ids and words of ours, no number, no name, no free text."""
    names = central.config.outgoing.wanted(kind)
    if not names:
        return
    now = central.now()
    body = canonical.dumps({"type": kind, "timestamp": now, "data": data}).decode()
    for name in names:
        put(central, conn, name, message_id(name, kind, key), kind, body, now)


def put(central: Central, conn: Conn, name: str, number: str, kind: str, body: str, now: str) -> None:
    """Job: the row of one message. A receiver that is disabled gets dead letters, to be replayed when it is back."""
    row = conn.execute("SELECT disabled FROM hook WHERE name=?", (name,)).fetchone()
    disabled = row is not None and row["disabled"] != "" and kind != TEST
    conn.execute(
        "INSERT INTO hook_message(message_id, hook, type, body, state, made_at, due_at, give_up, lease, owner, attempts, why,"
        " done_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(message_id) DO NOTHING",
        (
            number, name, kind, body, "dead" if disabled else "waiting", now, now,
            format_time(central.wall() + GIVE_UP), "", "", 0, "disabled" if disabled else "", now if disabled else None,
        ),
    )  # fmt: skip


#: A message that only tries the way.
TEST = "webhook.test"


def message_id(name: str, kind: str, key: str) -> str:
    """`webhook-id`: 32 hex digits, the same at every attempt, another for each receiver."""
    return hashlib.sha256(f"{name}\0{kind}\0{key}".encode()).hexdigest()[:32]


def told(conn: Conn, now: str, keep: timedelta, most: int) -> int:
    """Job: remove what was sent before `keep` ago, and dead letters three times as old, at most so many rows of each; how
    many: fewer than `most` means all."""
    conn.exclusive("hooks")
    at, count = parse_time(now), 0
    for state, before in (("sent", at - keep), ("dead", at - 3 * keep)):
        rows = conn.execute(
            "SELECT seq FROM hook_message WHERE state=? AND done_at<? ORDER BY done_at LIMIT ?",
            (state, format_time(before), most),
        ).fetchall()
        conn.executemany("DELETE FROM hook_message WHERE seq=? AND state=?", [(row["seq"], state) for row in rows])
        count += len(rows)
    return count
