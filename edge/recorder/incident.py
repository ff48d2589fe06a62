"""Something was recorded that must not be kept: its segments end now, and their keys are destroyed.

Write order `shred`: the open segment ends without what is not sealed yet; the next one begins behind everything that
Asterisk may still have in its buffer; intent (rows `shredded`); keys overwritten here. What follows (central's keeper,
payloads) is the retention stage's, which repeats it until it is done.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.recorder.capture import Capture
from edge.recorder.keys import make_keys
from edge.recorder.muting import frames
from edge.recorder.sealer import end_segment, open_next
from edge.recorder.tools import Tools

log = structlog.get_logger("recorder")


async def shred(tools: Tools, capture: Capture | None, recording_id: str, since: str) -> int:
    """See `RecorderPort.shred_segment`. `capture`: where it is live. Raises CallwardenError command.held, journal.*,
    vault.*."""
    await _refuse_held(tools, recording_id, since)
    if capture is not None:
        async with capture.lock:
            if not capture.done.is_set():
                await _cut_off(tools, capture)
    rows = await tools.journal.shred_segments(recording_id, since)
    hit("shred.intended")
    for row in rows:
        tools.resume.destroy(row.segment_id)
    await tools.slots.shred([row.header.slot for row in rows])
    hit("shred.slots_shredded")
    log.warning("segments are destroyed after an incident", recording=recording_id, count=len(rows))
    return len(rows)


async def _refuse_held(tools: Tools, recording_id: str, since: str) -> None:
    """A hold keeps what was recorded under a permit, as it does before every erasure. What came after the answer was
    taken back has none, and goes all the same."""
    row = await tools.journal.recording(recording_id)
    holds = await tools.journal.holds_on(recording_id, row.call_id) if row else ()
    if row is None or not holds:
        return
    revoked = await tools.journal.revoked_at(row.call_id)
    if revoked is not None and datetime.fromisoformat(since) >= datetime.fromisoformat(revoked):
        return
    raise CallwardenError(
        "command.held",
        f"nothing of this recording may be destroyed now: under hold: {'; '.join(holds)}",
        where=recording_id,
        hint="who placed the hold must release it first; then report the incident again",
    )


async def _cut_off(tools: Tools, capture: Capture) -> None:
    """End the open segment; drop what is in the spool, and what is still in Asterisk's buffer when it comes."""
    status = tools.spool.status(capture.spool_name)
    capture.size = size = status[1] if status else capture.size
    old, mute = capture.segment, capture.mute
    goes_on = not capture.finishing and not capture.channel_gone
    # Rounded up: a sample that is half there is dropped whole. After a hang-up, too, a buffer may still be flushed.
    behind = capture.aligned(size + capture.frame_bytes - 1) + capture.buffer + frames(capture)
    await end_segment(tools, capture, None, "erase")
    hit("shred.segment_ended")
    if mute is None or mute.cut is None:
        capture.next_offset = max(capture.start, behind)
        capture.discard_to = capture.next_offset
        if status is not None:  # else there is nothing left to be freed
            discard(tools, capture)
    if mute is None:
        capture.awaits_sound = False  # the zeros of a pause before it are among what is dropped
    if mute is None and goes_on:
        keys = await make_keys(tools.slots, capture.suite, capture.recording_id, capture.recipients)
        await open_next(tools, capture, keys, number=old.number + 1, spool_offset=capture.next_offset)


def discard(tools: Tools, capture: Capture) -> None:
    """Free what came of the bytes that are to be dropped unsealed."""
    if not capture.discard_to:
        return
    tools.spool.punch(capture.spool_name, min(capture.size, capture.discard_to), whole=False)
    if capture.size >= capture.discard_to:
        capture.discard_to = 0
