"""The values that stages hand to each other through the journal. Frozen, no behaviour, no I/O.

Times at the wall are RFC 3339 UTC strings with milliseconds and `Z`; `*_ns` are of the monotonic clock; ids are 32
lower-case hex digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge.model.adoption import adoption_of
from formats.pcm import STORED

#: The policy that a call is filed under that came in while no daemon was there to say which: of no version, without terms.
NO_POLICY: Final = "unknown"


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that entered through the dialplan. `number_class`: `plain` `withheld` `invalid`; `direction`: `inbound`
    (the party is the caller) or `outbound` (the called party); `number_e164`: the number with its country, if known."""

    call_id: str
    linked_id: str
    channel_uid: str
    channel_name: str
    party_id: str
    direction: str
    policy_id: str
    policy_version: str
    policy_document: str
    mode: str
    purposes: tuple[str, ...]
    language: str
    number_heard: str | None
    number_class: str
    started_at: str
    number_e164: str | None = None


@dataclass(frozen=True, slots=True)
class PermitRow:
    """A permit on file: `kind` is the event `event_seq` that it stands on."""

    permit_id: str
    call_id: str
    event_seq: int
    kind: str
    purposes: tuple[str, ...]
    policy_id: str
    policy_version: str


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One fact about consent; only ever added. `evidence` is JSON-able (fields: docs/spec/evidence.md)."""

    kind: str
    at_wall: str
    at_mono_ns: int
    evidence: Mapping[str, Any]
    party_id: str | None = None


@dataclass(frozen=True, slots=True)
class HeaderRow:
    """A sealed header: ciphertext under the shred key that lies in `slot`. `key_id` 32 bytes; `made_by`: the kid of who
    made it, "" for the edge itself."""

    segment_id: str
    version: int
    suite: str
    sealed_header: bytes
    slot: int
    recipients: tuple[str, ...]
    key_id: bytes
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A segment about to open: `spool_offset` is the byte of the capture where its plaintext begins."""

    segment_id: str
    recording_id: str
    number: int
    capture_id: str
    spool_offset: int
    header: HeaderRow


@dataclass(frozen=True, slots=True)
class NewRecording:
    """Everything a recording needs on file before Asterisk is told (write order `start`)."""

    recording_id: str
    call_id: str
    permit_id: str
    channel_uid: str
    channel_name: str
    suite: str
    capture_id: str
    spool_name: str
    codec: str
    rate: int
    channels: int
    segment: NewSegment
    started_at: str


@dataclass(frozen=True, slots=True)
class MonitorOrder:
    """What to tell Asterisk: `EXEC MixMonitor "path,options"`; no path where the options name the files."""

    path: str
    options: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a segment is sealed: whole chunks, their plaintext, payload length, running hash over chunk tags."""

    segment_id: str
    chunks: int
    plain_bytes: int
    payload_bytes: int
    tags_hash: bytes


@dataclass(frozen=True, slots=True)
class ClosedSegment:
    """The final facts of a segment. `state`: `closed` (last flag written) or `truncated`."""

    progress: Progress
    recording_id: str
    state: str
    end_reason: str
    payload_sha512: bytes


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a closed segment is to be instead: `encoding` `flac` or `opus` of `frames` samples, under `header`'s key, its
    files under the name `staged`."""

    progress: Progress
    recording_id: str
    encoding: str
    frames: int
    payload_sha512: bytes
    header: HeaderRow
    staged: str


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment as the journal has it, with its newest header. `opened_at` and `closed_at`: wall times of its rows.

    `encoding`: `none` `flac` `opus`, what the payload's plaintext is; `frames`: samples of one that is encoded, else None
    (`RecordingRow.frames_of`). `loudest`: highest peak of each channel (`formats.waveform`), None where nobody looked.
    `staged`: the name its payload still lies under, while it is renamed.
    """

    segment_id: str
    recording_id: str
    number: int
    capture_id: str
    spool_offset: int
    state: str
    chunks: int
    plain_bytes: int
    payload_bytes: int
    tags_hash: bytes
    payload_sha512: bytes | None
    end_reason: str | None
    header: HeaderRow
    opened_at: str = ""
    closed_at: str | None = None
    encoding: str = "none"
    frames: int | None = None
    loudest: tuple[int, ...] | None = None
    staged: str = ""


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """A recording as the journal has it, with its call's facts, its capture and its segments in order.

    `muted`: its monitor was told to write zeros, acknowledged. `seal_every_ms`, `compact`: of the policy it began under, 0
    and `none` when the policy is not on file.
    """

    recording_id: str
    call_id: str
    permit_id: str
    channel_uid: str
    channel_name: str
    suite: str
    state: str
    ending: str | None
    frames: int | None
    started_at: str
    ended_at: str | None
    manifest: str | None
    policy_id: str
    policy_version: str
    permit_event_seq: int
    capture_id: str
    spool_name: str
    monitor_id: str | None
    codec: str
    rate: int
    channels: int
    held: bool
    segments: tuple[SegmentRow, ...] = field(default=())
    muted: bool = False
    seal_every_ms: int = 0
    compact: str = "none"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one captured sample of all channels."""
        return STORED[self.codec] * self.channels

    @staticmethod
    def payload_of(segment: SegmentRow) -> str:
        """The id that a segment's payload and waveform are named by in the vault."""
        return segment.staged or segment.segment_id

    def frames_of(self, segment: SegmentRow) -> int:
        """Samples of a segment of this recording; one of all channels is one."""
        return segment.plain_bytes // self.frame_bytes if segment.frames is None else segment.frames

    @property
    def adopted(self) -> bool:
        """Whether it was taken over from a file: no capture of it ever ran."""
        return adoption_of(self.spool_name)


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call as the journal has it. `caller` and `number_e164`: of the party that `party_id` names, None once wiped."""

    call_id: str
    linked_id: str
    channel_uid: str
    channel_name: str
    party_id: str
    policy_id: str
    policy_version: str
    mode: str
    state: str
    outcome: str | None
    language: str | None
    caller: str | None
    started_at: str
    ended_at: str | None
    recordings: tuple[str, ...]
    direction: str = "inbound"
    purposes: tuple[str, ...] = ()
    number_class: str = "plain"
    number_e164: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event waiting for central, in order of `seq`. `slots`: slots whose keys are read when it is sent, by name."""

    seq: int
    event_id: str
    type: str
    subject: str
    body: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order in the inbox, byte for byte as it came (`jws` General JSON), and where it stands."""

    jti: str
    jws: str
    state: str
    received_at: str
    due_at: str | None


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A signed answer to an order; `n` counts the answers to one jti from 0."""

    receipt_id: str
    jti: str
    n: int
    result: str
    jws: str
    acked_at: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed note over the first `size` audit entries; `cosigned` is the note with the witness's line, once it came."""

    size: int
    note: str
    cosigned: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One audit entry: `entry` is its canonical JSON, `leaf` the 32-byte RFC 6962 leaf hash."""

    index: int
    at: str
    entry: str
    leaf: bytes
