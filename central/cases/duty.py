"""What happens to cases by itself: alarms as the clock runs out, and the end of what names a person in a closed one."""

from __future__ import annotations

from functools import partial
from typing import Final

from central.cases import clock, machine
from central.conn import Conn
from central.state import Central
from formats.ids import parse_time

#: How often cases are looked at, seconds: a warning may be an hour late, its day not.
EVERY_S: Final = 900.0


async def look(central: Central) -> None:
    """One look. What another process did meanwhile is not done again."""
    await central.db.run(partial(_warn, central))
    over = await central.db.run(partial(_over, central))
    for ref in over:
        await central.db.run(partial(_shred, central, ref))


def _warn(central: Central, conn: Conn) -> None:
    """Job: alarms `case.due` (7 days are left) and `case.overdue`, each once for each day a case is due."""
    now = central.now()
    rows = conn.execute(
        "SELECT ref, state, due_at, warned FROM subject_case WHERE warned<>'overdue' AND closed_at IS NULL"
    )
    for row in rows.fetchall():
        found = "" if row["state"] in machine.ANSWERED else clock.warning(row["due_at"], now)
        if not found or found == row["warned"]:
            continue
        changed = conn.execute(
            "UPDATE subject_case SET warned=? WHERE ref=? AND warned=?", (found, row["ref"], row["warned"])
        ).rowcount
        if changed:
            days = (parse_time(row["due_at"]) - parse_time(now)).days
            left = f"must be answered by {row['due_at']}, {days} day(s) from now" if found == "due" else "is overdue"
            hint = f"callwarden central case show {row['ref']}"
            central.alarm(conn, "", f"case.{found}", f"{row['ref']} is {row['state']} and {left}; {hint}")


def _over(central: Central, conn: Conn) -> list[str]:
    rows = conn.execute("SELECT ref FROM subject_case WHERE slot IS NOT NULL AND shred_at<=?", (central.now(),))
    return [str(row["ref"]) for row in rows]


def _shred(central: Central, ref: str, conn: Conn) -> None:
    """Job: who takes the slot out of the row destroys it, before the commit: a crash in between leaves a row whose slot reads
    as destroyed."""
    row = conn.execute("SELECT slot FROM subject_case WHERE ref=?", (ref,)).fetchone()
    if row is None or (slot := row["slot"]) is None:
        return
    if conn.execute("UPDATE subject_case SET slot=NULL WHERE ref=? AND slot=?", (ref, slot)).rowcount:
        central.keeper.shred([int(slot)])
        central.log.append(conn, central.now(), "case.shredded", {"case": ref})
