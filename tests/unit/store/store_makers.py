"""A real journal with the real audit tree, and values to write: fresh ids, plausible rows."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from edge.audit.log import AuditLog
from edge.model.entities import (
    ClosedSegment,
    ConsentEvent,
    HeaderRow,
    NewCall,
    NewRecording,
    NewSegment,
    Progress,
    ReceiptRow,
)
from edge.store.journal import Journal

AT = "2026-01-31T12:00:00.000Z"
NUMBER = "+420777123456"


class SystemClock:
    def wall(self) -> datetime:
        return datetime.now(UTC)

    def wall_text(self) -> str:
        return self.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def mono_ns(self) -> int:
        return time.monotonic_ns()


async def open_journal(path: Path) -> Journal:
    audit = AuditLog()
    audit._secret = bytes(32)
    return Journal.open(path, audit=audit, clock=SystemClock(), edge_id="edge-1")


def new_id() -> str:
    return secrets.token_hex(16)


def call(**changes: object) -> NewCall:
    values: dict[str, object] = {
        "call_id": new_id(), "linked_id": secrets.token_hex(6), "channel_uid": secrets.token_hex(6),
        "channel_name": "PJSIP/1001-00000001", "party_id": new_id(), "direction": "inbound", "policy_id": "support",
        "policy_version": "v1", "policy_document": "{}", "mode": "opt_in", "purposes": ("quality",), "language": "en",
        "number_heard": NUMBER, "number_class": "plain", "started_at": AT,
    }  # fmt: skip
    return NewCall(**(values | changes))  # type: ignore[arg-type]


def event(kind: str, party_id: str | None = None) -> ConsentEvent:
    return ConsentEvent(kind, AT, 1, {"prompt_id": "ask", "key": "1"}, party_id)


def segment(recording_id: str, capture_id: str, slot: int, number: int = 0) -> NewSegment:
    segment_id = new_id()
    header = HeaderRow(segment_id, 0, "age1", secrets.token_bytes(200), slot, ("age1abc",), secrets.token_bytes(32))
    return NewSegment(segment_id, recording_id, number, capture_id, 0, header)


def recording(call_id: str, slot: int) -> NewRecording:
    recording_id, capture_id = new_id(), new_id()
    return NewRecording(
        recording_id, call_id, new_id(), "17.1", "PJSIP/1001-00000001", "age1", capture_id, new_id() + ".sln",
        "sln", 8000, 2, segment(recording_id, capture_id, slot), AT,
    )  # fmt: skip


def progress(segment_id: str, chunks: int) -> Progress:
    return Progress(segment_id, chunks, chunks * 65536, 16 + chunks * 65552, secrets.token_bytes(32))


def closed(new: NewRecording, chunks: int, state: str = "closed") -> ClosedSegment:
    return ClosedSegment(
        progress(new.segment.segment_id, chunks), new.recording_id, state, "hangup", secrets.token_bytes(64)
    )


def receipt(jti: str, n: int = 0, result: str = "done") -> ReceiptRow:
    return ReceiptRow(new_id(), jti, n, result, "e30.e30.AA", None)
