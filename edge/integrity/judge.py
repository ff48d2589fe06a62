"""From what rows say and what lies on the disk to what is wrong and what may be done about it. Pure.

A remedy is safe when nothing that anybody was promised can be lost by it; everything else is for a person to look at, and
the recording is quarantined meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from edge.model.entities import RecordingRow, SegmentRow
from edge.model.lifecycle import LIVE
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.manifest import Manifest, verify_manifest

#: What may be done: `cut` a payload to its committed length, `unlink` it, `remove` what lies in memory, `shred` a key,
#: `quarantine` the recording, `release` it from there, or nothing (a person looks).
REMEDIES: Final = ("cut", "unlink", "remove", "shred", "quarantine", "release", "none")


@dataclass(frozen=True, slots=True)
class Finding:
    """`code`: docs/cli.md lists them; `where`: a recording's id or a file's name; `done`: the remedy was carried out."""

    code: str
    where: str
    message: str
    remedy: str
    segment: int | None = None
    segment_id: str = ""
    done: bool = False

    def carried_out(self) -> Finding:
        """The same after its remedy."""
        return replace(self, done=True)

    @property
    def wrong(self) -> bool:
        """Whether something is still wrong: what is quarantined waits for a person."""
        return not self.done or self.remedy == "quarantine"

    def json(self) -> dict[str, Any]:
        """As the door tells it."""
        return {**asdict(self), "wrong": self.wrong}


@dataclass(frozen=True, slots=True)
class Seen:
    """A segment as it lies there. `length`: bytes of its payload, None without a file; `whole`: whether the committed bytes
    are those of the manifest's entry, and where there is no manifest `sha512`, their hash; `key`: why its header does
    not open, or nothing; `trouble`: (code, why) where the payload cannot be read or is no file of ours."""

    length: int | None
    sha512: bytes | None = None
    whole: bool | None = None
    key: str = ""
    trouble: tuple[str, str] | None = None


def judge(row: RecordingRow, seen: Sequence[Seen], trust: KeySet, *, unfinished: frozenset[str]) -> list[Finding]:
    """What is wrong with a recording. `seen`: one per segment; `unfinished`: segments an incident is still removing."""
    if row.state == "erasing":
        return []  # the executor is at it, and ends it
    found: list[Finding] = []
    for segment, one in zip(row.segments, seen, strict=True):
        if segment.segment_id not in unfinished:
            found += _segment(row, segment, one)
    if row.state == "erased" or row.state in LIVE:
        return [replace(f, remedy="none") if f.remedy == "quarantine" else f for f in found]
    if row.manifest is not None:
        found += _manifest(row, trust)
    elif row.state == "sealed":
        found.append(_bad(row, "manifest.missing", "a sealed recording has no manifest"))
    if row.state == "quarantined":
        return _quarantined(row, found)
    return found


def read_manifest(row: RecordingRow, trust: KeySet) -> Manifest | None:
    """The manifest, if there is one that verifies."""
    try:
        return None if row.manifest is None else verify_manifest(row.manifest, trust)
    except FormatError:
        return None


def _bad(row: RecordingRow, code: str, message: str, segment: SegmentRow | None = None) -> Finding:
    number, segment_id = (None, "") if segment is None else (segment.number, segment.segment_id)
    return Finding(code, row.recording_id, message, "quarantine", number, segment_id)


def _segment(row: RecordingRow, segment: SegmentRow, seen: Seen) -> list[Finding]:
    there, committed, where = seen.length, segment.payload_bytes, f"segment {segment.number}"
    if row.state == "erased" or segment.state == "shredded":
        if there is None:
            return []
        return [
            Finding(
                "payload.outlived", row.recording_id, f"{where}: its key is destroyed and its payload is still there",
                "unlink", segment.number, segment.segment_id,
            )
        ]  # fmt: skip
    found = []
    if seen.key:
        found.append(_bad(row, "key.lost", f"{where}: {seen.key}", segment))
    if seen.trouble is not None:
        code, why = seen.trouble
        planted = code == "vault.planted"
        bad = _bad(row, "payload.planted" if planted else "payload.unreadable", f"{where}: {why}", segment)
        # A disk that fails may be mended: nothing is known against the recording itself.
        found.append(bad if planted else replace(bad, remedy="none"))
    elif there is None and committed:
        found.append(_bad(row, "payload.missing", f"{where}: its payload is not there", segment))
    elif there is not None and there < committed:
        message = f"{where}: its payload has {there} bytes, {committed} were committed"
        found.append(_bad(row, "payload.short", message, segment))
    elif segment.state != "open" and there is not None:
        unlike = seen.whole is None and segment.payload_sha512 is not None and seen.sha512 != segment.payload_sha512
        if unlike or seen.whole is False:
            found.append(_bad(row, "payload.changed", f"{where}: its payload is not what was sealed", segment))
        elif there > committed:
            message = f"{where}: {there - committed} bytes behind its end that were never committed"
            found.append(
                Finding("payload.leftover", row.recording_id, message, "cut", segment.number, segment.segment_id)
            )
    return found


def _manifest(row: RecordingRow, trust: KeySet) -> list[Finding]:
    assert row.manifest is not None
    try:
        manifest = verify_manifest(row.manifest, trust)
    except FormatError as error:
        return [_bad(row, "manifest.bad", f"its manifest does not verify: {error.message}")]
    gone = {s.number for s in row.segments if s.state == "shredded"}
    signed: list[tuple[object, ...]] = [
        (s.segment_id, s.number) if s.number in gone else
        (s.segment_id, s.number, s.state, s.payload_bytes, s.plain_bytes, s.chunks, s.payload_sha512, s.tags_hash,
         s.key_id, s.codec, s.rate, s.channels, s.suite, s.encoding, s.frames)
        for s in manifest.segments
    ]  # fmt: skip
    # Of a removed segment only the name is left to compare.
    stored: list[tuple[object, ...]] = [
        (s.segment_id, s.number) if s.number in gone else
        (s.segment_id, s.number, s.state, s.payload_bytes, s.plain_bytes, s.chunks, (s.payload_sha512 or b"").hex(),
         s.tags_hash.hex(), s.header.key_id.hex(), row.codec, row.rate, row.channels, s.header.suite, s.encoding,
         row.frames_of(s))
        for s in row.segments
    ]  # fmt: skip
    if manifest.recording_id != row.recording_id or signed != stored:
        return [_bad(row, "manifest.differs", "the journal's rows are not what the edge signed")]
    return []


def _quarantined(row: RecordingRow, found: list[Finding]) -> list[Finding]:
    """What is quarantined stays so while anything is wrong; without that it can go back to where it was."""
    if any(f.remedy == "quarantine" for f in found):
        return [replace(f, done=True) if f.remedy == "quarantine" else f for f in found]
    if row.manifest is None:
        message = "it was quarantined before it was sealed: nothing signed says what it must be"
        return [*found, Finding("quarantine.unsealed", row.recording_id, message, "none")]
    message = "it is quarantined, and rows, files and manifest agree"
    return [*found, Finding("quarantine.explained", row.recording_id, message, "release")]
