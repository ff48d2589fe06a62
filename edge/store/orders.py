"""Deliveries, orders, receipts, erasure and tombstones."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from edge.model.entities import OrderRow, ReceiptRow
from edge.model.lifecycle import ORDER, RECORDING, SEGMENT, step
from edge.store.base import Base, check_move, decode_json, emit, missing, text_json
from edge.store.holds import refuse_held
from edge.store.recordings import state_of
from edge.store.rows import forget_people


def _orders(conn: sqlite3.Connection, where: str, *args: Any) -> list[OrderRow]:
    # `where` is SQL of this module, values are bound.
    query = f"SELECT jti, jws, state, received_at, due_at FROM inbox WHERE {where} ORDER BY seq"  # noqa: S608
    rows = conn.execute(query, args)
    return [OrderRow(*row) for row in rows]


def _receipts(conn: sqlite3.Connection, where: str, *args: Any) -> list[ReceiptRow]:
    query = f"SELECT receipt_id, jti, n, result, jws, acked_at FROM receipt WHERE {where} ORDER BY seq"  # noqa: S608
    rows = conn.execute(query, args)
    return [ReceiptRow(*row) for row in rows]


def order_state(conn: sqlite3.Connection, jti: str) -> str | None:
    """Where an order stands; None when there is no such order."""
    row = conn.execute("SELECT state FROM inbox WHERE jti=?", (jti,)).fetchone()
    return None if row is None else str(row[0])


def move_order(conn: sqlite3.Connection, jti: str, state: str) -> bool:
    """Put an order into `state`; False when it is there already. Raises journal.unknown, ValueError."""
    before = order_state(conn, jti)
    if before is None:
        raise missing("order", jti)
    if before == state:
        return False
    check_move(ORDER, before, state, "an order")
    conn.execute("UPDATE inbox SET state=? WHERE jti=?", (state, jti))
    return True


def leave(conn: sqlite3.Connection, jti: str) -> list[int]:
    """What an order that is over still waits for is restricted no more; the slots its opening was in."""
    slots = [row[0] for row in conn.execute("SELECT slot FROM order_target WHERE jti=? AND slot>0", (jti,))]
    conn.execute("UPDATE order_target SET slot=0 WHERE jti=?", (jti,))
    conn.execute("DELETE FROM find WHERE jti=? AND state='waiting'", (jti,))
    return slots


def store_receipt(conn: sqlite3.Connection, receipt: ReceiptRow) -> bool:
    """False when this receipt is stored already."""
    if conn.execute("SELECT 1 FROM receipt WHERE receipt_id=?", (receipt.receipt_id,)).fetchone():
        return False
    conn.execute(
        "INSERT INTO receipt(receipt_id, jti, n, result, jws) VALUES(?, ?, ?, ?, ?)",
        (receipt.receipt_id, receipt.jti, receipt.n, receipt.result, receipt.jws),
    )
    return True


def _watermark(conn: sqlite3.Connection) -> int:
    row = conn.execute("SELECT value FROM meta WHERE key='delivery_watermark'").fetchone()
    return int(row[0]) if row else 0


def _anonymise(conn: sqlite3.Connection, recording_id: str) -> None:
    """Take what points at a person out of the rows; the call's number stays while another recording of it is kept."""
    conn.execute(
        "UPDATE recording SET channel_name='', channel_uid='', manifest=NULL WHERE recording_id=?", (recording_id,)
    )
    conn.execute("UPDATE recording_flag SET detail='' WHERE recording_id=?", (recording_id,))
    conn.execute(
        "UPDATE header SET sealed_header=x'', slot=0, recipients='[]'"
        " WHERE segment_id IN (SELECT segment_id FROM segment WHERE recording_id=?)",
        (recording_id,),
    )
    conn.execute(
        "DELETE FROM rewrap WHERE segment_id IN (SELECT segment_id FROM segment WHERE recording_id=?)", (recording_id,)
    )
    # Not sent yet: the slot will hold another key one day, and nobody may file that one under this recording.
    conn.execute("UPDATE outbox SET body=json_remove(body, '$.header', '$.manifest') WHERE subject=?", (recording_id,))


