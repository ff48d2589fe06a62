"""STAGE: from a permit to a sealed recording.

Call side: `prepare` while the prompt plays, `begin` once the permit is on file, `confirm` or `fail` when Asterisk has
answered. Work side: `run` ticks over all live captures (read, seal, sync, one commit, punch) and finishes those whose
writer is gone. The write orders are `start`, `tick` and `close` of docs/invariants.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from edge.consent.permit import Permit
from edge.consent.policy import Policy, seal_tick
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import MonitorOrder, NewRecording, NewSegment
from edge.recorder import endings, incident, muting, recovery, sealer
from edge.recorder.capture import Capture, OpenSegment
from edge.recorder.keys import SegmentKeys, make_keys
from edge.recorder.sides import Sides
from edge.recorder.spool import PAIR, Spool, files_of
from edge.recorder.tools import NOBODY, LiveCaptures, Tools, Watch, stop_monitor
from edge.recorder.watch import Watchdog
from formats.age import ChunkSealer

log = structlog.get_logger("recorder")

#: A permitted recording whose file has not grown so long after its caller was bridged is alarmed (Asterisk's
#: two-channel buffer of 32 KiB is flushed after 1.02 s at 8 kHz).
GROWTH_DEADLINE_NS: Final = 3_000_000_000
#: After so long without a new byte what is in the spool is sealed as it is, nanoseconds. Asterisk's buffer fills in
#: 1 s (two channels) or 2 s (one); with a chunk's 4 s and the rescan's 1 s no byte gets older than 10 s.
SETTLE_NS: Final = 4_000_000_000
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
#: How long a told Asterisk may take to close a file, seconds.
STOP_TIMEOUT_S: Final = 10.0


Ending = Callable[[Tools, LiveCaptures, Capture], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Keys for a recording that may come to be; `discard` them when it does not."""

    recording_id: str
    capture_id: str
    spool_name: str
    keys: SegmentKeys


def _order(spool: Spool, name: str, policy: Policy) -> MonitorOrder:
    """MixMonitor's options: only while bridged, two channels in one file or two, a periodic beep."""
    options = "" if policy.wait == "record" else "b"
    files = files_of(name)
    path = spool.path(name)
    if len(files) == 2:  # r: what the caller says, t: what the caller hears; no file in which both are mixed
        path, options = "", f"{options}Sr({spool.path(files[0])})t({spool.path(files[1])})"
    elif policy.capture.channels == 2:
        options += "D"
    return MonitorOrder(path, options + (f"B({round(policy.beep)})" if policy.beep else ""))


