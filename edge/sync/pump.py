"""Outbox to batches. Shred keys are read from their slots, and numbers from their rows, while a batch is built; they live only
in that batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import OutboxRow
from edge.ports import Clock, Journal, Slots
from edge.sync.numbers import Numbers
from edge.sync.uplink import Uplink
from formats import search
from formats.keys import b64url
from formats.wire import MAX_BATCH, Event, sign_batch

#: Events in one batch.
MAX_EVENTS = 500
#: A row that central rejected this often is buried.
MAX_REJECTS = 5
SIGNATURE = "Callwarden-Signature"
#: What stands in for a buried row, so that the numbers stay gapless at central.
BURIED = "outbox.buried"

# Sorted members make it canonical for what events hold, at a tenth of the general encoder's time.
_encode = msgspec.json.Encoder(order="sorted").encode


class Pump:
    """One pass of the outbox. `incarnation` numbers this journal file (see docs/spec/sync.md)."""

    def __init__(
        self, uplink: Uplink, journal: Journal, slots: Slots, clock: Clock, incarnation: int, numbers: Numbers
    ) -> None:
        self._uplink = uplink
        self._numbers = numbers
        self._journal = journal
        self._slots = slots
        self._clock = clock
        self._incarnation = incarnation
        self._lost: int | None = None

    async def send(self) -> int:
        """Send one batch; how many rows left the outbox (0: there was nothing to send).

        Raises CallwardenError sync.* when central cannot be reached or rejects the oldest row, vault.io when a slot
        cannot be read.
        """
        rows = await self._journal.outbox(MAX_EVENTS)
        batch: list[bytes] = []
        sent: list[OutboxRow] = []
        replaced = {row.seq: "rejected by central" for row in rows if row.attempts >= MAX_REJECTS}
        size = 2
        for row in rows:
            encoded = _encode(await self._event(row))
            if len(encoded) + 2 > MAX_BATCH:
                replaced[row.seq] = "too large"
                encoded = _encode(self._substitute(row))
            if size + len(encoded) + 1 > MAX_BATCH:
                break
            batch.append(encoded)
            sent.append(row)
            size += len(encoded) + 1
        if not sent:
            return 0
        if any("header" in row.body for row in sent) and not await self._still_there(sent):
            return 1  # an erase came in between: build the batch again
        answer = await self._post(b"[" + b",".join(batch) + b"]")
        hit("sync.batch_sent")
        return await self._settle(sent, replaced, answer)

    async def _still_there(self, sent: Sequence[OutboxRow]) -> bool:
        """Whether every header is in its row even after its slot was read.

        An erase takes the header out of the row before it frees the slot, so what is still there had its own key read
        and not that of a later recording in the same slot.
        """
        now = {row.seq: row.body for row in await self._journal.outbox(len(sent))}
        return all("header" not in row.body or "header" in now.get(row.seq, {}) for row in sent)

    async def _post(self, body: bytes) -> Mapping[str, Any]:
        signature = sign_batch(body, self._uplink.key)
        return await self._uplink.post(self._uplink.edge_path("events"), body, headers={SIGNATURE: signature})

    async def _settle(self, sent: Sequence[OutboxRow], replaced: Mapping[int, str], answer: Mapping[str, Any]) -> int:
        contiguous, items = answer.get("contiguous"), answer.get("items")
        if not isinstance(contiguous, int) or not isinstance(items, list):
            raise CallwardenError("sync.answer", "central's answer has no items", where="events", retryable=True)
        self._numbers.noticed(answer.get("search_key"))
        status = {str(i.get("id")): str(i.get("status")) for i in items if isinstance(i, dict)}
        rejected = []
        for row in sent:
            word = status.get(row.event_id, "")
            if word.startswith("rejected"):
                rejected.append(row.seq)
                if row.attempts + 1 == MAX_REJECTS:
                    await self._journal.alarm("sync.event_rejected", f"central: {word}", where=row.event_id)
            elif word and row.seq in replaced:
                await self._journal.bury(row.seq, replaced[row.seq])
        if rejected:
            await self._journal.attempt_failed(rejected)
        if contiguous < sent[0].seq - 1:
            await self._note_lost(contiguous, sent[0].seq)
        # Never beyond what was sent now: central restored from elsewhere could claim more than we gave it. And what it
        # says it has it has, also where it forgot something earlier: else its gap would silence us for ever.
        upto = max(min(contiguous, sent[-1].seq), _taken(sent, status))
        if upto >= sent[0].seq:
            await self._journal.prune(upto)
            hit("sync.pruned")
        elif rejected:
            raise CallwardenError("sync.rejected", "central rejects the oldest event", where="events", retryable=True)
        return sum(row.seq <= upto for row in sent)

    async def _note_lost(self, contiguous: int, oldest: int) -> None:
        """Central once acknowledged what it lacks now: its database was restored or lost. Said once."""
        if self._lost != contiguous:
            self._lost = contiguous
            message = f"central lacks the events {contiguous + 1} to {oldest - 1}, which it had acknowledged"
            await self._journal.alarm("sync.central_lost_events", message, where="events")

    async def _event(self, row: OutboxRow) -> Event:
        if row.attempts >= MAX_REJECTS:
            return self._substitute(row)
        data = dict(row.body)
        header = data.get("header")
        if isinstance(header, dict) and "slot" in header:
            data["header"] = await self._with_key(header)
        if row.type == search.EVENT:
            data = await self._numbers.told(data)
        return self._wrap(row, row.type, data)

    async def _with_key(self, header: Mapping[str, Any]) -> dict[str, Any]:
        wire = {name: value for name, value in header.items() if name != "slot"}
        try:
            wire["shred_key"] = b64url(await self._slots.read(int(header["slot"])))
        except CallwardenError as error:
            if error.code != "vault.slot_shredded":
                raise
            wire["shredded"] = True
        return wire

    def _substitute(self, row: OutboxRow) -> Event:
        return self._wrap(row, BURIED, {"type": row.type})

    def _wrap(self, row: OutboxRow, kind: str, data: dict[str, Any]) -> Event:
        return Event(
            id=row.event_id,
            source=self._uplink.edge_id,
            type=kind,
            subject=row.subject or self._uplink.edge_id,  # CloudEvents wants one
            time=self._clock.wall_text(),
            sequence=row.seq,
            incarnation=self._incarnation,
            data=data,
        )


def _taken(sent: Sequence[OutboxRow], status: Mapping[str, str]) -> int:
    """Number of the last row up to which central has everything that was sent."""
    upto = sent[0].seq - 1
    for row in sent:
        if status.get(row.event_id) not in ("accepted", "duplicate"):
            break
        upto = row.seq
    return upto
