"""A case as it is shown, and what a review and a package write into it. Jobs."""

from __future__ import annotations

from typing import Any

from central.cases import book, clock, machine, orders, sealed
from central.cases.model import Case, Choice, Entry, Line, NewPackage, Package
from central.conn import Conn, Row
from central.doors import Asker
from central.errors import CentralError
from central.state import Central
from formats import canonical


def _due(row: Row, now: str) -> str:
    return "" if row["state"] in machine.ANSWERED else clock.warning(row["due_at"], now)


def lines(conn: Conn, after: int, limit: int, now: str) -> list[Line]:
    """A page of cases."""
    rows = conn.execute("SELECT * FROM subject_case WHERE seq>? ORDER BY seq LIMIT ?", (after, limit))
    names = [name for name in Line.__struct_fields__ if name != "due"]
    return [Line(due=_due(row, now), **{name: row[name] for name in names}) for row in rows]


def whole(central: Central, conn: Conn, row: Row) -> Case:
    """Everything but the numbers."""
    ref, now = row["ref"], central.now()
    key = sealed.key_of(central.keeper, row["slot"])
    found, more = orders.matches(conn, ref, _reasons(conn, ref, key))
    plain = (
        "seq", "ref", "kind", "state", "received_at", "due_at", "extended_at", "opened_at", "opened_by", "identified_at",
        "identified_by", "identified_how", "closed_at", "shred_at",
    )  # fmt: skip
    return Case(
        **{name: row[name] for name in plain}, due=_due(row, now), shredded=key is None,
        allowed=list(machine.allowed(row["state"])), entries=_entries(conn, ref, key), matches=found, more=more,
        orders=orders.progress(conn, ref, now), rectified=orders.rectified(conn, row), packages=_packages(conn, ref, key),
    )  # fmt: skip


def _entries(conn: Conn, ref: str, key: bytes | None) -> list[Entry]:
    rows = conn.execute("SELECT n, at, by_label, act, state, sealed FROM case_entry WHERE ref=? ORDER BY n", (ref,))
    return [
        Entry(
            n=row["n"], at=row["at"], by=row["by_label"], act=row["act"], state=row["state"],
            words=_without_numbers(sealed.unseal(key, ref, str(row["n"]), _bytes(row["sealed"]))),
        )
        for row in rows
    ]  # fmt: skip


def _without_numbers(words: dict[str, Any] | None) -> dict[str, Any] | None:
    """Numbers come out at a door of their own."""
    return None if words is None else {name: one for name, one in words.items() if name not in ("numbers", "country")}


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _reasons(conn: Conn, ref: str, key: bytes | None) -> dict[tuple[str, str], str | None]:
    rows = conn.execute("SELECT edge_id, call_id, sealed FROM case_choice WHERE ref=?", (ref,))
    found: dict[tuple[str, str], str | None] = {}
    for row in rows:
        words = sealed.unseal(key, ref, f"{row['edge_id']}/{row['call_id']}", _bytes(row["sealed"]))
        found[row["edge_id"], row["call_id"]] = None if words is None else str(words["reason"])
    return found


def choose(central: Central, conn: Conn, row: Row, by: Asker, choices: list[Choice]) -> None:
    """Write a review's choices. Raises CentralError case.match for a call that no search found, case.shredded."""
    ref, now, key = row["ref"], central.now(), sealed.key_of(central.keeper, row["slot"])
    if key is None:
        raise CentralError("case.shredded", "what names the person in this case was destroyed", status=409, where=ref)
    found = {(one.edge_id, one.call_id) for one in orders.matches(conn, ref, {})[0]}
    for one in choices:
        if (one.edge_id, one.call_id) not in found:
            raise CentralError("case.match", "no search of this case found that call", status=409, where=one.call_id)
        hidden = sealed.seal(key, ref, f"{one.edge_id}/{one.call_id}", {"reason": one.reason})
        conn.execute(
            "INSERT INTO case_choice(ref, edge_id, call_id, included, sealed, at, by_label) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT(ref, edge_id, call_id) DO UPDATE SET included=excluded.included, sealed=excluded.sealed,"
            " at=excluded.at, by_label=excluded.by_label",
            (ref, one.edge_id, one.call_id, int(one.include), hidden, now, by.label),
        )
    said = {"included": sum(one.include for one in choices), "excluded": sum(not one.include for one in choices)}
    book.add(central, conn, row, by, "chosen", {}, said=said)


def note_package(central: Central, conn: Conn, row: Row, by: Asker, made: NewPackage) -> None:
    """List a copy. Raises CentralError case.review where it holds a recording of a call that the review left out."""
    ref, now, key = row["ref"], central.now(), sealed.key_of(central.keeper, row["slot"])
    if key is None:
        raise CentralError("case.shredded", "what names the person in this case was destroyed", status=409, where=ref)
    for recording_id in made.recordings:
        out = conn.execute(
            "SELECT 1 FROM case_choice c JOIN recording r ON r.call_id=c.call_id AND r.edge_id=c.edge_id"
            " WHERE c.ref=? AND c.included=0 AND r.recording_id=?",
            (ref, recording_id),
        ).fetchone()
        if out is not None:
            raise CentralError("case.review", "the review left this recording out", status=409, where=recording_id)
    number = int(conn.execute("SELECT coalesce(max(n), 0) + 1 FROM case_package WHERE ref=?", (ref,)).fetchone()[0])
    conn.execute(
        "INSERT INTO case_package(ref, n, at, by_label, sha256, size, calls, recordings, missing, sealed)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            ref, number, now, by.label, made.sha256, made.size, made.calls, canonical.dumps(made.recordings).decode(), made.missing,
            sealed.seal(key, ref, f"package/{number}", {"to": made.to}),
        ),
    )  # fmt: skip
    said = {"sha256": made.sha256, "recordings": len(made.recordings), "missing": made.missing}
    book.add(central, conn, row, by, "package", {}, said=said)


def _packages(conn: Conn, ref: str, key: bytes | None) -> list[Package]:
    found = []
    for row in conn.execute("SELECT * FROM case_package WHERE ref=? ORDER BY n", (ref,)):
        words = sealed.unseal(key, ref, f"package/{row['n']}", _bytes(row["sealed"]))
        found.append(
            Package(
                n=row["n"], at=row["at"], by=row["by_label"], sha256=row["sha256"], size=row["size"], calls=row["calls"],
                recordings=canonical.loads(row["recordings"]), missing=row["missing"],
                to=None if words is None else str(words["to"]),
            )
        )  # fmt: skip
    return found
