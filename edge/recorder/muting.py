"""Pause and resume: MixMonitorMute, seen as exact zeros in the spool file, which are dropped and never sealed.

Asterisk writes into a buffer of its own, so bytes that come after the mute was acknowledged may still be speech from
before it. The place where the zeros begin (`Mute.cut`) is therefore looked for between the file's length before the mute
(`begin`) and one buffer behind its length after it (`limit`): whatever lies at or behind `limit` was written muted, and
a byte there that is not zero means that the mute does not hold. Write orders `pause` and `resume` of docs/invariants.md.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.recorder.capture import Capture, Mute
from edge.recorder.sealer import drain, end_segment, skip_silence, stamp
from edge.recorder.tools import Tools, channel_name, monitor_of, stop_monitor

log = structlog.get_logger("recorder")

#: Frames of 20 ms that may be under way between the acknowledgement and the file, and that must be seen as zeros.
FRAMES: Final = 3
#: How often the file is looked at while its zeros are awaited, seconds.
POLL_S: Final = 0.05
#: While the zeros are awaited the tick stands still. Speech of before that gets so old by it is sealed at once,
#: nanoseconds (no byte gets older than 10 s).
AGED_NS: Final = 8_500_000_000
#: What a mute may take on top of two buffers' time, seconds.
PATIENCE_S: Final = 1.0


def frames(capture: Capture) -> int:
    """Bytes of FRAMES frames."""
    return capture.aligned(FRAMES * capture.byte_rate // 50)


async def pause(tools: Tools, capture: Capture) -> None:
    """See `RecorderPort.pause`. Whoever calls has the wish on file.

    A kill before the segment's row leaves a capture that runs on, perhaps with zeros in it, and is paused again by
    whoever compares the wish with `capture.muted`; behind `set_muted` recovery takes it up as paused.
    """
    async with capture.mute_lock:
        if _over(capture):
            return
        if capture.mute is not None:
            if capture.mute.failed:
                raise _failed(capture)
            await file(tools, capture)
            return
        async with capture.lock:
            if _over(capture):
                return
            await tools.in_worker(lambda: skip_silence(tools, capture))
            begin = capture.aligned(_size(tools, capture))
            capture.mute = mute = Mute(max(begin, capture.start))
        hit("pause.noted")
        why = await _told(tools, capture, True)
        if _over(capture):
            return  # `finish` cuts
        if why:
            async with capture.lock:
                await give_up(tools, capture, why)
            raise _failed(capture)
        hit("pause.muted")
        mute.limit = _size(tools, capture) + capture.buffer + frames(capture)
        await _zeros(tools, capture, mute)
        await file(tools, capture)
        log.info("recording is paused", recording=capture.recording_id)


async def resume(tools: Tools, capture: Capture) -> None:
    """See `RecorderPort.resume`. Before Asterisk is told, sound is expected again; the journal follows its answer.

    A kill on the way leaves `capture.muted` and no open pause: recovery expects sound too, and whoever compares the two
    resumes again. A capture that was taken up and may be muted (`Capture.maybe_muted`) is unmuted in any case.
    """
    async with capture.mute_lock:
        mute = capture.mute
        if _over(capture) or (mute is None and not capture.filed_muted and not capture.maybe_muted):
            return
        if mute is not None:
            async with capture.lock:
                if _over(capture):
                    return
                await advance(tools, capture)
                if mute.failed:
                    raise _failed(capture)
                if mute.cut is not None:
                    capture.awaits_sound, capture.next_offset = True, max(capture.start, mute.dropped)
                capture.mute = None  # without a cut nothing was written all the while: all that comes is to be kept
        hit("resume.noted")
        if capture.bridged_ns is not None:
            capture.bridged_ns = tools.clock.mono_ns()
        if why := await _told(tools, capture, False):
            raise CallwardenError("ami.unknown", f"the recording goes on muted: {why}", where=capture.recording_id)
        capture.maybe_muted = False
        hit("resume.unmuted")
        if mute is None and not capture.filed_muted:
            return
        await tools.journal.set_muted(capture.recording_id, False)
        capture.filed_muted = False
        hit("resume.filed")
        log.info("recording goes on", recording=capture.recording_id)


async def advance(tools: Tools, capture: Capture, *, closing: bool = False) -> None:
    """Look at a muted capture: find the cut, seal what is before it, check and free the zeros behind it. Lock held.

    `closing`: nobody writes any more. Raises CallwardenError or OSError when something cannot be had now.
    """
    mute = capture.mute
    assert mute is not None
    if mute.cut is None:
        mute.cut = await tools.in_worker(lambda: _cut(tools, capture, mute, closing))
        if mute.cut is None:
            return
        mute.dropped = mute.cut
    if not mute.sealed:
        await _end_segment(tools, capture)
        mute.sealed = True
    if await tools.in_worker(lambda: _drop(tools, capture, mute)):
        await give_up(tools, capture, "there is sound in the file while the monitor is muted")
    elif mute.failed and not mute.told:
        await give_up(tools, capture, "it could not be said before")
    elif mute.failed and not capture.channel_gone:
        await _stop(tools, capture)


async def give_up(tools: Tools, capture: Capture, why: str) -> None:
    """The mute does not hold, or nobody knows: from `cut` (or else from `begin`) on nothing is kept, and the monitor is
    stopped. Lock held. A kill behind `set_muted` finds a paused capture with sound in it and comes here again."""
    mute = capture.mute
    assert mute is not None
    mute.failed = True
    if mute.cut is None:
        mute.cut = mute.dropped = mute.begin
    try:
        if not mute.sealed:
            await _end_segment(tools, capture)
            mute.sealed = True
        if not mute.told:
            log.error("a pause failed; the recording is stopped", recording=capture.recording_id, why=why)
            await tools.journal.alarm("recorder.mute_failed", f"a pause failed: {why}", where=capture.recording_id)
            await file(tools, capture)
            await tools.journal.flag(capture.recording_id, "mute_failed", "")
            mute.told = True
            hit("pause.given_up")
        await tools.in_worker(lambda: _drop(tools, capture, mute))
    finally:  # a disk that takes nothing now is no reason to listen on; the rest is done at the next look
        await _stop(tools, capture)


async def _stop(tools: Tools, capture: Capture) -> None:
    try:
        await stop_monitor(tools, capture)
    except CallwardenError as error:  # tried again at every look; what comes meanwhile is dropped
        log.error("the monitor could not be stopped", recording=capture.recording_id, why=error.message)
    else:
        capture.channel_gone = True  # for this capture: it ends as soon as Asterisk has closed the file


def _over(capture: Capture) -> bool:
    return capture.finishing or capture.channel_gone


async def _told(tools: Tools, capture: Capture, on: bool) -> str:
    """Tell Asterisk; why it did not do it, or ""."""
    try:
        monitor = await monitor_of(tools, capture)
        if _over(capture):
            return ""
        if not monitor:
            return "no monitor of ours is known on the channel"
        done = await tools.asterisk.mute_monitor(channel_name(tools, capture), monitor, on)
    except CallwardenError as error:
        return error.message
    return "" if done else "Asterisk knows no such monitor"


async def _zeros(tools: Tools, capture: Capture, mute: Mute) -> None:
    """Wait until the zeros are seen. A file that does not grow (nobody is bridged) has none: then the segment ends with
    what there is, and the cut is looked for when bytes come. Raises CallwardenError recorder.mute_failed."""
    patience = 2 * capture.buffer / capture.byte_rate + PATIENCE_S
    end = tools.clock.mono_ns() + int(patience * 1e9)
    while not capture.finishing:
        async with capture.lock:
            if capture.mute is mute and not capture.finishing:
                await advance(tools, capture)
                if mute.cut is None and _aged(tools, capture):
                    await _end_segment(tools, capture)
        if mute.failed:
            raise _failed(capture)
        if mute.cut is not None and mute.dropped - mute.cut >= frames(capture):
            return
        if tools.clock.mono_ns() > end:
            if mute.cut is None:
                async with capture.lock:
                    await _end_segment(tools, capture)
            return
        await asyncio.sleep(POLL_S)


def _aged(tools: Tools, capture: Capture) -> bool:
    since = capture.unsealed_since_ns
    return since is not None and not capture.segment.ended and tools.clock.mono_ns() - since > AGED_NS


async def file(tools: Tools, capture: Capture) -> None:
    """The journal hears of the mute. Before the file's first byte it cannot: there is nothing yet to be paused. Nor before the
    segment's end: whoever takes up a muted capture takes what is behind the segment for zeros, and speech for a leak."""
    if capture.filed_muted or capture.finishing or not capture.segment.ended or not (capture.growing or capture.size):
        return
    if not capture.growing:
        await tools.journal.set_recording_state(capture.recording_id, "recording")
        capture.growing = True
    await tools.journal.set_muted(capture.recording_id, True)
    capture.filed_muted = True
    hit("pause.filed")


