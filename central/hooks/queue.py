"""Who sends what when, in the database, so that any number of processes may send.

Write order `hook`: the row (in the transaction of what it tells), the lease, the POST, the outcome. A kill between the POST and
the outcome lets the lease run out; then the same message goes again under the same `webhook-id`. A sender begins no attempt that
could last longer than its lease, so a message has one sender at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.conn import Conn
from central.hooks.signing import Answer, backoff
from formats.ids import format_time

if TYPE_CHECKING:
    from central.state import Central

#: How long a sender has its messages alone.
LEASE: Final = timedelta(minutes=2)
#: A mail server's time-outs are per answer, and a letter takes a dozen of them.
MAIL_LEASE: Final = timedelta(minutes=10)
#: Messages of one claim.
BATCH: Final = 64
#: A receiver that failed for so long is alarmed, once until it takes something again.
ALARM_AFTER: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Message:
    """A claimed message. attempts: those before this one."""

    seq: int
    message_id: str
    hook: str
    kind: str
    body: str
    attempts: int
    give_up: str


def due(conn: Conn, now: str) -> list[str]:
    """Job: receivers with something to send that are not paused."""
    rows = conn.execute(
        "SELECT DISTINCT m.hook FROM hook_message m LEFT JOIN hook h ON h.name=m.hook WHERE m.state='waiting'"
        " AND m.due_at<=? AND m.lease<=? AND coalesce(h.paused, '')<=?",
        (now, now, now),
    )
    return [row[0] for row in rows]


def claim(name: str, owner: str, now: datetime, lease: timedelta, most: int, conn: Conn) -> list[Message]:
    """Job: take what is due of one receiver, tests and the oldest first; only one message while it fails (its probe)."""
    conn.exclusive(f"hook:{name}")
    at = format_time(now)
    row = conn.execute("SELECT failures, paused FROM hook WHERE name=?", (name,)).fetchone()
    if row is not None and row["paused"] > at:
        return []
    failing = row is not None and row["failures"] > 0
    if (
        failing
        and conn.execute(
            "SELECT 1 FROM hook_message WHERE hook=? AND state='waiting' AND lease>? LIMIT 1", (name, at)
        ).fetchone()
    ):
        return []  # another process probes
    rows = conn.execute(
        "SELECT seq, message_id, hook, type, body, attempts, give_up FROM hook_message WHERE hook=? AND state='waiting'"
        " AND due_at<=? AND lease<=? ORDER BY CASE type WHEN 'webhook.test' THEN 0 ELSE 1 END, due_at, seq LIMIT ?",
        (name, at, at, 1 if failing else most),
    ).fetchall()
    until = format_time(now + lease)
    conn.executemany(
        "UPDATE hook_message SET lease=?, owner=? WHERE seq=?", [(until, owner, row["seq"]) for row in rows]
    )
    return [Message(*row) for row in rows]


def release(owner: str, seqs: list[int], conn: Conn) -> None:
    """Job: give back what was claimed and not tried."""
    conn.executemany(
        "UPDATE hook_message SET lease='', owner='' WHERE seq=? AND owner=?", [(seq, owner) for seq in seqs]
    )


def finish(central: Central, conn: Conn, owner: str, message: Message, answer: Answer, uniform: float) -> bool:
    """Job: what an attempt came to. False when the lease was lost meanwhile: then the row is somebody else's."""
    conn.exclusive(f"hook:{message.hook}")
    mine = "UPDATE hook_message SET lease='', owner='', attempts=attempts+1, why=?"
    now = central.wall()
    at, key = format_time(now), (message.seq, owner)
    if answer.what == "sent":
        done = conn.execute(mine + ", state='sent', done_at=? WHERE seq=? AND owner=?", ("", at, *key)).rowcount
        _took(conn, message.hook, at)
        return bool(done)
    wait = max(backoff(message.attempts + 1, uniform), answer.wait or timedelta())
    over = answer.what == "gone" or format_time(now + wait) >= message.give_up
    if over:
        done = conn.execute(mine + ", state='dead', done_at=? WHERE seq=? AND owner=?", (answer.why, at, *key)).rowcount
    else:
        due_at = format_time(now + wait)
        done = conn.execute(mine + ", due_at=? WHERE seq=? AND owner=?", (answer.why, due_at, *key)).rowcount
    if answer.what == "gone":
        disable(central, conn, message.hook, answer.why)
    else:
        _failed(central, conn, message.hook, answer, uniform, now, over=over)
    return bool(done)


