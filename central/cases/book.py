"""Cases in the database. Every function is a job inside the caller's transaction; what changes a case holds its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from secrets import token_hex
from typing import Any, Final

from central.cases import clock, machine, sealed
from central.cases.model import Method, NewCase
from central.cases.settings import CaseSettings
from central.conn import Conn, Row
from central.doors import Asker
from central.errors import CentralError
from central.state import Central
from formats.errors import FormatError
from formats.ids import format_time, parse_time

#: A receipt before that is a slip of the pen.
OLDEST: Final = timedelta(days=3653)
#: What no note replaces.
_HINTS: Final = {
    "search": "callwarden central case search",
    "review": "choose them all",
    "execute": "callwarden central case execute; case package for access and portability",
}


def settings(central: Central) -> CaseSettings:
    """`[central.cases]`."""
    return central.config.cases


def opened(central: Central, conn: Conn, new: NewCase, by: Asker) -> Row:
    """File a request. Raises CentralError usage.time for a receipt that lies ahead."""
    now, wanted = central.now(), settings(central)
    received = _received(new.received_at, now)
    conn.exclusive("cases")
    seq = int(conn.execute("SELECT coalesce(max(seq), 0) + 1 FROM subject_case").fetchone()[0])
    # The letters behind the number: a database that was put back from a backup must not name two people's cases alike.
    ref = f"case-{received[:4]}-{seq}-{token_hex(2)}"
    slot, key = sealed.new_key(central.keeper)
    conn.execute(
        "INSERT INTO subject_case(seq, ref, kind, state, received_at, due_at, opened_at, opened_by, slot, warned)"
        " VALUES (?,?,?,?,?,?,?,?,?,'')",
        (
            seq, ref, new.kind, "received", received,
            clock.due(received, clock.FIRST_MONTHS, wanted.zone, wanted.holidays), now, by.label, slot,
        ),
    )  # fmt: skip
    words = {"numbers": list(new.numbers), "country": new.country, "note": new.note}
    _entry(conn, ref, 0, now, by.label, "open", "received", sealed.seal(key, ref, "0", words))
    central.log.append(conn, now, "case.opened", {"case": ref, "kind": new.kind, "by": by.token_id})
    return found(conn, ref)


def _received(text: str | None, now: str) -> str:
    if text is None:
        return now
    try:
        received = format_time(parse_time(text))
    except FormatError as error:
        raise CentralError("usage.time", error.message, where="received_at", hint="2026-01-31T12:00:00.000Z") from error
    if not format_time(parse_time(now) - OLDEST) <= received <= now:
        raise CentralError("usage.time", "a request came by now, and within ten years", where="received_at")
    return received


def found(conn: Conn, ref: str) -> Row:
    """The case's row. Raises CentralError not_found.case."""
    row: Row | None = conn.execute("SELECT * FROM subject_case WHERE ref=?", (ref,)).fetchone()
    if row is None:
        raise CentralError(
            "not_found.case", "no such case", status=404, where=ref[:64], hint="callwarden central case list"
        )
    return row


def held(conn: Conn, ref: str) -> Row:
    """The same, with nobody else changing it until the transaction ends."""
    conn.exclusive(f"case:{ref}")
    return found(conn, ref)