class Recorder:
    """All live captures of this edge."""

    def __init__(self, tools: Tools, watch: Watch = NOBODY) -> None:
        self._tools = tools
        self._hears = watch
        self._watchdog = Watchdog(tools, watch)
        self._strange = False
        #: Whether this Asterisk's MixMonitor has option D; without it two channels are two files. Set by who asked it.
        self.has_d = True
        self._live = LiveCaptures()
        self._tick_s = 4.0
        self._wake = asyncio.Event()
        self._called: set[str] = set()
        self._silence: list[tuple[str, str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ call side

    async def prepare(self, policy: Policy) -> Prepared:
        """Keys and names for one recording. Raises CallwardenError vault.* or recipient.* when it cannot be sealed."""
        recording_id = secrets.token_hex(16)
        two = "raw" if self.has_d else PAIR.removeprefix(".")
        suffix = two if policy.capture.channels == 2 else "sln"
        keys = await make_keys(self._tools.slots, recording_id, policy.recipients)
        return Prepared(recording_id, secrets.token_hex(16), f"{secrets.token_hex(16)}.{suffix}", keys)

    async def discard(self, prepared: Prepared) -> None:
        """The answer was no: its shred key is overwritten and the slot free again."""
        await self._tools.slots.release([prepared.keys.header.slot])

    def rows(
        self, prepared: Prepared, permit: Permit, policy: Policy, channel_uid: str, channel_name: str
    ) -> NewRecording:
        """The rows that `grant` commits together with the permit, before anything is told to Asterisk."""
        return NewRecording(
            recording_id=prepared.recording_id,
            call_id=permit.call_id,
            permit_id=permit.permit_id,
            channel_uid=channel_uid,
            channel_name=channel_name,
            suite="age1",
            capture_id=prepared.capture_id,
            spool_name=prepared.spool_name,
            codec=policy.capture.codec,
            rate=policy.capture.rate,
            channels=policy.capture.channels,
            segment=NewSegment(
                prepared.keys.segment_id, prepared.recording_id, 0, prepared.capture_id, 0, prepared.keys.header
            ),
            started_at=self._tools.clock.wall_text(),
        )

    def begin(self, permit: Permit, prepared: Prepared, new: NewRecording, policy: Policy) -> MonitorOrder:
        """The permit is on file: resume key, spool file, live capture. The one way a recording starts.

        Raises CallwardenError spool.unwritable; the recording's row is then closed by `fail`.
        """
        if permit.permit_id != new.permit_id or permit.call_id != new.call_id:
            raise ValueError("this permit is for another recording")
        keys = prepared.keys
        inode = self._tools.spool.create(new.spool_name)
        key = self._tools.resume.make(keys.segment_id, keys.file_key, keys.nonce, inode)
        try:
            self._tools.resume.save(key)
        except OSError as error:
            self._tools.spool.unlink(new.spool_name)
            raise CallwardenError(
                "spool.unwritable", f"the resume key cannot be kept: {error.strerror}", where=str(error.filename),
                hint="[edge] resume must be a folder in memory that the daemon may write, with room left",
            ) from error  # fmt: skip
        hit("start.resume_saved")
        segment = OpenSegment(keys.segment_id, 0, 0, key, ChunkSealer(keys.file_key, keys.nonce))
        self._live.add(
            Capture(
                recording_id=new.recording_id,
                call_id=new.call_id,
                channel_uid=new.channel_uid,
                channel_name=new.channel_name,
                spool_name=new.spool_name,
                capture_id=new.capture_id,
                byte_rate=policy.capture.byte_rate,
                frame_bytes=policy.capture.frame_bytes,
                tick_s=seal_tick(policy),
                recipients=policy.recipients,
                inode=inode,
                segment=segment,
                sides=Sides() if new.channels == 2 else None,
            )
        )
        self._watchdog.ordered(new.channel_uid)
        self._tick_s = min(self._tick_s, seal_tick(policy))
        return _order(self._tools.spool, new.spool_name, policy)

    async def confirm(self, recording_id: str, monitor_id: str) -> None:
        """Asterisk said that the monitor runs (growth of the file is what proves it).

        The id is filed without waiting for it: a restart finds it in the channel's variable, too.
        """
        if capture := self._live.recording(recording_id):
            capture.monitor_id = monitor_id
        self._keep(asyncio.create_task(self._file(recording_id, monitor_id)))

    async def _file(self, recording_id: str, monitor_id: str) -> None:
        try:
            await self._tools.journal.set_monitor(recording_id, monitor_id)
        except CallwardenError as error:
            log.warning("the monitor's id is not on file", recording=recording_id, why=error.message)

    async def fail(self, recording_id: str) -> None:
        """The monitor did not start, or nobody knows: it is stopped if it runs, and the recording closed, soon."""
        if (capture := self._live.recording(recording_id)) is not None:
            capture.unwanted = True
            self._call(capture)
        else:
            await self._tools.journal.set_recording_state(recording_id, "no_audio")

    async def stop(self, recording_id: str, reason: str) -> None:
        """End a live capture and wait until it is sealed. Returns at once when it is not live.

        Raises CallwardenError ami.* when Asterisk cannot be told, spool.still_written when it does not let go.
        """
        capture = self._live.recording(recording_id)
        if capture is None:
            return
        capture.stop_reason = reason
        if not capture.channel_gone:
            await stop_monitor(self._tools, capture)
        capture.channel_gone = True  # for this capture: nobody will write any more
        self._call(capture)
        try:
            await asyncio.wait_for(capture.done.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            raise CallwardenError(
                "spool.still_written",
                "Asterisk still writes this recording after it was told to stop",
                where=recording_id,
                retryable=True,
                hint="look at `core show channels` and the AMI link; it is tried again",
            ) from None

    async def pause(self, recording_id: str) -> None:
        """See `edge.ports.RecorderPort`; how: `edge.recorder.muting`."""
        if (capture := self._live.recording(recording_id)) is not None:
            try:
                await muting.pause(self._tools, capture)
            finally:
                self._call(capture)

    async def resume(self, recording_id: str) -> None:
        """See `edge.ports.RecorderPort`."""
        if (capture := self._live.recording(recording_id)) is not None:
            try:
                await muting.resume(self._tools, capture)
            finally:
                self._call(capture)

    async def shred_segment(self, recording_id: str, *, since: str) -> int:
        """See `edge.ports.RecorderPort`."""
        return await incident.shred(self._tools, self._live.recording(recording_id), recording_id, since)

    def live_of(self, call_id: str) -> Sequence[str]:
        """See `edge.ports.RecorderPort`."""
        return [c.recording_id for c in self._live.call(call_id)]

    # ------------------------------------------------------------ what Asterisk tells

    def channel_gone(self, channel_uid: str) -> None:
        """The caller's channel hung up: its file is about to be closed."""
        for capture in self._live.channel(channel_uid):
            capture.channel_gone = True
            self._call(capture)

    def channel_bridged(self, channel_uid: str) -> None:
        """The caller talks: from now on the file must grow."""
        for capture in self._live.channel(channel_uid):
            if capture.bridged_ns is None:
                capture.bridged_ns = self._tools.clock.mono_ns()

    def channel_unbridged(self, channel_uid: str) -> None:
        """The caller waits again, and MixMonitor's option b writes nothing meanwhile."""
        for capture in self._live.channel(channel_uid):
            capture.bridged_ns = None

    def company_changed(self, channel_uids: frozenset[str]) -> None:
        """Who else is there is the conductor's business."""

    def channel_held(self, channel_uid: str, on: bool) -> None:
        """Holds are pauses, and those are ordered."""

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        """A MixMonitor began or was stopped on this channel."""
        if on:
            self._watchdog.seen(channel_uid)

    def link_up(self, alive: Mapping[str, str]) -> None:
        """After a (re)connect: captures whose channel does not exist any more are over."""
        for capture in self._live:
            if capture.channel_uid not in alive:
                capture.channel_gone = True
                self._call(capture)
        silence, self._silence = self._silence, []
        for uid, name, monitor in silence:
            if uid in alive:
                self._keep(asyncio.create_task(self._stop_quarantined(alive[uid] or name, monitor)))

    async def _stop_quarantined(self, name: str, monitor: str) -> None:
        try:
            await self._tools.asterisk.stop_monitor(name, monitor)
        except CallwardenError as error:
            log.error("the monitor of a quarantined recording goes on", channel=name, why=error.message)

    def link_down(self) -> None:
        """Nothing to do: Asterisk goes on writing and the sealer goes on sealing."""

    def file_closed(self, name: str) -> None:
        """Somebody made this spool file or closed it after writing (inotify); it is looked at once more, or removed."""
        if capture := self._live.file(name):
            self._call(capture)
        else:
            self._strange = True
            self._wake.set()

    def _call(self, capture: Capture) -> None:
        """Have this capture looked at now; the others wait for the next rescan."""
        self._called.add(capture.recording_id)
        self._wake.set()

    # ------------------------------------------------------------ figures

    def not_ready(self) -> CallwardenError | None:
        """Why no further recording may start: the spool is full."""
        return self._watchdog.full

    @property
    def live(self) -> int:
        """Captures not finished yet."""
        return len(self._live)

    def oldest_unsealed_s(self) -> float:
        """Age of the oldest byte that was seen in the spool and is not sealed, seconds."""
        now = self._tools.clock.mono_ns()
        stamps = [c.unsealed_since_ns for c in self._live if c.unsealed_since_ns is not None]
        return (now - min(stamps)) / 1e9 if stamps else 0.0

    # ------------------------------------------------------------ work side

    async def recover(self) -> None:
        """After a start: take up every capture that was running, end those that are over. Before `run`."""
        found = await recovery.recover(self._tools)
        self._silence = list(found.monitors)
        for capture in found.captures:
            self._live.add(capture)
            self._tick_s = min(self._tick_s, capture.tick_s)

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
            incident.discard(tools, capture)
            if not gone and not await self._muted(capture):
                continue
            sealer.stamp(tools, capture)
            self._watchdog.growth(capture)
            if capture.size and not capture.growing:
                grown.append(capture)
            if gone:
                over.append((capture, endings.finish))
            elif not capture.size and not capture.growing and capture.mute is None and self._overdue(capture):
                over.append((capture, endings.never_grew))
                self._hears.on_gap(capture.recording_id)
            elif capture.unsealed and capture.mute is None and tools.clock.mono_ns() - capture.grew_ns > SETTLE_NS:
                still.append(capture)
        await self._grew(grown)
        for capture in still:
            await sealer.settle(tools, capture)
        for capture, ending in over:
            self._spawn(capture, ending(tools, self._live, capture))

    async def _muted(self, capture: Capture) -> bool:
        """Look after a pause; false when that failed for now."""
        try:
            if capture.awaits_sound:
                async with capture.lock:
                    await self._tools.in_worker(lambda: sealer.skip_silence(self._tools, capture))
            if capture.mute is not None and not capture.lock.locked():
                async with capture.lock:
                    await muting.advance(self._tools, capture)
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
        return capture.bridged_ns is not None and self._tools.clock.mono_ns() - capture.bridged_ns > GROWTH_DEADLINE_NS

    def _spawn(self, capture: Capture, work: Coroutine[Any, Any, None]) -> None:
        capture.finishing = True

        async def guarded() -> None:
            try:
                await work
            except (CallwardenError, OSError) as error:
                await sealer.stuck(self._tools, capture, error)
                await asyncio.sleep(RESCAN_S)
                capture.finishing = False  # looked at again on the next round

        self._keep(asyncio.create_task(guarded()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
