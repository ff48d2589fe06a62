"""Who sends what when, in the database, so that any number of processes may send.

Write order `hook`: the row (in the transaction of what it tells), the lease, the POST, the outcome. A kill between the POST and
the outcome lets the lease run out; then the same message goes again under the same `webhook-id`. A sender begins no attempt that
could last longer than its lease, so a message has one sender at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.conn import Conn, Row
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
#: Rows that one transaction changes at most where there may be hundreds of thousands; who calls repeats it.
MANY: Final = 1000
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


def due(names: Sequence[str], now: str, conn: Conn) -> list[str]:
    """Job: which of these receivers have something to send and are not paused."""
    rows = {row["name"]: row for row in conn.execute("SELECT name, disabled, paused FROM hook")}
    return [name for name in names if _ready(conn, name, rows.get(name), now, 1)]


def _ready(conn: Conn, name: str, hook: Row | None, at: str, most: int) -> list[Row]:
    """What may be sent now, tests and the oldest first; only tests to one that is disabled. hook: its row."""
    if hook is not None and hook["paused"] > at:
        return []
    wanted = (
        "SELECT seq, message_id, hook, type, body, attempts, give_up FROM hook_message WHERE hook=? AND state='waiting'"
        " AND due_at<=? AND lease<=? AND "
    )
    end = " ORDER BY due_at, seq LIMIT ?"  # each as its index has it: the first `most` are read and no more
    rows = conn.execute(wanted + "type='webhook.test'" + end, (name, at, at, most)).fetchall()
    if len(rows) == most or (hook is not None and hook["disabled"]):
        return rows
    return rows + conn.execute(wanted + "type<>'webhook.test'" + end, (name, at, at, most - len(rows))).fetchall()


def claim(name: str, owner: str, now: datetime, lease: timedelta, most: int, conn: Conn) -> list[Message]:
    """Job: take what is due of one receiver, tests and the oldest first; only one message while it fails (its probe)."""
    conn.exclusive(f"hook:{name}")
    at = format_time(now)
    row = conn.execute("SELECT disabled, failures, paused FROM hook WHERE name=?", (name,)).fetchone()
    failing = row is not None and row["failures"] > 0
    leased = "SELECT 1 FROM hook_message WHERE hook=? AND lease<>'' AND lease>? LIMIT 1"
    if failing and conn.execute(leased, (name, at)).fetchone():
        return []  # another process probes
    rows = _ready(conn, name, row, at, 1 if failing else most)
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
    """Job: send it nothing more; what waits becomes dead letters, the first of them now, the others by `bury`; so does what
    comes."""
    conn.execute(
        "INSERT INTO hook(name, disabled, failures, failing_since, paused, alarmed, last_sent) VALUES (?,?,0,NULL,'',1,NULL)"
        " ON CONFLICT(name) DO UPDATE SET disabled=excluded.disabled, failures=0, paused='', alarmed=1",
        (name, why),
    )
    _bury_disabled(conn, name, central.now())
    central.alarm(conn, "", "webhook.disabled", f"{name} answered 410: nothing more is sent; replay it when it is back")


def _bury_disabled(conn: Conn, name: str, now: str) -> int:
    rows = conn.execute(
        "SELECT seq FROM hook_message WHERE hook=? AND state='waiting' AND type<>'webhook.test' ORDER BY due_at, seq LIMIT ?",
        (name, MANY),
    ).fetchall()
    conn.executemany(
        "UPDATE hook_message SET state='dead', why='disabled', done_at=?, lease='', owner='' WHERE seq=? AND state='waiting'",
        [(now, row["seq"]) for row in rows],
    )
    return len(rows)


def bury(central: Central, conn: Conn) -> int:
    """Job: what nobody could send in its time is a dead letter, and an alarm for each receiver unless it is alarmed already (it
    is not configured any more, or no attempt came to an end); what still waits for a disabled one too. How many: fewer than
    `MANY` means all."""
    conn.exclusive("hooks")
    now, count = central.now(), 0
    for row in conn.execute("SELECT name FROM hook WHERE disabled<>'' ORDER BY name").fetchall():
        name = row["name"]
        conn.exclusive(f"hook:{name}")  # a replay may have enabled it meanwhile
        if conn.execute("SELECT 1 FROM hook WHERE name=? AND disabled<>''", (name,)).fetchone():
            count += _bury_disabled(conn, name, now)
    rows = conn.execute(
        "SELECT seq, hook FROM hook_message WHERE state='waiting' AND give_up<=? AND lease<=? ORDER BY give_up LIMIT ?",
        (now, now, MANY),
    ).fetchall()
    conn.executemany(
        "UPDATE hook_message SET state='dead', why=CASE why WHEN '' THEN 'not_sent' ELSE why END, done_at=?"
        " WHERE seq=? AND state='waiting' AND lease<=?",
        [(now, row["seq"], now) for row in rows],
    )
    for name in sorted({row["hook"] for row in rows}):
        said = conn.execute(
            "INSERT INTO hook(name, disabled, failures, failing_since, paused, alarmed, last_sent) VALUES (?,'',0,?,'',1,NULL)"
            " ON CONFLICT(name) DO UPDATE SET alarmed=1 WHERE hook.alarmed=0",
            (name, now),
        )
        if said.rowcount:
            central.alarm(conn, "", "webhook.dead_letter", f"{name}: what waited for it was not sent in its time")
    return count + len(rows)


def enable(conn: Conn, name: str) -> int:
    """Job: send a receiver again what comes; how many dead letters it has."""
    conn.exclusive(f"hook:{name}")
    conn.execute(
        "UPDATE hook SET disabled='', failures=0, failing_since=NULL, paused='', alarmed=0 WHERE name=?", (name,)
    )
    found = conn.execute("SELECT count(*) FROM hook_message WHERE hook=? AND state='dead'", (name,)).fetchone()
    return int(found[0])


_AGAIN: Final = (
    "UPDATE hook_message SET state='waiting', attempts=0, why='', done_at=NULL, due_at=?, give_up=?, lease='', owner=''"
    " WHERE state<>'waiting' AND "
)


def replay_one(conn: Conn, name: str, message_id: str, now: str, give_up: str) -> bool:
    """Job: put a message that is dead or sent into the queue again; False where there is none."""
    return bool(conn.execute(_AGAIN + "hook=? AND message_id=?", (now, give_up, name, message_id)).rowcount)


def replay(name: str, now: str, give_up: str, after: int, conn: Conn) -> tuple[int, int]:
    """Job: put dead letters whose number is above `after` into the queue again, the oldest `MANY`: how many, and the last one's
    number. One that dies anew meanwhile is not met again."""
    conn.exclusive(f"hook:{name}")
    rows = conn.execute(
        "SELECT seq FROM hook_message WHERE hook=? AND state='dead' AND seq>? ORDER BY seq LIMIT ?", (name, after, MANY)
    ).fetchall()
    conn.executemany(_AGAIN + "seq=?", [(now, give_up, row["seq"]) for row in rows])
    return len(rows), rows[-1]["seq"] if rows else after


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