def add(
    central: Central, conn: Conn, row: Row, by: Asker, act: str, words: dict[str, Any], *, state: str | None = None,
    said: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """An entry: words sealed under the case's key, `said` (nothing personal) into central's log, and the state it leads to.

    Raises CentralError case.shredded where there are words, and no key for them any more.
    """
    ref, now = str(row["ref"]), central.now()
    number = int(conn.execute("SELECT coalesce(max(n), 0) + 1 FROM case_entry WHERE ref=?", (ref,)).fetchone()[0])
    hidden = None
    if words:
        key = sealed.key_of(central.keeper, row["slot"])
        if key is None:
            raise CentralError(
                "case.shredded", "what names the person in this case was destroyed", status=409, where=ref
            )
        hidden = sealed.seal(key, ref, str(number), words)
    _entry(conn, ref, number, now, by.label, act, state or row["state"], hidden)
    if state is not None:
        conn.execute("UPDATE subject_case SET state=? WHERE ref=?", (state, ref))
    body = {"case": ref, **({"by": by.token_id} if by.token_id else {}), **(said or {})}
    central.log.append(conn, now, f"case.{act}", body | ({"state": state} if state is not None else {}))


def _entry(conn: Conn, ref: str, n: int, at: str, by: str, act: str, state: str, hidden: bytes | None) -> None:
    conn.execute(
        "INSERT INTO case_entry(ref, n, at, by_label, act, state, sealed) VALUES (?,?,?,?,?,?,?)",
        (ref, n, at, by, act, state, hidden),
    )


def step(
    central: Central,
    conn: Conn,
    row: Row,
    by: Asker,
    act: str,
    method: Method | None,
    note: str,
    check: Callable[[Row], machine.Lack],
) -> None:
    """One step of a case. `check` says what is still missing for it; a note goes past what may be excused.

    Raises CentralError case.state, case.identity, case.reason, case.pending (409).
    """
    ref, now = str(row["ref"]), central.now()
    state = machine.step(row["state"], act)
    if state is None:
        can = ", ".join(machine.allowed(row["state"])) or "nothing"
        raise CentralError(
            "case.state",
            f"a case that is {row['state']} does not take {act}",
            status=409,
            where=ref,
            hint=f"it takes: {can}",
        )
    if (act == "identify") != (method is not None) or (act in ("identify", "answer") and not note.strip()):
        raise CentralError(
            "case.identity" if act == "identify" else "case.reason",
            "say how the person was identified, and what was seen" if act == "identify" else f"{act} needs its note and no method",
            status=409, where=ref,
        )  # fmt: skip
    if act in machine.REASONED and not note.strip():
        raise CentralError("case.reason", f"say why: {act}", status=409, where=ref)
    missing, excused = check(row)
    if missing and not (excused and note.strip()):
        hint = "give a note that says why it goes on all the same" if excused else _HINTS[act]
        raise CentralError("case.pending", missing, status=409, where=ref, hint=hint)
    words = {name: one for name, one in (("note", note.strip()), ("missing", missing)) if one}
    add(central, conn, row, by, act, words, state=state, said={"method": method} if method else {})
    if act == "identify":
        conn.execute(
            "UPDATE subject_case SET identified_at=?, identified_by=?, identified_how=? WHERE ref=?",
            (now, by.label, method, ref),
        )
    if act == "close":
        shred_at = format_time(parse_time(now) + timedelta(days=settings(central).record_days))
        conn.execute("UPDATE subject_case SET closed_at=?, shred_at=? WHERE ref=?", (now, shred_at, ref))


def extend(central: Central, conn: Conn, row: Row, by: Asker, reason: str) -> None:
    """Two further months, once, before the first is over (Art. 12(3)). Raises CentralError case.extended, case.late, case.state."""
    ref, now, wanted = str(row["ref"]), central.now(), settings(central)
    if row["extended_at"] is not None:
        raise CentralError(
            "case.extended", "it was extended before; the law knows one extension", status=409, where=ref
        )
    if row["state"] in machine.ANSWERED:
        raise CentralError("case.state", f"a case that is {row['state']} has no clock", status=409, where=ref)
    if now >= row["due_at"]:
        raise CentralError(
            "case.late", "the first month is over: it can be extended no more", status=409, where=ref,
            hint="answer now, and say why it is late",
        )  # fmt: skip
    due_at = clock.due(row["received_at"], clock.EXTENDED_MONTHS, wanted.zone, wanted.holidays)
    conn.execute("UPDATE subject_case SET extended_at=?, due_at=?, warned='' WHERE ref=?", (now, due_at, ref))
    add(central, conn, row, by, "extend", {"reason": reason}, said={"due_at": due_at})


def person(central: Central, conn: Conn, row: Row, by: Asker, reason: str) -> dict[str, Any]:
    """Whom the case is about; that somebody looked is in its history. Raises CentralError case.shredded."""
    add(central, conn, row, by, "person_read", {"reason": reason})
    first = conn.execute("SELECT sealed FROM case_entry WHERE ref=? AND n=0", (row["ref"],)).fetchone()
    words = sealed.unseal(sealed.key_of(central.keeper, row["slot"]), row["ref"], "0", bytes(first["sealed"]))
    if words is None:
        raise CentralError("case.shredded", "the numbers in this case were destroyed", status=409, where=row["ref"])
    return {"numbers": words["numbers"], "country": words["country"]}
