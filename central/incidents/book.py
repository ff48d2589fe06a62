"""Incidents as rows: alarms open or join them, people take them on. Every job is part of the caller's transaction."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

from central.conn import Conn, Row
from central.errors import CentralError
from central.hooks.outbox import tell
from central.incidents import clock, kinds
from formats import canonical
from formats.errors import FormatError
from formats.ids import format_time, is_id, parse_time

if TYPE_CHECKING:
    from central.state import Central

#: Of an incident's alarms so many are shown from the beginning, and so many from the end.
ALARMS = 100
#: Of one entry so much is kept: a person's 4000 characters and what is put before them.
_LONGEST = 4200

#: What people add to a notification, by member (Art. 33(3)).
FACTS = ("nature", "categories", "subjects", "records", "consequences", "measures", "contact")


def heard(central: Central, conn: Conn, edge_id: str, code: str, message: str, subject: str = "") -> None:
    """Job: an alarm was filed. It opens an incident, joins the one of its cause that nobody has judged yet, or is none: what
    comes after a verdict was not part of it. subject: the recording or call it names, "" where it names none; anything else
    is left out."""
    cause = kinds.CAUSES.get(code)
    if cause is None:
        return
    conn.exclusive("log")  # an alarm is an entry of the log anyway; two that come at once are one incident
    now = central.now()
    since = format_time(central.wall() - clock.EPISODE)
    row = conn.execute(
        "SELECT incident_id, severity, clock FROM incident WHERE edge_id=? AND kind=? AND state IN ('open','acknowledged')"
        " AND last_at>=? ORDER BY seq DESC LIMIT 1",
        (edge_id, cause.kind, since),
    ).fetchone()
    if row is None:
        made = _open(central, conn, edge_id, cause.kind, cause.severity, runs=cause.clock, at=now)
        _entry(conn, made, now, "", "alarm", f"{code}: {message}", subject)
        return
    incident_id, severity = row["incident_id"], kinds.worse(row["severity"], cause.severity)
    # A clock that begins now counts from now, not from when the incident had none.
    begins = cause.clock and not row["clock"]
    conn.execute(
        "UPDATE incident SET last_at=?, alarms=alarms+1, severity=?, clock=? WHERE incident_id=?",
        (now, severity, int(bool(row["clock"] or cause.clock)), incident_id),
    )
    if begins:
        conn.execute("UPDATE incident SET aware_at=? WHERE incident_id=?", (now, incident_id))
    _entry(conn, incident_id, now, "", "alarm", f"{code}: {message}", subject)
    if begins or severity != row["severity"]:
        _tell(central, conn, incident_id, "incident.changed")


def open_by_hand(central: Central, conn: Conn, who: str, kind: str, edge_id: str, text: str, aware: str | None) -> str:
    """Job: a person saw something. Its id. Raises CentralError usage.incident."""
    if kind not in kinds.KINDS:
        raise CentralError("usage.incident", f"no such kind: {kind[:40]}", where="kind", hint=", ".join(kinds.KINDS))
    if edge_id and conn.execute("SELECT 1 FROM edge WHERE edge_id=?", (edge_id,)).fetchone() is None:
        raise CentralError("not_found.edge", "no such edge is enrolled", status=404, where=edge_id[:64])
    severity, runs = kinds.BY_HAND[kind]
    made = _open(central, conn, edge_id, kind, severity, runs=runs, at=central.now(), aware=_aware(central, aware))
    _entry(conn, made, central.now(), who, "open", text, "")
    return made


def _open(
    central: Central,
    conn: Conn,
    edge_id: str,
    kind: str,
    severity: str,
    *,
    runs: bool,
    at: str,
    aware: str | None = None,
) -> str:
    made = secrets.token_hex(16)
    conn.execute(
        "INSERT INTO incident(incident_id, kind, severity, edge_id, state, clock, opened_at, last_at, aware_at, alarms,"
        " notifiable, reason, facts, warned, notified_at, closed_at) VALUES (?,?,?,?,'open',?,?,?,?,1,NULL,'','{}',0,NULL,NULL)",
        (made, kind, severity, edge_id, int(runs), at, at, aware or at),
    )
    central.log.append(conn, at, "incident.opened", {"incident_id": made, "kind": kind, "edge_id": edge_id})
    _tell(central, conn, made, "incident.opened")
    return made


def note(central: Central, conn: Conn, incident_id: str, who: str, text: str) -> None:
    """Job: somebody writes something down. Raises CentralError not_found.incident."""
    row_of(conn, incident_id)
    _entry(conn, incident_id, central.now(), who, "note", text, "")
    central.log.append(conn, central.now(), "incident.note", {"incident_id": incident_id, "by": who})


def step(
    central: Central, conn: Conn, incident_id: str, who: str, name: str, text: str, *, notifiable: bool | None = None,
    aware: str | None = None, facts: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Job: take a step of `clock.STEPS`. text: why. Raises CentralError not_found.incident, incident.step (409), usage.time."""
    conn.exclusive("log")
    row = row_of(conn, incident_id)
    had = None if row["notifiable"] is None else bool(row["notifiable"])
    if why := clock.may(name, state=row["state"], clock=bool(row["clock"]), notifiable=had):
        raise CentralError("incident.step", why, status=409, where=incident_id)
    now, state = central.now(), clock.STEPS[name][1]
    conn.execute("UPDATE incident SET state=? WHERE incident_id=?", (state, incident_id))
    said = text
    body: dict[str, Any] = {"incident_id": incident_id, "by": who}
    if name == "assess":
        said = f"{'notifiable' if notifiable else 'not notifiable'}: {text}"
        body["notifiable"] = bool(notifiable)
        kept = {**canonical_facts(row["facts"]), **(facts or {})}
        aware_at = _aware(central, aware) or row["aware_at"]
        if aware_at != row["aware_at"]:  # moves the end of the 72 hours, so it is said from where
            said = f"aware since {aware_at} instead of {row['aware_at']}; {said}"
            body |= {"aware_at": aware_at, "aware_before": row["aware_at"]}
        conn.execute(
            "UPDATE incident SET notifiable=?, reason=?, facts=?, clock=?, aware_at=?, warned=CASE WHEN aware_at=? THEN warned"
            " ELSE 0 END WHERE incident_id=?",
            (
                int(bool(notifiable)), text, canonical.dumps(kept).decode(), int(bool(row["clock"]) or bool(notifiable)),
                aware_at, aware_at, incident_id,
            ),
        )  # fmt: skip
    elif name in ("notified", "close"):
        column = "notified_at" if name == "notified" else "closed_at"
        conn.execute(f"UPDATE incident SET {column}=? WHERE incident_id=?", (now, incident_id))  # noqa: S608
    _entry(conn, incident_id, now, who, name, said, "")
    central.log.append(conn, now, f"incident.{name}", body)
    _tell(central, conn, incident_id, "incident.changed")