async def _end_segment(tools: Tools, capture: Capture) -> None:
    """Seal what may be sealed as the segment's end, and free it to the byte."""
    piece = await drain(tools, capture)
    await end_segment(tools, capture, piece, "pause")
    hit("pause.closed")
    stamp(tools, capture)
    end = capture.segment.spool_end
    await tools.in_worker(lambda: tools.spool.punch(capture.spool_name, end, whole=False))


def _cut(tools: Tools, capture: Capture, mute: Mute, closing: bool) -> int | None:
    """Where the zeros begin, if that can be said now. Blocks."""
    size = _size(tools, capture)
    room = capture.buffer + frames(capture)
    limit = mute.limit
    if limit is None:
        if not closing:
            return None
        limit = mute.begin + room
        if tools.spool.first_sound(capture.spool_name, limit, size) is not None:
            return max(mute.begin, capture.start)  # never acknowledged, and never in force
    sure = closing or size >= limit
    if not sure and size < limit - frames(capture):
        return None  # Asterisk's buffer of before is not out yet
    end = min(size, limit)
    last = tools.spool.last_sound(capture.spool_name, mute.begin, end)
    cut = min(size, capture.aligned(last + capture.frame_bytes - 1))
    if not sure and size - cut < frames(capture):
        return None  # it ends in sound, or in a silence too short to be told from one that somebody made
    return max(cut, capture.start)


def _drop(tools: Tools, capture: Capture, mute: Mute) -> bool:
    """Free what came behind the cut; true when it was not all zeros (then it stays until `failed` is set). Blocks."""
    size = _size(tools, capture)
    if size <= mute.dropped:
        return False
    if not mute.failed:
        sound = tools.spool.first_sound(capture.spool_name, max(mute.dropped, mute.spared), size)
        if sound is not None:
            return True
    tools.spool.punch(capture.spool_name, size, whole=False)
    mute.dropped = size
    hit("pause.dropped")
    return False


def _size(tools: Tools, capture: Capture) -> int:
    status = tools.spool.status(capture.spool_name)
    if status is None:
        raise CallwardenError("spool.lost", "the capture file is gone", where=capture.recording_id)
    capture.size = status[1]
    return capture.size


def _failed(capture: Capture) -> CallwardenError:
    return CallwardenError(
        "recorder.mute_failed",
        "the recording could not be muted, so it is stopped",
        where=capture.recording_id,
        hint="`callwarden why` names the reason; a further recording of the call starts when the pause ends",
    )
