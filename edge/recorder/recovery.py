"""After a start: every capture the journal calls live is taken up, ended, or found lost; nothing else stays."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import structlog

from edge.consent.policy import tick_seconds
from edge.errors import CallwardenError
from edge.model.entities import ClosedSegment, Progress, RecordingRow, SegmentRow
from edge.model.lifecycle import LIVE
from edge.recorder import afterwork, compaction, endings
from edge.recorder.capture import Capture, Mute, OpenSegment, SegmentBroken, reopened
from edge.recorder.coverage import Coverage
from edge.recorder.sides import Sides
from edge.recorder.spool import files_of
from edge.recorder.tools import Tools
from edge.recorder.unfinished import taken, unfinished
from formats.place import Place
from formats.suites import suite_of

log = structlog.get_logger("recorder")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start found. `monitors`: (channel uid, its name, monitor id) of what must not write any more; `endings`: what
    still happens to recordings without a spool file, once the work after their segments is done."""

    captures: tuple[Capture, ...]
    monitors: tuple[tuple[str, str, str], ...]
    endings: tuple[asyncio.Task[None], ...] = ()


async def recover(tools: Tools) -> Recovered:
    """The captures that go on. Ends those whose spool is gone, and removes spool files and resume keys no row names.

    A file without a row cannot come from a permit (the row is committed before the file is made), so it is not kept.
    """
    await compaction.settle_sealed(tools)
    rows = [row for row in await tools.journal.recordings(states=LIVE) if not row.adopted]
    paused = {pause.call_id for pause in await tools.journal.open_pauses()}
    captures: list[Capture] = []
    monitors: list[tuple[str, str, str]] = []
    working: set[str] = set()
    later: list[asyncio.Task[None]] = []
    for row in rows:
        try:
            works = await unfinished(tools, row)
            working |= set(works)
            if works and tools.spool.status(row.spool_name) is None:
                later.append(asyncio.create_task(_lost_later(tools, row, list(works.values()))))
                continue
            capture = await _take_up(tools, row, list(works.values()), paused=row.call_id in paused)
        except CallwardenError as error:
            if error.retryable:
                raise  # the start fails and is tried again; the audio waits in the spool
            log.error("a recording cannot be taken up again", recording=row.recording_id, why=str(error))
            await tools.journal.alarm(error.code, error.message, where=row.recording_id)
            await tools.journal.set_recording_state(row.recording_id, "quarantined")
            if row.monitor_id:  # its file goes now, and nobody would seal what it goes on to write
                monitors.append((row.channel_uid, row.channel_name, row.monitor_id))
            continue
        if capture is not None:
            captures.append(capture)
    known = {c.spool_name for c in captures}
    for name in {row.spool_name for row in rows} - known:
        tools.spool.unlink(name)
    await remove_strangers(tools, known)
    segments = {c.segment.segment_id for c in captures if not c.segment.ended}
    segments |= working
    for segment_id in tools.resume.segments():
        if segment_id not in segments:
            tools.resume.destroy(segment_id)
    if captures:
        log.info("captures go on after the restart", count=len(captures))
    return Recovered(tuple(captures), tuple(monitors), tuple(later))


def _tick_s(row: RecordingRow) -> float:
    """As `edge.consent.policy.seal_tick`, of the policy it began under, which may not be loaded any more."""
    return tick_seconds(row.seal_every_ms / 1000, row.rate * row.frame_bytes, len(files_of(row.spool_name)))


async def remove_strangers(tools: Tools, known: set[str]) -> None:
    """Nothing may lie in the spool that is not sealed: what no capture in `known` owns goes, and is alarmed."""
    files = {file for name in known for file in files_of(name)}
    for name in tools.spool.names():
        if name in files:
            continue
        try:
            tools.spool.unlink(name)
        except OSError as error:  # a folder, say: somebody planted it
            log.error("something in the spool cannot be removed", name=name[:64], why=error.strerror)
            continue
        log.error("a spool file without a permit was removed", name=name[:64])
        await tools.journal.alarm("spool.orphan", "a spool file without a permit was removed", where=name[:64])


async def _take_up(tools: Tools, row: RecordingRow, works: list[asyncio.Task[None]], *, paused: bool) -> Capture | None:
    status = tools.spool.status(row.spool_name)
    if status is None:
        await _lost(tools, row)
        return None
    inode, size = status
    last = row.segments[-1]
    sealed_to = last.spool_offset + taken(row, last)
    # With work to do it is a capture like any other, which ends when that is done: a start waits for no encoder.
    if (
        not works
        and last.state != "open"
        and row.state == "closing"
        and sealed_to >= size
        and tools.spool.writer_gone(row.spool_name)
    ):
        await endings.seal(tools, row.recording_id)
        return None
    placeholder = _key_less(tools, row, last, inode)
    capture = Capture(
        recording_id=row.recording_id,
        call_id=row.call_id,
        channel_uid=row.channel_uid,
        channel_name=row.channel_name,
        spool_name=row.spool_name,
        capture_id=row.capture_id,
        byte_rate=row.rate * row.frame_bytes,
        frame_bytes=row.frame_bytes,
        tick_s=_tick_s(row),
        suite=suite_of(row.suite),
        recipients=last.header.recipients,
        inode=inode,
        segment=placeholder,
        monitor_id=row.monitor_id,
        size=size,
        growing=row.state != "starting",
        compact=row.compact,
        coverage=Coverage(open_ended=True, blind=True),  # until the link is up
        after=works,
        sides=Sides(size, row.codec) if row.channels == 2 else None,
    )
    capture.maybe_muted = not row.muted and bool(await tools.journal.pauses(row.call_id))
    if last.plain_bytes == 0:
        capture.discard_to = last.spool_offset  # before it lies what an incident left behind, or nothing
    if last.state == "open":
        refused = "it is muted" if row.muted else await _resume(tools, capture, last)
        if not refused:
            return capture
        log.warning("a new segment starts", recording=row.recording_id, why=refused)
        await _truncate(tools, last, "resume_refused")
    capture.segment.ended = True  # the first tick begins the next one, when there is a byte for it
    if row.muted:
        _take_up_mute(capture, paused=paused)
    return capture