def _took(conn: Conn, name: str, at: str) -> None:
    conn.execute(
        "INSERT INTO hook(name, disabled, failures, failing_since, paused, alarmed, last_sent) VALUES (?,'',0,NULL,'',0,?)"
        " ON CONFLICT(name) DO UPDATE SET failures=0, failing_since=NULL, paused='', alarmed=0, last_sent=excluded.last_sent",
        (name, at),
    )


def _failed(
    central: Central, conn: Conn, name: str, answer: Answer, uniform: float, now: datetime, *, over: bool
) -> None:
    at = format_time(now)
    conn.execute(
        "INSERT INTO hook(name, disabled, failures, failing_since, paused, alarmed, last_sent) VALUES (?,'',0,?,'',0,NULL)"
        " ON CONFLICT(name) DO UPDATE SET failing_since=coalesce(hook.failing_since, excluded.failing_since)",
        (name, at),
    )
    row = conn.execute("SELECT failures, failing_since, paused, alarmed FROM hook WHERE name=?", (name,)).fetchone()
    if answer.whole:
        pause = max(backoff(row["failures"] + 1, uniform), answer.wait or timedelta())
        until = format_time(now + pause)
        if row["paused"] <= at:
            conn.execute("UPDATE hook SET failures=failures+1, paused=? WHERE name=?", (until, name))
        elif row["paused"] < until and answer.wait:  # of several that failed together, one counts
            conn.execute("UPDATE hook SET paused=? WHERE name=?", (until, name))
    if row["alarmed"] == 0 and (over or row["failing_since"] <= format_time(now - ALARM_AFTER)):
        conn.execute("UPDATE hook SET alarmed=1 WHERE name=?", (name,))
        code = "webhook.dead_letter" if over else "webhook.failing"
        central.alarm(conn, "", code, f"{name} takes nothing since {row['failing_since']}: {answer.why}")


def disable(central: Central, conn: Conn, name: str, why: str) -> None:
    """Job: send it nothing more; what waits becomes dead letters, so does what comes."""
    conn.execute(
        "INSERT INTO hook(name, disabled, failures, failing_since, paused, alarmed, last_sent) VALUES (?,?,0,NULL,'',1,NULL)"
        " ON CONFLICT(name) DO UPDATE SET disabled=excluded.disabled, failures=0, paused='', alarmed=1",
        (name, why),
    )
    conn.execute(
        "UPDATE hook_message SET state='dead', why='disabled', done_at=?, lease='', owner='' WHERE hook=? AND state='waiting'",
        (central.now(), name),
    )
    central.alarm(conn, "", "webhook.disabled", f"{name} answered 410: nothing more is sent; replay it when it is back")


def bury(conn: Conn, now: str) -> None:
    """Job: what nobody could send in its time (a receiver that is not configured any more) is a dead letter."""
    conn.execute(
        "UPDATE hook_message SET state='dead', why=CASE why WHEN '' THEN 'not_sent' ELSE why END, done_at=?"
        " WHERE state='waiting' AND give_up<=? AND lease<=?",
        (now, now, now),
    )


def replay(conn: Conn, name: str, message_id: str | None, now: str, give_up: str) -> int:
    """Job: enable a receiver and put its dead letters (or the one, dead or sent) into the queue again; how many."""
    conn.exclusive(f"hook:{name}")
    conn.execute(
        "UPDATE hook SET disabled='', failures=0, failing_since=NULL, paused='', alarmed=0 WHERE name=?", (name,)
    )
    again = (
        "UPDATE hook_message SET state='waiting', attempts=0, why='', done_at=NULL, due_at=?, give_up=?, lease='', owner=''"
        " WHERE hook=? AND "
    )
    if message_id is None:
        return conn.execute(again + "state='dead'", (now, give_up, name)).rowcount
    return conn.execute(again + "state<>'waiting' AND message_id=?", (now, give_up, name, message_id)).rowcount


def counts(conn: Conn, name: str) -> dict[str, Any]:
    """Job: a receiver's state and how many messages are in which state."""
    row = conn.execute(
        "SELECT disabled, failures, failing_since, paused, last_sent FROM hook WHERE name=?", (name,)
    ).fetchone()
    found = conn.execute("SELECT state, count(*) FROM hook_message WHERE hook=? GROUP BY state", (name,)).fetchall()
    many = {state: int(count) for state, count in found}
    state = "disabled" if row and row["disabled"] else "failing" if row and row["failing_since"] else "active"
    return {
        "state": state,
        "failing_since": row["failing_since"] if row else None,
        "paused_until": (row["paused"] or None) if row else None,
        "last_sent": row["last_sent"] if row else None,
        **{name: many.get(name, 0) for name in ("waiting", "sent", "dead")},
    }
