"""The journal as stages see it. A coroutine that changes something returns after its transaction is durable
(synchronous=FULL); the audit entries and outbox rows it names are in that same transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edge.model.entities import (
    AuditRow,
    CallRow,
    Checkpoint,
    ClosedSegment,
    ConsentEvent,
    NewCall,
    NewRecording,
    NewSegment,
    OrderRow,
    OutboxRow,
    PermitRow,
    Progress,
    ReceiptRow,
    RecordingRow,
    SegmentRow,
)
from edge.ports.adopting import AdoptionBook
from edge.ports.afterwork_book import AfterworkBook
from edge.ports.evidence import EvidenceBook
from edge.ports.finds import FindBook
from edge.ports.holds import HoldBook
from edge.ports.integrity import IntegrityBook
from edge.ports.key_book import KeyBook
from edge.ports.live_books import LiveBook, MemoryBook, NoticeBook
from edge.ports.media import MediaBook
from edge.ports.ordered import OrderedBook
from edge.ports.policy_reports import PolicyReportBook
from edge.ports.rectify import RectifyBook
from edge.ports.restores import RestoreBook
from edge.ports.retention import RetentionBook


class AuditSink(Protocol):
    """The tree over audit entries, kept inside the journal's own transactions. The store calls it on its writer's
    connection; `root` and `proof` also on a reader's."""

    def append(
        self,
        conn: sqlite3.Connection,
        at: str,
        kind: str,
        *,
        subject: str | None = None,
        call_id: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> int:
        """Append an entry; `subject` (an id) goes in as an HMAC under the salt of its call. Returns the index."""
        ...

    def root(self, conn: sqlite3.Connection, size: int) -> bytes: ...
    def proof(self, conn: sqlite3.Connection, index: int, size: int) -> Sequence[bytes]: ...


class CallBook(Protocol):
    """Rows of calls, parties, legs and consent events."""

    async def open_call(self, call: NewCall) -> CallRow:
        """State `offered`: policy (if new), call, party, leg rows; audit `call.opened`; outbox `call.opened`.

        The same (linked_id, policy_id) entering twice returns the row that is there, unchanged.
        """
        ...

    async def add_event(
        self,
        call_id: str,
        event: ConsentEvent,
        *,
        state: str | None = None,
        outcome: str | None = None,
        forget: str | None = None,
    ) -> int:
        """Append an event, and set the call's state and outcome when given; revoke the remembered answers of the HMAC
        `forget`; audit; outbox `consent.recorded`. Returns seq."""
        ...

    async def grant(
        self, call_id: str, event: ConsentEvent, permit_id: str, purposes: Sequence[str], recording: NewRecording
    ) -> int:
        """One commit: event, outcome and the party's standing (= event.kind), state `permitted`, permit, recording
        `starting`, capture, segment, header, audit `recording.permitted`, outbox `consent.recorded` and
        `recording.opened`. Returns the event's seq."""
        ...

    async def permit(self, call_id: str) -> PermitRow | None:
        """The call's newest permit that was not revoked."""
        ...

    async def add_recording(self, recording: NewRecording) -> None:
        """A further recording under a permit on file (a repair, a start after a stop): rows as in `grant`, audit
        `recording.permitted`, outbox `recording.opened`. Raises journal.conflict when the permit was revoked or is
        another call's."""
        ...

    async def end_call(self, call_id: str, ended_at: str) -> None:
        """State `ended`; an open outcome becomes `abandoned` (asking) or `unavailable`; audit, outbox `call.closed`. Where
        the outcome is one of `lifecycle.NUMBER_GOES` the numbers of its outside parties are wiped. Open pauses are closed.
        Repeats do nothing."""
        ...

    async def open_calls(self) -> Sequence[CallRow]:
        """Calls whose state is not `ended`."""
        ...

    async def call(self, call_id: str) -> CallRow | None: ...

    async def policy_document(self, policy_id: str, version: str) -> str | None:
        """The policy a call began under, canonical JSON."""
        ...


class RecordingBook(Protocol):
    """Rows of recordings, captures, segments and headers."""

    async def set_monitor(self, recording_id: str, monitor_id: str) -> None: ...

    async def set_recording_state(self, recording_id: str, state: str) -> None:
        """Only transitions of lifecycle.RECORDING; audit entry per change. `no_audio` also closes with its open segment
        `truncated`, and writes outbox `recording.sealed` with state no_audio. Setting the present state does nothing."""
        ...

    async def progress(self, pieces: Sequence[Progress]) -> None:
        """All pieces of a tick in one commit; no audit, no outbox."""
        ...

    async def add_segment(self, segment: NewSegment) -> None:
        """A further segment with its header; audit `segment.opened`."""
        ...

    async def close_segment(self, closed: ClosedSegment) -> None:
        """Segment closed or truncated with its final progress; audit; outbox `segment.closed` (names header slot and version)."""
        ...

    async def seal_recording(
        self, recording_id: str, *, ending: str, frames: int, ended_at: str, manifest: str
    ) -> None:
        """State `sealed` with its manifest; audit `recording.sealed` with the manifest's hash; outbox `recording.sealed`."""
        ...

    async def recording(self, recording_id: str) -> RecordingRow | None: ...

    async def recordings(self, *, states: Sequence[str] | None = None) -> Sequence[RecordingRow]:
        """All, or those in `states`, oldest first, with segments."""
        ...


class IncidentBook(Protocol):
    """Segments that go while their recording stays."""

    async def shred_segments(self, recording_id: str, since: str) -> Sequence[SegmentRow]:
        """Intent, one commit: closed segments that were open at or after the wall time `since` become `shredded` (and the
        open one of a quarantined recording), the recording is flagged `incident`; audit `segment.shredding` of each.
        Returns them."""
        ...

    async def shredding(self) -> Sequence[SegmentRow]:
        """Shredded segments of recordings that stay, whose keys are not gone everywhere yet."""
        ...

    async def segment_reported(self, segment_id: str) -> bool:
        """Whether nothing in the outbox carries this segment's header any more."""
        ...

    async def finish_shred(self, segment_id: str) -> None:
        """Its header names no key; audit `segment.shredded`, outbox `segment.closed` with state `shredded`. Repeats do
        nothing. The slot may be released afterwards."""
        ...


class OrderBook(Protocol):
    """Inbox, receipts, erasure."""

    async def take_delivery(
        self, seq: int, jti: str | None, jws: str | None, *, void: bool, at: str, slot: int | None = None
    ) -> bool:
        """Store a delivery and its order (state `received`) unless known; audit. False if this order (or void) is on
        file under this seq already; another order under a known seq is taken.
        `slot`: where the opening of its person lies, already synced; named by no row where the order was known."""
        ...

    async def last_delivery(self) -> int:
        """Highest contiguous delivery seq stored (0 for none)."""
        ...

    async def orders(self, states: Sequence[str]) -> Sequence[OrderRow]: ...
    async def order(self, jti: str) -> OrderRow | None: ...

    async def begin_order(self, jti: str) -> None:
        """State `executing`; audit `order.begun`. Repeats do nothing."""
        ...

    async def begin_erase(
        self, recording_id: str, jti: str | None, cause: str, *, also: Sequence[str] = (), over_holds: bool = False
    ) -> None:
        """Intent: recording `erasing`, order (if any) `executing`, audit `erase.intended`; the same for `also`. One commit;
        repeats do nothing. Raises command.held where a hold covers one of them now, and then there is no intent for any; of
        cause `retention` a restriction counts too. `over_holds`: not even then, because its keys are gone already."""
        ...

    async def finish_erase(
        self,
        recording_id: str,
        *,
        erased_at: str,
        cause: str,
        key_ids: Sequence[str],
        receipt: ReceiptRow | None,
        answers: bool = True,
        numbers: Mapping[str, str] | None = None,
    ) -> None:
        """Recording `erased`, segments `shredded`, rows anonymised, tombstone, audit `recording.erased`, receipt (order `answered`),
        outbox `recording.erased`. One commit; repeats do nothing. `answers` False: the order goes on, more is to be erased.
        A receipt whose jti is no order's stands on a ground (`formats.orders.ground`). With the call's last recording its
        evidence becomes the minimal record (audit `evidence.minimised`); `numbers`: party_id to the HMAC that stays."""
        ...

    async def answer(self, receipt: ReceiptRow, *, state: str) -> None:
        """Store a receipt and put its order into `state` (`answered` or `deferred`); audit `order.answered`."""
        ...

    async def receipts_to_send(self) -> Sequence[ReceiptRow]: ...
    async def receipts_of(self, jti: str) -> Sequence[ReceiptRow]: ...
    async def acknowledge_receipt(self, receipt_id: str, at: str) -> None:
        """Marks it; the order becomes `acknowledged`."""
        ...

    async def tombstone(self, recording_id: str) -> Mapping[str, Any] | None: ...


class OutboxBook(Protocol):
    """Events to central."""

    async def outbox(self, limit: int) -> Sequence[OutboxRow]:
        """The oldest rows that are not dead, by seq."""
        ...

    async def prune(self, upto_seq: int) -> None:
        """Acknowledged: delete rows with seq <= upto_seq that are not dead."""
        ...

    async def attempt_failed(self, seqs: Sequence[int]) -> None: ...
    async def bury(self, seq: int, reason: str) -> None:
        """Dead letter: stays on file, is not sent again; alarm."""
        ...

    async def outbox_depth(self) -> tuple[int, int]:
        """(waiting, dead)."""
        ...

    async def outbox_span(self) -> tuple[int, int] | None:
        """The numbers of the oldest and the newest event that wait; None where none does."""
        ...

    def on_new(self, wake: Callable[[], None]) -> None:
        """Call `wake` (on the event loop) after a commit that added outbox rows, receipts or audit entries."""
        ...


class AuditBook(Protocol):
    """The audit log's rows. The tree itself is kept by the writer in the transactions above."""

    async def note_audit(self, kind: str, *, subject: str | None = None, body: Mapping[str, Any] | None = None) -> None:
        """An entry of its own (reads, refusals, alarms)."""
        ...

    async def alarm(self, code: str, message: str, *, where: str = "") -> None:
        """An audit entry and an outbox `alarm.raised`; also counted in `status`. Never raises when the journal is gone."""
        ...

    async def audit_size(self) -> int: ...
    async def audit_entries(self, start: int, end: int) -> Sequence[AuditRow]: ...
    async def audit_root(self, size: int) -> bytes: ...
    async def save_checkpoint(self, checkpoint: Checkpoint) -> None: ...
    async def last_checkpoint(self) -> Checkpoint | None: ...
    async def last_cosigned(self) -> Checkpoint | None: ...
    async def audit_proof(self, index: int, size: int) -> Sequence[bytes]: ...


class Journal(
    AdoptionBook,
    CallBook, RecordingBook, AfterworkBook, IncidentBook, KeyBook, LiveBook, MemoryBook, NoticeBook, OrderBook, HoldBook,
    MediaBook, OrderedBook, FindBook, RetentionBook, EvidenceBook, OutboxBook, AuditBook, RestoreBook, IntegrityBook, RectifyBook,
    PolicyReportBook,
    Protocol,
):  # fmt: skip
    """All books over one SQLite file with one writer."""

    @property
    def writable(self) -> bool:
        """False after a commit failed (disk full, EIO) until one succeeds again."""
        ...

    @property
    def edge_id(self) -> str: ...
    @property
    def instance_id(self) -> str:
        """32 hex digits, random, new with every new journal file: whose slots they are."""
        ...

    @property
    def incarnation(self) -> str:
        """`instance_id`, and behind a slash how often it was put back from a backup, where it was: the last part of the
        audit log's origin, and what numbers of events and keys of open segments are bound to."""
        ...

    async def slots_in_use(self) -> Sequence[int]:
        """Every slot that a row names (headers, audit secret, memory key): what `Slots.sweep` must leave alone."""
        ...

    async def meta(self, key: str) -> str | None: ...
    async def set_meta(self, key: str, value: str) -> None: ...
    async def read_gate(self) -> None:
        """Wait until short readers are done and checkpoint the WAL with TRUNCATE (erasure calls it)."""
        ...
