"""Work side of the recorder: rounds over all live captures.

`run` ticks (read, seal, sync, one commit, punch), looks at every capture in between, and finishes those whose writer is
gone. The write orders are `tick`, `rotate` and `close` of docs/invariants.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.recorder import endings, incident, muting, recovery, sealer
from edge.recorder.capture import Capture
from edge.recorder.tools import NOBODY, LiveCaptures, Tools, Watch, stop_monitor
from edge.recorder.watch import Watchdog

log = structlog.get_logger("recorder")

#: A permitted recording whose file has not grown so long after its caller was bridged is alarmed (Asterisk's
#: two-channel buffer of 32 KiB is flushed after 1.02 s at 8 kHz).
GROWTH_DEADLINE_NS: Final = 3_000_000_000
#: After so long without a new byte what is in the spool is sealed as it is, nanoseconds. Asterisk's buffer fills in
#: 1 s (two channels) or 2 s (one); with a chunk's 4 s and the rescan's 1 s no byte gets older than 10 s.
SETTLE_NS: Final = 4_000_000_000
#: A buffer that takes longer than this to fill (one-byte samples: 4.1 s) is waited for by as much longer, nanoseconds.
SETTLE_BUFFER_NS: Final = 3_500_000_000
#: Likewise for the growth that is awaited.
GROWTH_BUFFER_NS: Final = 2_000_000_000
#: How often captures are looked at between ticks when nothing announces itself, seconds.
RESCAN_S: Final = 1.0
#: How often the watchdog listens while two are bridged, seconds: Asterisk writes once a second, and a side that fell
#: silent is told before the next buffer.
LISTEN_S: Final = 0.25
#: After a start so many pauses between ticks are half as long: a daemon that is killed every few seconds would else seal
#: once in each of its lives, and what came while it was dead adds up.
HURRIED_TICKS: Final = 2
#: After its channel is gone a file is looked at so often until Asterisk has closed it, seconds.
CLOSE_POLL_S: Final = 0.05

Ending = Callable[[Tools, LiveCaptures, Capture], Coroutine[Any, Any, None]]


class Rounds:
    """All live captures of this edge, looked after until each is sealed."""

    def __init__(self, tools: Tools, watch: Watch = NOBODY) -> None:
        self._tools = tools
        self._hears = watch
        self._watchdog = Watchdog(tools, watch)
        self._live = LiveCaptures()
        self._tick_s = 4.0
        self._wake = asyncio.Event()
        self._called: set[str] = set()
        self._strange = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tick until cancelled."""
        clock = self._tools.clock
        next_tick = next_scan = clock.mono_ns()
        hurried = HURRIED_TICKS
        while True:
            now = clock.mono_ns()
            self._listen()
            if now >= next_tick:
                await sealer.tick(self._tools, list(self._live))
                next_tick = now + int(self._tick_s * (0.5 if hurried else 1) * 1e9)
                hurried = max(0, hurried - 1)
            called, self._called = self._called, set()
            if now >= next_scan or self._strange:
                self._strange = False
                await recovery.remove_strangers(self._tools, {c.spool_name for c in self._live})
                await self._room()
                await self._look(list(self._live))
                next_scan = now + int(RESCAN_S * 1e9)
            else:
                await self._look([c for c in self._live if c.channel_gone or c.recording_id in called])
            waiting = any(c.channel_gone and not c.finishing for c in self._live)
            pause = max(0.0, (min(next_tick, next_scan) - clock.mono_ns()) / 1e9)
            if any(c.sides and c.bridged_ns is not None for c in self._live):
                pause = min(pause, LISTEN_S)
            if not self._called and not self._strange:
                self._wake.clear()
            # Not wait_for: in Python 3.11 that loses a cancellation which comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(CLOSE_POLL_S, pause) if waiting else pause):
                    await self._wake.wait()

    def _listen(self) -> None:
        """Is a side silent that should be heard?"""
        for capture in self._live:
            if not capture.finishing and not capture.channel_gone:
                with contextlib.suppress(CallwardenError, OSError):  # the next look meets the same and deals with it
                    self._watchdog.listen(capture)

    async def _room(self) -> None:
        """A full spool takes nothing more: captures that stand still in it have lost audio, and end."""
        try:
            await self._watchdog.room()
        except OSError as error:
            log.error("the spool cannot be looked at", why=error.strerror)
        if self._watchdog.full is None:
            return
        for capture in self._live:
            if self._watchdog.stalled(capture) and not capture.finishing and not capture.channel_gone:
                log.error("a recording is stopped: the spool is full", recording=capture.recording_id)
                try:
                    await self._tools.journal.flag(capture.recording_id, "gap", "spool.full")
                    await stop_monitor(self._tools, capture)
                except CallwardenError as error:
                    log.error("the monitor could not be stopped", recording=capture.recording_id, why=error.message)
                else:
                    capture.channel_gone = True  # for this capture: it ends as soon as Asterisk has closed the file

    async def _look(self, captures: list[Capture]) -> None:
        """Notice growth, silence and closed files; start finishing what is over."""
        tools = self._tools
        grown: list[Capture] = []
        over: list[tuple[Capture, Ending]] = []
        still: list[Capture] = []
        for capture in captures:
            if capture.finishing:
                continue
            if capture.unwanted:
                over.append((capture, endings.abort))
                continue
            try:
                status = tools.spool.status(capture.spool_name)
                gone = status is not None and self._writer_gone(capture, status[1])
            except OSError as error:
                await sealer.stuck(tools, capture, error)  # no descriptor free, say: the next round asks again
                continue
            except CallwardenError as error:
                await tools.journal.alarm(error.code, error.message, where=error.where)
                status = None
            if status is None or status[0] != capture.inode or status[1] < capture.floor:
                over.append((capture, endings.spool_lost))
                continue
            capture.size = status[1]
            if not gone and not await self._muted(capture):
                continue
            sealer.stamp(tools, capture)
            self._watchdog.growth(capture)
            if capture.size and not capture.growing:
                grown.append(capture)
            left = self._watchdog.left(capture) if gone else False
            if gone and left is not None:
                over.append((capture, self._left if left else endings.finish))
            elif not capture.size and not capture.growing and capture.mute is None and self._overdue(capture):
                over.append((capture, endings.never_grew))
                self._hears.on_gap(capture.recording_id)
            elif capture.unsealed and capture.mute is None and _settled(capture, tools.clock.mono_ns()):
                still.append(capture)
        await self._grew(grown)
        for capture in still:
            await sealer.settle(tools, capture)
        for capture, ending in over:
            self._spawn(capture, ending(tools, self._live, capture))

    async def _left(self, tools: Tools, live: LiveCaptures, capture: Capture) -> None:
        await self._watchdog.tell_left(capture)
        await endings.finish(tools, live, capture)

    async def _muted(self, capture: Capture) -> bool:
        """Look after what is to be dropped, and after a pause; false when that failed for now."""
        try:
            incident.discard(self._tools, capture)
            if capture.awaits_sound:
                async with capture.lock:
                    await self._tools.in_worker(lambda: sealer.skip_silence(self._tools, capture))
            if capture.mute is not None and not capture.lock.locked():
                async with capture.lock:
                    if capture.mute is not None:  # who had the lock before may have resumed
                        await muting.advance(self._tools, capture)
            if capture.mute is not None and not capture.filed_muted and not capture.mute_lock.locked():
                async with capture.mute_lock:  # a pause that a full disk cut short: what it had to seal is sealed now
                    if capture.mute is not None:
                        await muting.file(self._tools, capture)
        except (CallwardenError, OSError) as error:
            await sealer.stuck(self._tools, capture, error)
            return False
        return True

    def _writer_gone(self, capture: Capture, size: int) -> bool:
        return bool(size or capture.channel_gone) and self._tools.spool.writer_gone(capture.spool_name)

    async def _grew(self, captures: list[Capture]) -> None:
        """These record for sure: all their rows in one commit, and before one of them ends."""
        for capture in captures:
            capture.growing = True
        words = (self._tools.journal.set_recording_state(c.recording_id, "recording") for c in captures)
        answers = await asyncio.gather(*words, return_exceptions=True)
        for capture, answer in zip(captures, answers, strict=True):
            if capture.mute is not None and not isinstance(answer, BaseException):
                answer = await self._file_mute(capture)  # paused before its first byte
            if isinstance(answer, CallwardenError):
                capture.growing = False  # said again on the next round; meanwhile it is sealed all the same
                log.error("growth is not on file", recording=capture.recording_id, why=answer.message)
            elif isinstance(answer, BaseException):
                raise answer

    async def _file_mute(self, capture: Capture) -> CallwardenError | None:
        try:
            await muting.file(self._tools, capture)
        except CallwardenError as error:
            return error
        return None

    def _overdue(self, capture: Capture) -> bool:
        return (
            capture.bridged_ns is not None
            and self._tools.clock.mono_ns() - capture.bridged_ns
            > GROWTH_DEADLINE_NS + max(0, capture.buffer_ns - GROWTH_BUFFER_NS)
        )

    def _spawn(self, capture: Capture, work: Coroutine[Any, Any, None]) -> None:
        capture.finishing = True

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # whatever it is: left alone, its speech would stay in the spool for good
                await sealer.stuck(self._tools, capture, error)
                await asyncio.sleep(RESCAN_S)
                capture.finishing = False  # looked at again on the next round

        self._keep(asyncio.create_task(guarded()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(self, capture: Capture) -> None:
        """Have this capture looked at now; the others wait for the next rescan."""
        self._called.add(capture.recording_id)
        self._wake.set()


def _settled(capture: Capture, now_ns: int) -> bool:
    """Whether nothing has come for longer than Asterisk's buffer explains."""
    return now_ns - capture.grew_ns > SETTLE_NS + max(0, capture.buffer_ns - SETTLE_BUFFER_NS)
