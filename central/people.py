"""The person an order is about: the opening of its commitment lies in the keeper until every edge has answered or may do so no more."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from central.conn import Conn
from central.errors import CentralError
from central.state import Central
from formats.certificate_facts import is_last_word
from formats.errors import FormatError
from formats.ids import format_time, parse_time
from formats.orders import LIFE_S, SKEW_S, OrderClaims, Person, read_order, read_receipt


def keep_opening(central: Central, claims: OrderClaims, opening: object) -> int | None:
    """Job: put the opening into the keeper, synced before the row that names it; its slot, None where none is needed.

    Raises CentralError command.person when it is missing, or not that of the order.
    """
    if claims.target.kind != "person":
        if opening is not None:
            raise CentralError("command.person", "only a person has an opening", where="opening")
        return None
    try:
        person = Person.of_document(opening, claims.target.id)
    except FormatError as error:
        raise CentralError(error.code, error.message, where="opening") from error
    slot = central.keeper.put(person.packed())
    central.keeper.flush()
    return slot


def opening_of(central: Central, slot: int | None) -> dict[str, str] | None:
    """What goes to an edge beside a delivery; None where there is none (any more)."""
    if slot is None:
        return None
    try:
        return Person.unpacked(central.keeper.read(slot)).document()
    except CentralError as error:
        if error.code != "keeper.shredded":
            raise
        return None
    except FormatError:  # the slot is another key's by now: this database was put back from a backup
        return None


def expiry(claims: OrderClaims) -> str | None:
    """Until when an order's delivery may be taken; None where late is right."""
    life = LIFE_S[claims.cmd]
    return None if life is None else format_time(parse_time(claims.iat) + timedelta(seconds=life))


def complete(conn: Conn, jti: str, now: str) -> bool:
    """Whether every edge that got the order gave its last word (`formats.certificate_facts.is_last_word`), or said nothing in
    the order's life: an edge that was off stores such a delivery as void and answers nothing. A revoked edge is told nothing more and
    is waited for no longer."""
    order = conn.execute("SELECT cmd, target_kind, jws FROM orders WHERE jti=?", (jti,)).fetchone()
    if order is None:
        return False
    kind = order["target_kind"] if order["cmd"] == "erase" else ""  # nothing else has answers for parts of its target
    last = conn.execute(
        "SELECT (SELECT r.jws FROM receipt r WHERE r.edge_id=d.edge_id AND r.jti=d.jti ORDER BY r.n DESC LIMIT 1) AS jws"
        " FROM delivery d JOIN edge e ON e.edge_id=d.edge_id WHERE d.jti=? AND e.state<>'revoked'",
        (jti,),
    ).fetchall()
    said = [row["jws"] for row in last if row["jws"] is not None]
    if not all(is_last_word(read_receipt(one), kind) for one in said):
        return False
    return len(said) == len(last) or is_over(read_order(order["jws"]), now)


def is_over(claims: OrderClaims, now: str) -> bool:
    """Whether nobody may take it any more, by a clock that is as late as an edge's may be."""
    end = expiry(claims)
    return end is not None and parse_time(now) > parse_time(end) + timedelta(seconds=SKEW_S)


def wipe(central: Central, conn: Conn, jti: str) -> None:
    """Job: destroy the opening of an order that is complete. Who takes its slot out of the row destroys it, before the commit: a
    crash in between leaves a row whose slot reads as destroyed."""
    row = conn.execute("SELECT opening_slot FROM orders WHERE jti=?", (jti,)).fetchone()
    if row is None or (slot := row["opening_slot"]) is None or not complete(conn, jti, central.now()):
        return
    if conn.execute("UPDATE orders SET opening_slot=NULL WHERE jti=? AND opening_slot=?", (jti, slot)).rowcount:
        central.keeper.shred([int(slot)])
        central.log.append(conn, central.now(), "order.wiped", {"jti": jti})


def _wipe(central: Central, jti: str, conn: Conn) -> None:
    wipe(central, conn, jti)


async def wipe_what_is_over(central: Central) -> None:
    """Destroy the openings of orders that are complete without a further receipt."""
    kept = await central.db.run(
        lambda conn: [row["jti"] for row in conn.execute("SELECT jti FROM orders WHERE opening_slot IS NOT NULL")]
    )
    for jti in kept:
        await central.db.run(partial(_wipe, central, jti))
