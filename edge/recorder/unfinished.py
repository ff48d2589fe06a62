"""After a start: what was being done with closed segments of recordings that are not sealed yet."""

from __future__ import annotations

import asyncio

from edge.model.entities import RecordingRow, SegmentRow
from edge.recorder import afterwork, compaction
from edge.recorder.tools import Tools
from formats.suites import suite_of


def taken(row: RecordingRow, segment: SegmentRow) -> int:
    """Bytes of the spool file that are in this segment, compacted or not."""
    return segment.plain_bytes if segment.encoding == "none" else row.frames_of(segment) * row.frame_bytes


async def unfinished(tools: Tools, row: RecordingRow) -> dict[str, asyncio.Task[None]]:
    """By segment, the work that goes on because its key is still there. Files that a compaction left under another name are
    put where they belong, or removed where no row names them. Raises CallwardenError."""
    for segment in row.segments:
        if segment.staged:
            await compaction.settle(tools, row.recording_id, segment.staged, segment.segment_id)
    known = {segment.segment_id for segment in row.segments}
    for stray in set(tools.vault.segments_on_disk(row.recording_id)) - known:
        tools.vault.unlink_segment(row.recording_id, stray)
    works = {}
    for segment in row.segments:
        if segment.state not in ("closed", "truncated") or segment.encoding != "none":
            continue
        if (key := tools.resume.load(segment.segment_id)) is None:
            continue
        of = afterwork.Of(
            row.recording_id,
            row.codec,
            row.rate,
            row.channels,
            suite_of(row.suite),
            segment.header.recipients,
            row.compact,
        )
        ended = afterwork.Ended(
            segment.segment_id, segment.number, key.file_key, segment.state == "closed", segment.plain_bytes
        )
        works[segment.segment_id] = asyncio.create_task(afterwork.work(tools, of, ended))
    return works
