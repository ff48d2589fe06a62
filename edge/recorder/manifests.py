"""From a recording's rows to its signed manifest."""

from __future__ import annotations

from typing import Final, Literal

from edge.model.entities import RecordingRow
from edge.model.software import SOFTWARE
from edge.recorder.tools import ManifestMaker
from formats.keys import SigningKey
from formats.manifest import Manifest, SegmentEntry, frames_ms, sign_manifest

_STATES: Final[dict[str, Literal["closed", "truncated", "shredded"]]] = {
    "closed": "closed",
    "truncated": "truncated",
    "shredded": "shredded",
}
_ENCODINGS: Final[dict[str, Literal["none", "flac", "opus"]]] = {"none": "none", "flac": "flac", "opus": "opus"}
_SUITES: Final[dict[str, Literal["age1", "aes256gcm"]]] = {"age1": "age1", "aes256gcm": "aes256gcm"}


def manifest_of(row: RecordingRow, *, edge_id: str, ending: str, frames: int, ended_at: str) -> Manifest:
    """The manifest of a recording whose segments are all closed, truncated or shredded. `start_ms` counts recorded time."""
    entries: list[SegmentEntry] = []
    before = 0
    for segment in row.segments:
        state = _STATES.get(segment.state)
        if state is None or segment.payload_sha512 is None:
            raise ValueError(f"segment {segment.segment_id} is still {segment.state}")
        entries.append(
            SegmentEntry(
                segment_id=segment.segment_id,
                number=segment.number,
                suite=_SUITES[segment.header.suite],
                codec=row.codec,
                rate=row.rate,
                channels=row.channels,
                encoding=_ENCODINGS[segment.encoding],
                frames=row.frames_of(segment),
                start_ms=frames_ms(before, row.rate),
                duration_ms=frames_ms(row.frames_of(segment), row.rate),
                plain_bytes=segment.plain_bytes,
                payload_bytes=segment.payload_bytes,
                chunks=segment.chunks,
                payload_sha512=segment.payload_sha512.hex(),
                tags_hash=segment.tags_hash.hex(),
                key_id=segment.header.key_id.hex(),
                state=state,
                end_reason=segment.end_reason or "",
            )
        )
        before += row.frames_of(segment)
    return Manifest(
        recording_id=row.recording_id,
        call_id=row.call_id,
        edge_id=edge_id,
        policy_id=row.policy_id,
        policy_version=row.policy_version,
        permit_id=row.permit_id,
        consent_event=row.permit_event_seq,
        ending="truncated" if ending == "truncated" else "complete",
        started_at=row.started_at,
        ended_at=max(ended_at, row.started_at),
        frames=frames,
        software=SOFTWARE,
        segments=tuple(entries),
    )


def manifest_maker(edge_id: str, key: SigningKey) -> ManifestMaker:
    """What `Tools.make_manifest` wants: rows in, compact JWS by the edge's key out."""

    def make(row: RecordingRow, ending: str, frames: int, ended_at: str) -> str:
        return sign_manifest(manifest_of(row, edge_id=edge_id, ending=ending, frames=frames, ended_at=ended_at), key)

    return make
