"""The coverage watchdog: what was permitted and is not recorded, and what is recorded without a permit.

Cheap enough to run four times a second over hundreds of captures: a file is read only where it grew, and only while two
are bridged. What is to be done about what is seen is for those to judge who know the call (`tools.Watch`).
"""

from __future__ import annotations

import os
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.recorder.capture import Capture
from edge.recorder.sides import Sides
from edge.recorder.tools import Tools, Watch, channel_name

log = structlog.get_logger("recorder")

#: How soon the same silence is told again, nanoseconds.
AGAIN_NS: Final = 3_000_000_000
#: A bridged capture whose file has not grown for this long stands still, nanoseconds; two of Asterisk's buffers where
#: those take longer to fill.
STALL_NS: Final = 3_000_000_000
#: A spool with less room than this, or than a twentieth of its size, takes no further recording: 1 MiB is one buffer of
#: 32 captures, and what 32 captures fill in one second while the sealer is away.
ROOM: Final = 1 << 20
ROOM_SHARE: Final = 20
#: A bridged capture whose writer is gone is taken for stopped by somebody else when neither a hang-up nor a stop of ours
#: explains it for so long, nanoseconds: events of hang-ups come within milliseconds.
LEFT_NS: Final = 1_000_000_000
#: How long an ordered monitor is awaited before one that is seen counts as somebody else's, nanoseconds.
ORDERED_NS: Final = 10_000_000_000


class Watchdog:
    """Looks at all captures of one recorder."""

    def __init__(self, tools: Tools, hears: Watch) -> None:
        self._tools = tools
        self._hears = hears
        self._ordered: dict[str, list[int]] = {}
        #: Why no further recording may start, or None.
        self.full: CallwardenError | None = None

    # ------------------------------------------------------------ one side

    def listen(self, capture: Capture) -> None:
        """Look at what came since the last time; tell of a side that is silent, and when it sounds again."""
        sides = capture.sides
        if sides is None:
            return
        status = self._tools.spool.status(capture.spool_name)
        size = capture.aligned(status[1]) if status else 0
        if capture.bridged_ns is None or capture.mute is not None or capture.awaits_sound:
            sides.forget(size)
            return
        start = max(sides.seen, capture.start)  # before that it may be sealed and freed, and reads as zeros
        if start > sides.seen:
            sides.forget(start)
        if size <= start:
            return
        sides.listen(self._tools.spool.read(capture.spool_name, start, size))
        sides.seen = size
        self._tell(capture, sides)

    def _tell(self, capture: Capture, sides: Sides) -> None:
        now, rate = self._tools.clock.mono_ns(), capture.byte_rate // capture.frame_bytes
        side = sides.silent(rate)
        if side and (side != sides.told or now - sides.told_ns > AGAIN_NS):
            log.warning("one side is silent to the bit", recording=capture.recording_id, side=side)
            sides.told, sides.told_ns = side, now
            self._hears.on_one_sided(capture.recording_id, side)
        elif sides.told and sides.sounds(sides.told, rate):
            sides.told = ""
            self._hears.on_two_sided(capture.recording_id)

    # ------------------------------------------------------------ growth and room

    def stalled(self, capture: Capture) -> bool:
        """Whether it is bridged, grew before, and does not any more."""
        if capture.bridged_ns is None or capture.mute is not None or not capture.size:
            return False
        limit = max(STALL_NS, 2 * capture.buffer * 1_000_000_000 // capture.byte_rate)
        return self._tools.clock.mono_ns() - max(capture.grew_ns, capture.bridged_ns) > limit

    def growth(self, capture: Capture) -> None:
        """Say once that a capture stands still."""
        stalled = self.stalled(capture)
        if stalled and not capture.told_gap:
            log.warning("a bridged recording does not grow", recording=capture.recording_id)
            self._hears.on_gap(capture.recording_id)
        capture.told_gap = stalled

    def left(self, capture: Capture) -> bool | None:
        """Nobody writes this file any more. Whether it was left by a monitor that neither we nor a hang-up ended; None
        while that cannot be told yet."""
        if capture.channel_gone or capture.told_to_stop or capture.bridged_ns is None or not self._tools.asterisk.up:
            return False
        now = self._tools.clock.mono_ns()
        if capture.left_ns is None:
            capture.left_ns = now
        return True if now - capture.left_ns >= LEFT_NS else None

    async def tell_left(self, capture: Capture) -> None:
        """Tell of it, once, unless Asterisk says that the channel is gone: then only its event is late."""
        if capture.told_gap:
            return
        try:
            await self._tools.asterisk.get_variable(channel_name(self._tools, capture), "CALLWARDEN_MONITOR")
        except CallwardenError as error:
            log.info("a channel cannot be asked about its monitor", recording=capture.recording_id, why=error.message)
            return
        if capture.told_to_stop or capture.channel_gone or capture.bridged_ns is None:
            return
        log.error("somebody else stopped a permitted recording in mid-call", recording=capture.recording_id)
        capture.told_gap = True
        self._hears.on_gap(capture.recording_id)

    async def room(self) -> None:
        """Look at the spool's room; alarm once, and again after it was there in between."""
        found = os.statvfs(self._tools.spool.folder)
        left, least = found.f_bavail * found.f_frsize, max(ROOM, found.f_blocks * found.f_frsize // ROOM_SHARE)
        if left >= least:
            self.full = None
            return
        if self.full is None:
            self.full = CallwardenError(
                "spool.full",
                f"the capture spool has {left >> 10} KiB left of {(found.f_blocks * found.f_frsize) >> 10}",
                where=str(self._tools.spool.folder),
                hint="make the tmpfs larger, or find out why nothing is sealed (`callwarden status`)",
                retryable=True,
            )
            log.error("the capture spool is full", left=left, least=least)
            await self._tools.journal.alarm("spool.full", self.full.message, where=self.full.where)

    # ------------------------------------------------------------ other people's monitors

    def ordered(self, channel_uid: str) -> None:
        """A monitor of ours begins on this channel any moment."""
        now = self._tools.clock.mono_ns()
        self._ordered = {u: left for u, t in self._ordered.items() if (left := [x for x in t if now - x < ORDERED_NS])}
        self._ordered.setdefault(channel_uid, []).append(now)

    def seen(self, channel_uid: str) -> None:
        """A monitor began on this channel: ours where one was ordered, else somebody else's."""
        now = self._tools.clock.mono_ns()
        ordered = [at for at in self._ordered.pop(channel_uid, []) if now - at < ORDERED_NS]
        if not ordered:
            log.warning("a monitor began that was not ordered here", channel=channel_uid)
            self._hears.on_rogue(channel_uid)
        elif ordered[1:]:
            self._ordered[channel_uid] = ordered[1:]
