"""How a capture ends: sealed to the last byte, empty, or cut off. Write order `close`."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import RecordingRow
from edge.recorder import afterwork, muting
from edge.recorder.capture import Capture
from edge.recorder.sealer import drain
from edge.recorder.sides import SIDES
from edge.recorder.tools import LiveCaptures, Tools, stop_monitor

log = structlog.get_logger("recorder")

#: A command that Asterisk had read when the dialogue ended is carried out within this time, seconds.
EXECUTED_S: Final = 0.5
#: How long the work after the last segment may take before the spool's bytes are freed without waiting for it, seconds.
MOMENT_S: Final = 0.5
#: How often a stopped file is looked at until it is closed, seconds.
FLUSH_POLL_S: Final = 0.02


async def finish(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """Nobody writes any more: last chunk, segment row, manifest, then resume key and spool file.

    Raises CallwardenError or OSError when a step fails; the capture stays live and is tried again.
    """
    async with capture.lock:
        # Looked at anew: Asterisk flushes its buffer and closes the file between a look and the lease that tells of it.
        status = tools.spool.status(capture.spool_name)
        capture.size = status[1] if status else capture.size
        if capture.size == 0:
            await no_audio(tools, live, capture)
            return
        await tools.journal.set_recording_state(capture.recording_id, "closing")
        if capture.mute is not None:
            await muting.advance(tools, capture, closing=True)
        result = await drain(tools, capture)
        hit("close.last_chunk_synced")
        if not capture.segment.ended:
            state = "truncated" if result is None else "closed"
            await tools.journal.close_segment(capture.closed(result, state=state, reason=capture.stop_reason))
            if result is not None:
                capture.commit(result)
            capture.segment.ended = True
            afterwork.begin(tools, capture, whole=result is not None)
        hit("close.segment_committed")
        size = capture.size
        capture.ended.set()
    # The lock is free meanwhile: whoever reports an incident, or is in the middle of a pause, waits for no encoder. Nobody
    # else closes or begins a segment of a capture that is `finishing`, and its file is here until `clean`.
    # The file goes when this is done, mostly at once; where an encoder takes its time, the plaintext does not wait.
    if capture.after and (await asyncio.wait(capture.after, timeout=MOMENT_S))[1]:
        async with capture.lock:
            await tools.in_worker(lambda: tools.spool.punch(capture.spool_name, size, whole=False))
    await afterwork.finished(capture.after)
    async with capture.lock:
        if why := capture.coverage.differs(size, capture.byte_rate, capture.buffer_ns):
            await tools.journal.flag(capture.recording_id, "duration", why)
        await seal(tools, capture.recording_id)
        clean(tools, live, capture)


async def seal(tools: Tools, recording_id: str) -> None:
    """All segments are closed: sign the manifest and commit `sealed`; a recording without one byte is `no_audio`."""
    row = await tools.journal.recording(recording_id)
    assert row is not None
    frames = sum(row.frames_of(s) for s in row.segments)
    if frames == 0:
        await tools.journal.set_recording_state(recording_id, "no_audio")
        return
    if side := silent_side(row):
        await tools.journal.flag(recording_id, "one_sided", side)
    lost = any(s.end_reason == "power_cut" for s in row.segments)
    ending, ended_at = ("truncated" if lost else "complete"), tools.clock.wall_text()
    manifest = tools.make_manifest(row, ending, frames, ended_at)
    await tools.journal.seal_recording(recording_id, ending=ending, frames=frames, ended_at=ended_at, manifest=manifest)
    hit("close.sealed")
    log.info("recording is sealed", recording=recording_id, seconds=round(frames / row.rate, 3), ending=ending)


def silent_side(row: RecordingRow) -> str:
    """The side without energy over a whole two-channel recording, `both`, or "": none, or nobody can say."""
    heard = [s.loudest for s in row.segments if s.plain_bytes and s.state != "shredded"]
    if row.channels != 2 or not heard or any(one is None or len(one) != 2 for one in heard):
        return ""
    quiet = [max(one[side] for one in heard if one) == 0 for side in range(2)]
    return "both" if all(quiet) else next((name for name, still in zip(SIDES, quiet, strict=True) if still), "")


async def no_audio(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """The call ended without a byte."""
    await tools.journal.set_recording_state(capture.recording_id, "no_audio")
    log.info("nothing was recorded", recording=capture.recording_id)
    clean(tools, live, capture)


async def never_grew(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """Three seconds of talk and nothing in the file: Asterisk records nothing, or elsewhere.

    Raises CallwardenError ami.* when the monitor cannot be stopped: it could make the file anew, so it stays watched.
    """
    await stop_monitor(tools, capture)
    await tools.journal.alarm(
        "spool.no_growth", "a permitted recording does not grow; nothing of it is kept", where=capture.recording_id
    )
    log.error("a permitted recording does not grow; nothing of it is kept", recording=capture.recording_id)
    async with capture.lock:
        status = tools.spool.status(capture.spool_name)
        if status is None or status[1] == 0:
            await no_audio(tools, live, capture)
            return
    capture.channel_gone = True  # the stop brought bytes after all: they are sealed like any others
    await _let_go(tools, capture)
    await finish(tools, live, capture)


async def abort(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """Whether the monitor started is not known, and the caller was told that it did not: stop what may run.

    Raises CallwardenError ami.* while Asterisk cannot be asked: it could fill the file at any time, so it stays watched.
    """
    for pause in (0.0, EXECUTED_S):
        if not capture.channel_gone and not (pause and capture.monitor_id):
            await asyncio.sleep(pause)
            await stop_monitor(tools, capture)
    capture.channel_gone = True
    if capture.growing:  # permitted, and partly sealed perhaps: kept like any recording
        await _let_go(tools, capture)
        await finish(tools, live, capture)
        return
    async with capture.lock:
        await no_audio(tools, live, capture)


async def _let_go(tools: Tools, capture: Capture) -> None:
    """After a stop Asterisk flushes its buffer and closes the file, usually at once; it is not waited for any longer than
    that takes: what is written later goes with the file."""
    for _ in range(round(EXECUTED_S / FLUSH_POLL_S)):
        if tools.spool.status(capture.spool_name) is None or tools.spool.writer_gone(capture.spool_name):
            return
        await asyncio.sleep(FLUSH_POLL_S)


async def spool_lost(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """The spool file is gone or is another one (power cut, a hand): what is sealed stays, nothing can be added."""
    async with capture.lock:
        await tools.journal.alarm("spool.lost", "a capture file vanished", where=capture.recording_id)
        log.error("a capture file vanished; what was sealed of it is kept", recording=capture.recording_id)
        try:
            await stop_monitor(tools, capture)
        except CallwardenError as error:
            log.info("the monitor could not be stopped", recording=capture.recording_id, why=error.message)
        segment = capture.segment
        if not segment.ended and tools.vault.length(capture.recording_id, segment.segment_id) > segment.payload_bytes:
            await tools.in_worker(
                lambda: tools.vault.truncate(capture.recording_id, segment.segment_id, segment.payload_bytes)
            )
        await tools.journal.set_recording_state(capture.recording_id, "closing")
        if not segment.ended:
            await tools.journal.close_segment(capture.closed(None, state="truncated", reason="power_cut"))
            segment.ended = True
            afterwork.begin(tools, capture, whole=False)
        capture.ended.set()
    await afterwork.finished(capture.after)
    async with capture.lock:
        await seal(tools, capture.recording_id)
        clean(tools, live, capture)


def clean(tools: Tools, live: LiveCaptures, capture: Capture) -> None:
    """Resume key and spool file go last: until here a kill finds everything it needs."""
    tools.resume.destroy(capture.segment.segment_id)
    hit("close.resume_destroyed")
    tools.spool.unlink(capture.spool_name)
    live.remove(capture)