def _take_up_mute(capture: Capture, *, paused: bool) -> None:
    """Behind the segment lie zeros; without a pause on file also what came after the unmuting.

    Where nobody was bridged while it was muted, the first buffer may still have speech of before, which has no place in
    a segment any more: it is dropped like the zeros.
    """
    capture.filed_muted = True
    if paused:
        end = capture.segment.spool_end
        capture.mute = Mute(end, cut=end, sealed=True, dropped=end, spared=end + capture.buffer)
    else:
        capture.awaits_sound = True


def _key_less(tools: Tools, row: RecordingRow, last: SegmentRow, inode: int) -> OpenSegment:
    """Stands for the segment that ended, or until `_resume` puts the real one: its key seals nothing."""
    suite = suite_of(row.suite)
    key = tools.resume.make(last.segment_id, bytes(suite.file_key), bytes(suite.salt), inode)
    sealer = suite.sealer(key.file_key, key.salt, Place(row.recording_id, last.segment_id))
    return OpenSegment(
        last.segment_id, last.number, last.spool_offset, key, sealer, last.chunks, taken(row, last), last.payload_bytes
    )


async def _resume(tools: Tools, capture: Capture, last: SegmentRow) -> str:
    """Go on with the open segment; the reason when that must not be."""
    if not capture.suite.resumes:
        return f"{capture.suite.name} never goes on with a segment"
    key = tools.resume.load(last.segment_id)
    if key is None:
        return "its resume key is gone"
    if why := tools.resume.refuses(key, capture.inode):
        return why
    progress = _progress(last)
    try:
        capture.segment = await tools.in_worker(
            lambda: reopened(
                key,
                capture.suite,
                number=last.number,
                spool_offset=last.spool_offset,
                progress=progress,
                vault=tools.vault,
                recording_id=capture.recording_id,
            )
        )
    except (SegmentBroken, OSError) as error:
        raise _short(last.segment_id, str(error)) from error
    return ""


def _short(segment_id: str, why: str) -> CallwardenError:
    return CallwardenError(
        "vault.short",
        f"the payload does not hold what was committed: {why}",
        where=segment_id,
        hint="look at the disk; the recording is quarantined",
    )


async def _lost_later(tools: Tools, row: RecordingRow, works: list[asyncio.Task[None]]) -> None:
    await afterwork.finished(works)
    try:
        await _lost(tools, row)
    except CallwardenError as error:  # the next start comes by here again
        log.error("a recording without its spool file could not be ended", recording=row.recording_id, why=str(error))


async def _lost(tools: Tools, row: RecordingRow) -> None:
    """No spool file: the daemon was killed before it made one, or the memory it lay in is gone."""
    last = row.segments[-1]
    if row.state != "starting":
        await tools.journal.alarm("spool.lost", "the capture file is gone", where=row.recording_id)
        await tools.journal.set_recording_state(row.recording_id, "closing")
    elif last.plain_bytes == 0:
        await tools.journal.set_recording_state(row.recording_id, "no_audio")
        return
    if last.state == "open":
        await _truncate(tools, last, "power_cut")
    await endings.seal(tools, row.recording_id)


async def _truncate(tools: Tools, last: SegmentRow, reason: str) -> None:
    """Close a segment at its last committed chunk: bytes behind it were never part of it."""
    digest = await tools.in_worker(lambda: _cut(tools, last))
    await tools.journal.close_segment(ClosedSegment(_progress(last), last.recording_id, "truncated", reason, digest))


def _cut(tools: Tools, last: SegmentRow) -> bytes:
    """The digest of the payload once it has its committed length. Raises CallwardenError vault.short when it is shorter."""
    length = tools.vault.length(last.recording_id, last.segment_id)
    if length < last.payload_bytes:
        raise _short(last.segment_id, f"{length} of {last.payload_bytes} bytes are there")
    if length > last.payload_bytes:
        tools.vault.truncate(last.recording_id, last.segment_id, last.payload_bytes)
    if last.payload_bytes == 0:  # there may be no file yet
        return hashlib.sha512().digest()
    return tools.vault.sha512(last.recording_id, last.segment_id)


def _progress(row: SegmentRow) -> Progress:
    return Progress(row.segment_id, row.chunks, row.plain_bytes, row.payload_bytes, row.tags_hash)
