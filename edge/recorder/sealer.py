"""Write order `tick`, and what happens to a segment that can or must not go on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import NewSegment
from edge.recorder import afterwork
from edge.recorder.capture import Capture, OpenSegment, Piece, SegmentBroken
from edge.recorder.keys import SegmentKeys, make_keys
from edge.recorder.tools import Tools, stop_monitor
from formats.errors import FormatError
from formats.place import Place

log = structlog.get_logger("recorder")

#: Plaintext that cannot be sealed for so long ends the capture.
MAX_UNSEALED_NS: Final = 30_000_000_000

#: Segments in a row that one ending may begin and find unusable before it is put off.
MAX_BROKEN: Final = 3

Sealed = Piece | CallwardenError | OSError | SegmentBroken | None


def try_seal(tools: Tools, capture: Capture, *, closing: bool = False) -> Sealed:
    """Seal what can be sealed, or say as a value why not: one broken capture must not hold up the others of its tick."""
    try:
        skip_silence(tools, capture)
        return capture.seal(tools.spool, tools.vault, tools.resume, closing=closing)
    except (SegmentBroken, CallwardenError, OSError) as error:
        return error


def skip_silence(tools: Tools, capture: Capture) -> None:
    """After a pause: free the exact zeros before the first sound, which is where the next segment begins."""
    if not capture.awaits_sound:
        return
    status = tools.spool.status(capture.spool_name)
    capture.size = size = status[1] if status else capture.size
    upto = size if capture.seal_to is None else min(size, capture.seal_to)
    sound = tools.spool.first_sound(capture.spool_name, capture.start, upto)
    capture.next_offset = max(capture.start, capture.aligned(upto if sound is None else sound))
    capture.awaits_sound = sound is None
    tools.spool.punch(capture.spool_name, capture.next_offset)


async def drain(tools: Tools, capture: Capture) -> Piece | None:
    """Seal everything that may be sealed, last chunk included, in as many segments as it takes; lock held.

    Returns the last piece, not committed: `end_segment` does that. Raises CallwardenError or OSError when that fails.
    """
    broken = 0
    while True:
        result = await tools.in_worker(lambda: try_seal(tools, capture, closing=True))
        if isinstance(result, SegmentBroken):
            broken += 1
            if broken > MAX_BROKEN:
                raise CallwardenError("spool.unsealable", str(result), retryable=True, where=capture.recording_id)
            await roll(tools, capture, None, "resume_refused", str(result))
        elif isinstance(result, Exception):
            raise result
        elif result is not None and result.rotate:
            await roll(tools, capture, result, "rotate")
        else:
            return result


async def tick(tools: Tools, captures: Sequence[Capture]) -> None:
    """Read, seal and sync every capture, commit all progress at once, then free the sealed bytes.

    A kill before the commit leaves the same bytes in the spool to be sealed again; one before the punch leaves bytes
    that are both sealed and in the spool, freed by the next tick.
    """
    busy = [c for c in captures if not c.finishing and c.mute is None and not c.lock.locked()]
    if not busy:
        return
    async with AsyncExitStack() as held:
        for capture in busy:
            await held.enter_async_context(capture.lock)
        # Somebody may have stood in line for a lock: what is paused or over now is not the tick's any more.
        busy = [c for c in busy if not c.finishing and c.mute is None]
        try:
            # What a broken segment could not take is sealed into the next one at once, not a whole tick later; once
            # only, so that a capture which breaks every segment costs two a tick and no more.
            if broken := await _seal_all(tools, busy):
                await _seal_all(tools, broken)
        except (CallwardenError, OSError) as error:
            for capture in busy:
                await stuck(tools, capture, error)


async def _seal_all(tools: Tools, busy: Sequence[Capture]) -> list[Capture]:
    """One pass over captures whose lock is held; those whose segment was broken and has a successor now."""
    broken = []
    results = await tools.in_worker(lambda: [try_seal(tools, c) for c in busy])
    done = [(c, r) for c, r in zip(busy, results, strict=True) if isinstance(r, Piece) and not r.last]
    if done:
        await tools.journal.progress([piece.progress for _, piece in done])
        hit("seal.committed")
        for capture, piece in done:
            capture.commit(piece)
            capture.alarmed = ""
            stamp(tools, capture)
        await tools.in_worker(lambda: _punch(tools, [c for c, _ in done]))
    for capture, result in zip(busy, results, strict=True):
        if isinstance(result, SegmentBroken):
            await roll(tools, capture, None, "resume_refused", str(result))
            broken.append(capture)
        elif isinstance(result, Exception):
            await stuck(tools, capture, result)
        elif result is not None and result.rotate:
            await roll(tools, capture, result, "rotate")
    return broken


def _punch(tools: Tools, captures: Sequence[Capture]) -> None:
    for capture in captures:
        tools.spool.punch(capture.spool_name, capture.segment.spool_end)


def stamp(tools: Tools, capture: Capture) -> None:
    """Note since when the oldest byte that is not sealed lies in the spool: bytes come at the format's own pace."""
    now = tools.clock.mono_ns()
    if capture.size != capture.grew_size:
        capture.grew_size, capture.grew_ns = capture.size, now
    waiting_ns = capture.unsealed * 1_000_000_000 // capture.byte_rate
    capture.unsealed_since_ns = capture.grew_ns - waiting_ns if capture.unsealed else None