def warn(central: Central, conn: Conn) -> int:
    """Job: alarm each clock at 24 hours left, and when it is over; how many. Each once, whichever process looks."""
    now, count = central.wall(), 0
    rows = conn.execute(
        "SELECT * FROM incident WHERE clock=1 AND warned<2 AND state<>'closed' AND aware_at<=? ORDER BY seq",
        (format_time(now - clock.HOURS + clock.WARNING),),
    ).fetchall()
    for row in rows:
        found = standing_of(row, now).state
        level, word = {"due": (1, "due"), "overdue": (2, "overdue")}.get(found, (0, ""))
        if not level or row["warned"] >= level:
            continue
        changed = conn.execute(
            "UPDATE incident SET warned=? WHERE incident_id=? AND warned<?", (level, row["incident_id"], level)
        )
        if changed.rowcount:
            end = format_time(clock.deadline(parse_time(row["aware_at"])))
            says = "has 24 hours or less" if word == "due" else "is past its 72 hours"
            central.alarm(conn, row["edge_id"], f"incident.{word}", f"incident {row['incident_id']} {says} ({end})")
            _tell(central, conn, row["incident_id"], f"incident.{word}")
            count += 1
    return count


# ------------------------------------------------------------ reading


def row_of(conn: Conn, incident_id: str) -> Row:
    """Raises CentralError not_found.incident (404)."""
    row: Row | None = conn.execute("SELECT * FROM incident WHERE incident_id=?", (incident_id,)).fetchone()
    if row is None:
        raise CentralError("not_found.incident", "there is no such incident", status=404, where=incident_id[:64])
    return row