class Orders(Base):
    """The `OrderBook` of the journal."""

    async def take_delivery(
        self, seq: int, jti: str | None, jws: str | None, *, void: bool, at: str, slot: int | None = None
    ) -> bool:
        """See `edge.ports.OrderBook`."""

        def job(conn: sqlite3.Connection) -> bool:
            known = conn.execute("SELECT jti FROM delivery WHERE seq=?", (seq,)).fetchone()
            if known is not None and known[0] == jti:
                return False
            # Another order under a number that is known: central was put back and did not know how far it had counted.
            conn.execute(
                "INSERT INTO delivery(seq, jti, void, received_at) VALUES(?, ?, ?, ?)"
                " ON CONFLICT(seq) DO UPDATE SET jti=excluded.jti, void=excluded.void, received_at=excluded.received_at",
                (seq, jti, int(void), at),
            )
            new = False
            if jti is not None and jws is not None and not void and order_state(conn, jti) is None:
                conn.execute(
                    "INSERT INTO inbox(jti, jws, state, received_at) VALUES(?, ?, ?, ?)",
                    (jti, jws, step(ORDER, "", "arrive"), at),
                )
                if slot is not None:
                    conn.execute("INSERT INTO order_target(jti, slot) VALUES(?, ?)", (jti, slot))
                new = True
            elif jti is not None:  # answered with the stored receipt: central asks again because it lost that
                conn.execute(
                    "UPDATE receipt SET acked_at=NULL WHERE jti=? AND n=(SELECT max(n) FROM receipt WHERE jti=?)",
                    (jti, jti),
                )
            mark = _watermark(conn)
            while conn.execute("SELECT 1 FROM delivery WHERE seq=?", (mark + 1,)).fetchone():
                mark += 1
            conn.execute(
                "INSERT INTO meta(key, value) VALUES('delivery_watermark', ?)"
                " ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                (str(mark),),
            )
            self._audit.append(
                conn, self._clock.wall_text(), "delivery.received", body={"seq": seq, "jti": jti, "void": void,
                                                                          "new": new},
            )  # fmt: skip
            return True

        return await self._writer.do(job)

    async def last_delivery(self) -> int:
        """See `edge.ports.OrderBook`; deliveries count from 1."""
        return await self._readers.read(_watermark)

    async def orders(self, states: Sequence[str]) -> Sequence[OrderRow]:
        """See `edge.ports.OrderBook`; oldest first."""
        marks = ",".join("?" * len(states))
        return await self._readers.read(lambda conn: _orders(conn, f"state IN ({marks})", *states))

    async def order(self, jti: str) -> OrderRow | None:
        """See `edge.ports.OrderBook`."""
        rows = await self._readers.read(lambda conn: _orders(conn, "jti=?", jti))
        return rows[0] if rows else None

    async def begin_order(self, jti: str) -> None:
        """See `edge.ports.OrderBook`."""

        def job(conn: sqlite3.Connection) -> None:
            if move_order(conn, jti, "executing"):
                self._audit.append(conn, self._clock.wall_text(), "order.begun", body={"jti": jti})

        await self._writer.do(job)

    async def begin_erase(
        self, recording_id: str, jti: str | None, cause: str, *, also: Sequence[str] = (), over_holds: bool = False
    ) -> None:
        """See `edge.ports.OrderBook`. A recording that is erased already stays so."""

        def job(conn: sqlite3.Connection) -> None:
            for one in (recording_id, *also):
                self._intend(conn, one, jti, cause, over_holds)

        await self._writer.do(job)

    def _intend(
        self, conn: sqlite3.Connection, recording_id: str, jti: str | None, cause: str, over_holds: bool
    ) -> None:
        before, call_id = state_of(conn, recording_id)
        changed = False
        if before not in ("erasing", "erased"):
            if not over_holds:
                refuse_held(conn, recording_id, call_id, by_itself=cause == "retention")
            conn.execute(
                "UPDATE recording SET state=? WHERE recording_id=?", (step(RECORDING, before, "erase"), recording_id)
            )
            changed = True
        if jti is not None and order_state(conn, jti) in ("received", "deferred"):
            changed = move_order(conn, jti, "executing") or changed
        if changed:
            self._audit.append(
                conn, self._clock.wall_text(), "erase.intended", subject=call_id, call_id=call_id,
                body={"recording_id": recording_id, "jti": jti, "cause": cause, "state": before},
            )  # fmt: skip

    async def finish_erase(
        self, recording_id: str, *, erased_at: str, cause: str, key_ids: Sequence[str], receipt: ReceiptRow | None,
        answers: bool = True, numbers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """See `edge.ports.OrderBook`. The headers' slots are named by no row afterwards: `Slots.release` may follow."""

        def job(conn: sqlite3.Connection) -> None:
            before, call_id = state_of(conn, recording_id)
            if before == "erased":
                return
            conn.execute(
                "UPDATE recording SET state=? WHERE recording_id=?",
                (step(RECORDING, before, "erased"), recording_id),
            )
            for (state,) in conn.execute(
                "SELECT DISTINCT state FROM segment WHERE recording_id=? AND state<>'shredded'", (recording_id,)
            ).fetchall():
                step(SEGMENT, state, "shred")
            conn.execute("UPDATE segment SET state='shredded' WHERE recording_id=?", (recording_id,))
            _anonymise(conn, recording_id)
            forget_people(conn, self._audit, self._clock.wall_text(), call_id, numbers)
            receipt_id = receipt.receipt_id if receipt else None
            conn.execute(
                "INSERT INTO tombstone(recording_id, erased_at, cause, receipt_id, key_ids) VALUES(?, ?, ?, ?, ?)",
                (recording_id, erased_at, cause, receipt_id, text_json(key_ids)),
            )
            facts = {
                "recording_id": recording_id, "erased_at": erased_at, "cause": cause, "key_ids": list(key_ids),
                "receipt_id": receipt_id,
            }  # fmt: skip
            self._audit.append(
                conn, self._clock.wall_text(), "recording.erased", subject=call_id, call_id=call_id, body=facts
            )
            # A receipt that stands on a ground answers no order.
            if receipt is not None and store_receipt(conn, receipt) and answers and order_state(conn, receipt.jti):
                move_order(conn, receipt.jti, "answered")
            emit(conn, "recording.erased", recording_id, {**facts, "call_id": call_id})

        await self._writer.do(job)

    async def answer(self, receipt: ReceiptRow, *, state: str) -> None:
        """See `edge.ports.OrderBook`. A receipt that is stored already changes nothing."""

        def job(conn: sqlite3.Connection) -> None:
            if not store_receipt(conn, receipt):
                return
            move_order(conn, receipt.jti, state)
            self._audit.append(
                conn, self._clock.wall_text(), "order.answered",
                body={"jti": receipt.jti, "n": receipt.n, "result": receipt.result, "state": state},
            )  # fmt: skip

        await self._writer.do(job)

    async def receipts_to_send(self) -> Sequence[ReceiptRow]:
        """See `edge.ports.OrderBook`; oldest first."""
        return await self._readers.read(lambda conn: _receipts(conn, "acked_at IS NULL"))

    async def receipts_of(self, jti: str) -> Sequence[ReceiptRow]:
        """See `edge.ports.OrderBook`; by n."""
        return await self._readers.read(lambda conn: _receipts(conn, "jti=?", jti))

    async def acknowledge_receipt(self, receipt_id: str, at: str) -> None:
        """See `edge.ports.OrderBook`. A deferred order stays deferred: its last answer is still to come."""

        def job(conn: sqlite3.Connection) -> None:
            row = conn.execute("SELECT jti, n, acked_at FROM receipt WHERE receipt_id=?", (receipt_id,)).fetchone()
            if row is None:
                raise missing("receipt", receipt_id)
            jti, n, acked_at = row
            if acked_at is not None:
                return
            conn.execute("UPDATE receipt SET acked_at=? WHERE receipt_id=?", (at, receipt_id))
            newest = conn.execute("SELECT max(n) FROM receipt WHERE jti=?", (jti,)).fetchone()[0]
            if n == newest and order_state(conn, jti) == "answered":
                move_order(conn, jti, "acknowledged")
            self._audit.append(conn, self._clock.wall_text(), "receipt.acknowledged", body={"jti": jti, "n": n})

        await self._writer.do(job)

    async def tombstone(self, recording_id: str) -> Mapping[str, Any] | None:
        """recording_id, erased_at, cause, receipt_id, key_ids (a list); None when it was not erased."""

        def job(conn: sqlite3.Connection) -> Mapping[str, Any] | None:
            row = conn.execute(
                "SELECT recording_id, erased_at, cause, receipt_id, key_ids FROM tombstone WHERE recording_id=?",
                (recording_id,),
            ).fetchone()
            if row is None:
                return None
            names = ("recording_id", "erased_at", "cause", "receipt_id")
            return {**dict(zip(names, row[:4], strict=True)), "key_ids": decode_json(row[4])}

        return await self._readers.read(job)
