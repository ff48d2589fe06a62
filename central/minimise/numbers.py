"""What edges say of the numbers of calls. A number, and a hash of one, lies in no row: it is sealed under a key of the keeper's,
so that overwriting that slot is the end of it in rows, write-ahead logs, replicas and backups.

Beside it a row has its bucket: the first byte of its hash under the fleet's search key. A search opens what is in the bucket
of the number that is looked for, one row in 256; that byte is all that stays in a backup.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from central.conn import Conn, Row
from central.errors import CentralError
from central.minimise.ring import Ring
from central.slotfile import SlotFile
from central.state import Central
from formats import canonical, search
from formats.errors import FormatError
from formats.ids import format_time, is_id, parse_time
from formats.search import MOST_NUMBERS

#: Of a number in clear that came while there was no key.
_NO_KEY: Final = ""
_KEY_ID: Final = 64
#: Rows looked at between two statements: see `central.restored.forget_lost_keys`.
_PAGE: Final = 1000


def take(central: Central, conn: Conn, edge_id: str, seq: int, data: dict[str, Any]) -> None:
    """Job: the numbers of a call as its edge has them now; none is for good. Raises CentralError event.numbers.

    Words may come in any order: a higher sequence wins, and nothing wins over the word that there are none any more.
    """
    call_id, form, numbers = data["call_id"], data.get("form"), data.get("numbers")
    said = conn.execute(
        "SELECT n.seq, n.gone, c.anonymised FROM call c LEFT JOIN call_numbers n ON n.call_id=c.call_id WHERE c.call_id=?",
        (call_id,),
    ).fetchone()
    values = _checked(form, data, numbers)
    if numbers is None or said["anonymised"] is not None or said["gone"]:
        return
    if values and said["seq"] is not None and said["seq"] >= seq:
        return
    forget(central, conn, call_id)
    conn.execute(
        "INSERT INTO call_numbers(call_id, edge_id, form, seq, gone) VALUES (?,?,?,?,?)"
        " ON CONFLICT(call_id) DO UPDATE SET form=excluded.form, seq=excluded.seq, gone=excluded.gone",
        (call_id, edge_id, form, seq, int(not values)),
    )
    ring = central.search.now() if values else None
    for party_id, value in values.items():
        key_id, bucket = _bucket(ring, str(form), data, value)
        key = os.urandom(32)
        sealed = search.seal_value(value, key, os.urandom(search.NONCE), call_id, party_id)
        slot = central.keeper.put(key)  # the caller flushes before the commit
        conn.execute(
            "INSERT INTO call_number(call_id, party_id, edge_id, started_at, form, key_id, bucket, sealed, keeper_slot)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            (call_id, party_id, edge_id, data["started_at"], form, key_id, bucket, sealed, slot),
        )


def forget(central: Central, conn: Conn, call_id: str) -> None:
    """Job: no number of the call is left; its slots are overwritten once this is committed."""
    rows = conn.execute("SELECT keeper_slot FROM call_number WHERE call_id=?", (call_id,)).fetchall()
    if rows:
        conn.execute("DELETE FROM call_number WHERE call_id=?", (call_id,))
        central.keeper.discard([int(row["keeper_slot"]) for row in rows])


def forget_for_good(central: Central, conn: Conn, call_id: str) -> None:
    """Job: as `forget`, whatever is still to come: the call is anonymous."""
    forget(central, conn, call_id)
    conn.execute("UPDATE call_numbers SET gone=1, form='none' WHERE call_id=?", (call_id,))


def forget_lost(conn: Conn, keeper: SlotFile) -> int:
    """Job on a database put back from a backup: numbers whose slot does not open them any more; how many. The keeper was in no
    backup, so it is right."""
    query = (
        "SELECT call_id, party_id, sealed, keeper_slot FROM call_number WHERE (call_id, party_id)>(?,?)"
        " ORDER BY call_id, party_id LIMIT ?"
    )
    count, last = 0, ("", "")
    while rows := conn.execute(query, (*last, _PAGE)).fetchall():
        gone = [(row["call_id"], row["party_id"]) for row in rows if not _opens(row, keeper)]
        conn.executemany("DELETE FROM call_number WHERE call_id=? AND party_id=?", gone)
        conn.executemany("UPDATE call_numbers SET gone=1 WHERE call_id=?", [(call_id,) for call_id, _ in gone])
        count += len(gone)
        last = (rows[-1]["call_id"], rows[-1]["party_id"])
    return count


def _opens(row: Row, keeper: SlotFile) -> bool:
    """Whether a number's slot still opens it."""
    try:
        key = keeper.read(int(row["keeper_slot"]))
        search.open_value(bytes(row["sealed"]), key, row["call_id"], row["party_id"])
    except (CentralError, FormatError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Span:
    """Where to look: calls of `edge` ("" for all) that began from `since` to before `until` ("" for open), under one of
    `policies` (none for all), of `direction` ("" for both)."""

    edge: str = ""
    since: str = ""
    until: str = ""
    policies: tuple[str, ...] = ()
    direction: str = ""

    def where(self, edge: str, at: str) -> tuple[str, list[str]]:
        """A condition (with what it is bound to) on two columns."""
        wanted = [(f"{edge}=?", self.edge), (f"{at}>=?", self.since), (f"{at}<?", self.until)]
        used = [(text, value) for text, value in wanted if value]
        return "".join(f" AND {text}" for text, _ in used), [value for _, value in used]

    def _members(self) -> dict[str, tuple[str, ...]]:
        """What `call.opened` must say."""
        wanted = {"policy_id": self.policies, "direction": (self.direction,) if self.direction else ()}
        return {name: values for name, values in wanted.items() if values}

    def covers(self, opened: str | None) -> bool | None:
        """Whether a call is of the policies and direction, by its `call.opened`; None where that does not say it."""
        said = canonical.loads(opened) if opened is not None else None
        found = [said.get(name) if isinstance(said, dict) else None for name in self._members()]
        if None in found:
            return None
        return all(one in values for one, values in zip(found, self._members().values(), strict=True))

    def may_cover(self, opened: str) -> tuple[str, list[str]]:
        """A condition (with what it is bound to) on the column of `call.opened`: where it has not come, or `covers`. The text there
        is canonical, so a member has one spelling; LIKE would mind the case on one engine and not on the other."""
        conditions, values = [], []
        for name, wanted in self._members().items():
            says = " OR ".join(f"replace({opened}, ?, '')<>{opened}" for _ in wanted)
            conditions.append(f" AND ({opened} IS NULL OR {says})")
            values += [canonical.dumps({name: one}).decode()[1:-1] for one in wanted]
        return "".join(conditions), values


def find(central: Central, conn: Conn, number: str, span: Span) -> tuple[list[tuple[str, str]], int]:
    """Job: (call, party) of all that have `number` (E.164), the oldest call first; and how many more calls have it, of which
    nothing says whether they are of the policies and direction."""
    ring = central.search.now()
    keys = ring.keys if ring is not None else ()
    hashes = {one.id: one.hash(number) for one in keys}
    found, unknown = [], set()
    for row in _candidates(conn, hashes, span):
        value = opened(central, row)
        wanted = number if row["form"] == "clear" else hashes.get(row["key_id"])
        if value is None or value != wanted:
            continue
        call = conn.execute("SELECT opened FROM call WHERE call_id=?", (row["call_id"],)).fetchone()
        if (covered := span.covers(call["opened"])) is None:
            unknown.add(row["call_id"])
        elif covered:
            found.append((row["started_at"], row["call_id"], row["party_id"]))
    return [(call_id, party_id) for _, call_id, party_id in sorted(found)], len(unknown)


def opened(central: Central, row: Row) -> str | None:
    """What a row of `call_number` holds: a number in E.164 or a hash; None once its slot is overwritten."""
    try:
        key = central.keeper.read(int(row["keeper_slot"]))
        return search.open_value(bytes(row["sealed"]), key, row["call_id"], row["party_id"])
    except CentralError as error:
        if error.code != "keeper.shredded":
            raise
        return None
    except FormatError:  # the slot is another key's by now
        return None


def not_searched(central: Central, conn: Conn, span: Span) -> dict[str, int]:
    """Job: how many calls of the span a search cannot find. `no_number`: none came (the policy lets none travel, or the caller
    showed none); `gone`: forgotten since; `other_key`: hashed under a key that is not here. The time is that at which central
    first heard of the call."""
    (where, values), (covered, members) = span.where("c.edge_id", "c.first_seen"), span.may_cover("c.opened")
    ring = central.search.now()
    mine = [one.id for one in ring.keys] if ring is not None else []
    counts = conn.execute(
        "SELECT coalesce(sum(CASE WHEN n.call_id IS NULL THEN 1 ELSE 0 END), 0),"  # noqa: S608 - our own words
        " coalesce(sum(CASE WHEN n.gone=1 THEN 1 ELSE 0 END), 0)"
        f" FROM call c LEFT JOIN call_numbers n ON n.call_id=c.call_id WHERE 1=1{where}{covered}",
        [*values, *members],
    ).fetchone()
    where, values = span.where("n.edge_id", "n.started_at")
    unknown = "".join(" AND n.key_id<>?" for _ in mine)
    other = conn.execute(
        "SELECT count(DISTINCT n.call_id) FROM call_number n JOIN call c ON c.call_id=n.call_id"  # noqa: S608 - our own words
        f" WHERE n.form='hashed'{unknown}{where}{covered}",
        [*mine, *values, *members],
    ).fetchone()
    return {"no_number": int(counts[0]), "gone": int(counts[1]), "other_key": int(other[0])}


def _candidates(conn: Conn, hashes: dict[str, str], span: Span) -> Iterator[Row]:
    """Rows that may have the number: those in its bucket, and numbers in clear under a key that is not here any more."""
    where, values = span.where("edge_id", "started_at")
    query = "SELECT call_id, party_id, started_at, form, key_id, sealed, keeper_slot FROM call_number WHERE "
    for key_id, digest in hashes.items():
        yield from conn.execute(
            query + "key_id=? AND bucket=?" + where, [key_id, int(digest[:2], 16), *values]
        ).fetchall()
    unknown = "".join(" AND key_id<>?" for _ in hashes)
    yield from conn.execute(query + "form='clear'" + unknown + where, [*hashes, *values]).fetchall()


def _bucket(ring: Ring | None, form: str, data: dict[str, Any], value: str) -> tuple[str, int]:
    if form == "hashed":
        return str(data["key_id"]), int(value[:2], 16)
    if ring is None:
        return _NO_KEY, 0
    return ring.newest.id, int(ring.newest.hash(value)[:2], 16)


def _checked(form: object, data: dict[str, Any], numbers: object) -> dict[str, str]:
    """Party to value; empty where none came. The time is cut to what our own columns compare."""
    wrong = CentralError("event.numbers", "form, started_at and numbers do not fit together", where="numbers")
    try:
        data["started_at"] = format_time(parse_time(data["started_at"]))
    except (FormatError, KeyError, AttributeError, TypeError) as error:
        raise wrong from error
    if form not in ("none", *search.FORMS) or (form == "hashed" and numbers and not _is_key_id(data.get("key_id"))):
        raise wrong
    if numbers is None:
        return {}
    if not isinstance(numbers, list) or len(numbers) > MOST_NUMBERS:
        raise wrong
    values: dict[str, str] = {}
    for one in numbers:
        if (
            not isinstance(one, dict)
            or not is_id(str(one.get("party_id")))
            or not search.is_value(str(form), one.get("number"))
        ):
            raise wrong
        values[one["party_id"]] = one["number"]
    return values


def _is_key_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _KEY_ID