def standing_of(row: Row, now: datetime) -> clock.Standing:
    """The clock of a row."""
    notifiable = None if row["notifiable"] is None else bool(row["notifiable"])
    return clock.standing(
        clock=bool(row["clock"]),
        state=row["state"],
        notifiable=notifiable,
        aware_at=parse_time(row["aware_at"]),
        now=now,
    )


def answer(row: Row, now: datetime) -> dict[str, Any]:
    """An incident as doors and commands show it."""
    found = standing_of(row, now)
    return {
        "seq": row["seq"],
        "incident_id": row["incident_id"],
        "kind": row["kind"],
        "severity": row["severity"],
        "edge_id": row["edge_id"],
        "state": row["state"],
        "opened_at": row["opened_at"],
        "last_at": row["last_at"],
        "aware_at": row["aware_at"],
        "alarms": row["alarms"],
        "clock": found.state,
        "deadline": None if found.deadline is None else format_time(found.deadline),
        "notifiable": None if row["notifiable"] is None else bool(row["notifiable"]),
        "reason": row["reason"],
        "facts": canonical_facts(row["facts"]),
        "notified_at": row["notified_at"],
        "closed_at": row["closed_at"],
    }


def entries(conn: Conn, incident_id: str) -> tuple[list[dict[str, Any]], int]:
    """Job: what was said of it, oldest first: all that people said, of alarms the first and the last `ALARMS`; and how many
    alarms that leaves out."""
    wanted = "SELECT seq, at, who, step, text, subject FROM incident_entry WHERE incident_id=? AND "
    rows = {row["seq"]: row for row in conn.execute(wanted + "who<>'' ORDER BY seq", (incident_id,))}
    people = len(rows)
    for order in ("", " DESC"):
        several = conn.execute(f"{wanted}who='' ORDER BY seq{order} LIMIT ?", (incident_id, ALARMS))
        rows |= {row["seq"]: row for row in several}
    heard = conn.execute("SELECT count(*) FROM incident_entry WHERE incident_id=? AND who=''", (incident_id,))
    names = ("at", "who", "step", "text", "subject")
    found = [{name: rows[seq][name] for name in names} for seq in sorted(rows)]
    return found, int(heard.fetchone()[0]) - (len(rows) - people)


def canonical_facts(text: str) -> dict[str, str]:
    """The stored facts."""
    found = canonical.loads(text)
    assert isinstance(found, dict)
    return {str(name): str(value) for name, value in found.items()}


# ------------------------------------------------------------ inside


def _entry(conn: Conn, incident_id: str, at: str, who: str, name: str, text: str, subject: str) -> None:
    conn.execute(
        "INSERT INTO incident_entry(incident_id, at, who, step, text, subject) VALUES (?,?,?,?,?,?)",
        (incident_id, at, who, name, text[:_LONGEST], subject if is_id(subject) else ""),
    )


def _tell(central: Central, conn: Conn, incident_id: str, kind: str) -> None:
    row = row_of(conn, incident_id)
    shown = answer(row, central.wall())
    names = (
        "incident_id",
        "kind",
        "severity",
        "edge_id",
        "state",
        "clock",
        "deadline",
        "opened_at",
        "aware_at",
        "notifiable",
    )
    said = conn.execute("SELECT count(*) FROM incident_entry WHERE incident_id=?", (incident_id,)).fetchone()[0]
    # With the time: the same counts come again after a restore.
    key = incident_id if kind == "incident.opened" else f"{incident_id}/{said}/{row['warned']}/{central.now()}"
    tell(central, conn, kind, key, {name: shown[name] for name in names})


def _aware(central: Central, text: str | None) -> str | None:
    """A time given by a person. Raises CentralError usage.time: in the future, or no time."""
    if text is None:
        return None
    try:
        at = parse_time(text)
    except FormatError as error:
        raise CentralError("usage.time", "not a time", where="aware_at", hint="2026-01-31T12:00:00.000Z") from error
    if at > central.wall():
        raise CentralError("usage.time", "nobody was aware in the future", where="aware_at")
    return format_time(at)
