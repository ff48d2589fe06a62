"""The person an order is about: the opening of its commitment lies in the keeper until every edge has answered."""

from __future__ import annotations

from central.conn import Conn
from central.errors import CentralError
from central.state import Central
from formats.certificate_facts import is_last_word
from formats.errors import FormatError
from formats.orders import OrderClaims, Person, read_receipt


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


def complete(conn: Conn, jti: str) -> bool:
    """Whether every edge that got the order gave its last word (`formats.certificate_facts.is_last_word`)."""
    order = conn.execute("SELECT cmd, target_kind FROM orders WHERE jti=?", (jti,)).fetchone()
    if order is None:
        return False
    kind = order["target_kind"] if order["cmd"] == "erase" else ""  # nothing else has answers for parts of its target
    last = conn.execute(
        "SELECT (SELECT r.jws FROM receipt r WHERE r.edge_id=d.edge_id AND r.jti=d.jti ORDER BY r.n DESC LIMIT 1) AS jws"
        " FROM delivery d WHERE d.jti=?",
        (jti,),
    ).fetchall()
    return all(row["jws"] is not None and is_last_word(read_receipt(row["jws"]), kind) for row in last)


def wipe(central: Central, conn: Conn, jti: str) -> None:
    """Job: destroy the opening of an order that is complete. The slot first: a crash in between leaves a row whose slot
    reads as destroyed."""
    row = conn.execute("SELECT opening_slot FROM orders WHERE jti=?", (jti,)).fetchone()
    if row is None or row["opening_slot"] is None or not complete(conn, jti):
        return
    central.keeper.shred([int(row["opening_slot"])])
    conn.execute("UPDATE orders SET opening_slot=NULL WHERE jti=?", (jti,))
    central.log.append(conn, central.now(), "order.wiped", {"jti": jti})