async def stuck(tools: Tools, capture: Capture, error: Exception) -> None:
    """Nothing durable can be had now: keep the plaintext in memory for a while, then end the capture."""
    code = error.code if isinstance(error, CallwardenError | FormatError) else "vault.io"
    if capture.alarmed != code:  # it is tried every few seconds, perhaps for hours: said once
        capture.alarmed = code
        log.error(
            "sealing failed; the audio stays in the spool", recording=capture.recording_id, code=code, why=str(error)
        )
        await tools.journal.alarm(
            code, "sealing failed; the audio stays in the spool for now", where=capture.recording_id
        )
    since = capture.unsealed_since_ns
    if since is None or capture.channel_gone or tools.clock.mono_ns() - since < MAX_UNSEALED_NS:
        return
    log.error("capture is stopped: nothing could be sealed for 30 s", recording=capture.recording_id)
    try:
        await stop_monitor(tools, capture)
    except CallwardenError as failure:
        log.error("the monitor could not be stopped", recording=capture.recording_id, why=failure.message)


async def roll(tools: Tools, capture: Capture, piece: Piece | None, reason: str, why: str = "") -> None:
    """End the open segment, closed after `piece` or truncated where it stands, and begin the next one.

    Order: row of the old, resume key of the old away, slot of the next, row of the next, its resume key. A failure or a
    kill between the rows leaves a live recording without an open segment, to which the next roll or recovery adds one.
    """
    if why:
        log.warning("a new segment starts", recording=capture.recording_id, why=why)
    offset = tools.spool.next_data(capture.spool_name, capture.segment.spool_end)
    if piece is not None:
        offset = capture.segment.spool_offset + piece.progress.plain_bytes
    elif capture.segment.ended:
        offset = max(offset, capture.start)
    elif offset > capture.segment.spool_end:  # freed without being on file as sealed: that much is lost
        reason = "power_cut"
    await end_segment(tools, capture, piece, reason)
    old = capture.segment
    keys = await make_keys(tools.slots, capture.suite, capture.recording_id, capture.recipients)
    await open_next(tools, capture, keys, number=old.number + 1, spool_offset=offset)
    await tools.in_worker(lambda: tools.spool.punch(capture.spool_name, capture.segment.spool_offset))


async def end_segment(tools: Tools, capture: Capture, piece: Piece | None, reason: str) -> None:
    """Close the open segment for good, unless that is done."""
    old = capture.segment
    if old.ended:
        return
    if piece is None and tools.vault.length(capture.recording_id, old.segment_id) > old.payload_bytes:
        await tools.in_worker(lambda: tools.vault.truncate(capture.recording_id, old.segment_id, old.payload_bytes))
    state = "truncated" if piece is None else "closed"
    await tools.journal.close_segment(capture.closed(piece, state=state, reason=reason))
    if piece is not None:
        capture.commit(piece)
    old.ended = True
    hit("rotate.closed")
    if piece is None:  # whatever broke it may have made of its key what must not seal again
        tools.resume.destroy(old.segment_id)
    if reason != "erase":
        afterwork.begin(tools, capture, whole=piece is not None)


async def settle(tools: Tools, capture: Capture) -> None:
    """Nothing came for a while (the caller waits for an agent again): what lies in the spool must not grow old there.

    The segment ends with what there is; bytes that come later begin the next one.
    """
    async with capture.lock:
        if capture.finishing or capture.mute is not None:
            return
        result = await tools.in_worker(lambda: try_seal(tools, capture, closing=True))
        if not isinstance(result, Piece):
            return  # the next tick meets the same and deals with it
        try:
            if result.rotate:
                await roll(tools, capture, result, "rotate")
                return
            await end_segment(tools, capture, result, "pause")
            stamp(tools, capture)
            end = capture.segment.spool_end
            await tools.in_worker(lambda: tools.spool.punch(capture.spool_name, end, whole=False))
        except (CallwardenError, OSError) as error:
            await stuck(tools, capture, error)


async def open_next(tools: Tools, capture: Capture, keys: SegmentKeys, *, number: int, spool_offset: int) -> None:
    """Row, then resume key, of the segment that takes the bytes from `spool_offset` on."""
    await tools.journal.add_segment(
        NewSegment(keys.segment_id, capture.recording_id, number, capture.capture_id, spool_offset, keys.header)
    )
    hit("rotate.added")
    key = tools.resume.make(keys.segment_id, keys.file_key, keys.salt, capture.inode)
    # Before the save: without a resume key this daemon goes on all the same, and only a restart begins a new segment.
    sealer = capture.suite.sealer(keys.file_key, keys.salt, Place(capture.recording_id, keys.segment_id))
    capture.segment = OpenSegment(keys.segment_id, number, spool_offset, key, sealer)
    if capture.suite.resumes:
        tools.resume.save(key)
