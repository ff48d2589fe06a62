"""STAGE: from a permit to a sealed recording.

Call side: `prepare` while the prompt plays, `begin` once the permit is on file, `confirm` or `fail` when Asterisk has
answered; then `pause`, `resume`, `shred_segment`, `stop`, and what Asterisk tells. The work side is `edge.recorder.rounds`.
The write order of a beginning is `start` of docs/invariants.md.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from edge.consent.epochs import recipients_on
from edge.consent.permit import Permit
from edge.consent.policy import Policy, tick_seconds
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import MonitorOrder, NewRecording
from edge.recorder import incident, muting, recovery
from edge.recorder.capture import Capture, OpenSegment
from edge.recorder.coverage import Coverage
from edge.recorder.keys import make_keys
from edge.recorder.opening import Prepared, order, rows_of
from edge.recorder.rounds import Rounds
from edge.recorder.sides import Sides
from edge.recorder.spool import files_of, name_of
from edge.recorder.tools import NOBODY, Tools, Watch, stop_monitor
from formats.place import Place
from formats.suites import suite_of

log = structlog.get_logger("recorder")

#: How long a told Asterisk may take to close a file, seconds.
STOP_TIMEOUT_S: Final = 10.0
#: How long the work after its segments is waited for where nobody needs it done, seconds: mostly it takes less.
SEALED_S: Final = 1.0


class Recorder(Rounds):
    """All live captures of this edge, as the rest of it sees them."""

    def __init__(self, tools: Tools, watch: Watch = NOBODY) -> None:
        super().__init__(tools, watch)
        #: Whether this Asterisk's MixMonitor has option D; without it two channels are two files. Set by who asked it.
        self.has_d = True
        self._silence: list[tuple[str, str, str]] = []
        #: Channels that are bridged now: a further recording may begin in the middle of a talk.
        self._bridged: set[str] = set()

    @property
    def tools(self) -> Tools:
        """What it works with."""
        return self._tools

    # ------------------------------------------------------------ call side

    async def prepare(self, policy: Policy) -> Prepared:
        """Keys and names for one recording. Raises CallwardenError vault.* or recipient.* when it cannot be sealed."""
        recording_id = secrets.token_hex(16)
        capture = policy.capture
        name = name_of(secrets.token_hex(16), capture.codec, capture.channels, has_d=self.has_d)
        recipients = recipients_on(policy, self._tools.clock.wall().date())
        keys = await make_keys(self._tools.slots, suite_of(policy.suite), recording_id, recipients)
        return Prepared(recording_id, secrets.token_hex(16), name, keys)

    async def discard(self, prepared: Prepared) -> None:
        """The answer was no: its shred key is overwritten and the slot free again."""
        await self._tools.slots.release([prepared.keys.header.slot])

    def rows(
        self, prepared: Prepared, permit: Permit, policy: Policy, channel_uid: str, channel_name: str
    ) -> NewRecording:
        """See `edge.recorder.opening.rows_of`."""
        return rows_of(prepared, permit, policy, channel_uid, channel_name, self._tools.clock.wall_text())

    def begin(self, permit: Permit, prepared: Prepared, new: NewRecording, policy: Policy) -> MonitorOrder:
        """The permit is on file: resume key, spool file, live capture. The one way a recording starts.

        Raises CallwardenError spool.unwritable; the recording's row is then closed by `fail`.
        """
        if permit.permit_id != new.permit_id or permit.call_id != new.call_id:
            raise ValueError("this permit is for another recording")
        keys, suite = prepared.keys, suite_of(new.suite)
        inode = self._tools.spool.create(new.spool_name)
        key = self._tools.resume.make(keys.segment_id, keys.file_key, keys.salt, inode)
        try:
            if suite.resumes:
                self._tools.resume.save(key)
        except OSError as error:
            self._tools.spool.unlink(new.spool_name)
            raise CallwardenError(
                "spool.unwritable", f"the resume key cannot be kept: {error.strerror}", where=str(error.filename),
                hint="[edge] resume must be a folder in memory that the daemon may write, with room left",
            ) from error  # fmt: skip
        hit("start.resume_saved")
        sealer = suite.sealer(keys.file_key, keys.salt, Place(new.recording_id, keys.segment_id))
        segment = OpenSegment(keys.segment_id, 0, 0, key, sealer)
        tick_s = tick_seconds(float(policy.capture.seal_every), policy.capture.byte_rate, len(files_of(new.spool_name)))
        coverage, bridged_ns = Coverage(open_ended=policy.wait == "record"), None
        if new.channel_uid in self._bridged:
            coverage.bridged(bridged_ns := self._tools.clock.mono_ns())
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
                tick_s=tick_s,
                suite=suite,
                recipients=keys.header.recipients,
                inode=inode,
                segment=segment,
                sides=Sides(codec=new.codec) if new.channels == 2 else None,
                bridged_ns=bridged_ns,
                compact=policy.compact,
                coverage=coverage,
            )
        )
        self._watchdog.ordered(new.channel_uid)
        self._tick_s = min(self._tick_s, tick_s)
        return order(self._tools.spool, new.spool_name, policy)

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
        """See `edge.ports.RecorderPort`.

        Raises CallwardenError ami.* when Asterisk cannot be told, spool.still_written when it does not let go,
        recorder.afterwork when what is to be erased is still being encoded.
        """
        capture = self._live.recording(recording_id)
        if capture is None:
            return
        capture.stop_reason = reason
        # Also where it was told before: it may have looked for a channel by the name it had a moment ago.
        if not capture.ended.is_set() and (
            not capture.channel_gone or self._tools.asterisk.channel_alive(capture.channel_uid)
        ):
            await stop_monitor(self._tools, capture)
        capture.channel_gone = True  # for this capture: nobody will write any more
        self._call(capture)
        try:
            await asyncio.wait_for(capture.ended.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            raise CallwardenError(
                "spool.still_written",
                "Asterisk still writes this recording after it was told to stop",
                where=recording_id,
                retryable=True,
                hint="look at `core show channels` and the AMI link; it is tried again",
            ) from None
        try:
            await asyncio.wait_for(capture.done.wait(), STOP_TIMEOUT_S if reason == "erase" else SEALED_S)
        except TimeoutError:
            if reason != "erase":  # it is stopped; that it is sealed later is nobody's trouble
                return
            raise CallwardenError(
                "recorder.afterwork",
                "the work after this recording's segments is not done yet",
                where=recording_id,
                retryable=True,
                hint="it waits for the encoder and is erased when that is done; nothing needs to be done",
            ) from None

    async def pause(self, recording_id: str) -> None:
        """See `edge.ports.RecorderPort`; how: `edge.recorder.muting`."""
        if (capture := self._live.recording(recording_id)) is not None:
            try:
                await self._to_the_end(muting.pause(self._tools, capture))
            finally:
                self._call(capture)

    async def resume(self, recording_id: str) -> None:
        """See `edge.ports.RecorderPort`."""
        if (capture := self._live.recording(recording_id)) is not None:
            try:
                await self._to_the_end(muting.resume(self._tools, capture))
            finally:
                self._call(capture)

    async def _to_the_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Whoever waits may give up waiting; half a pause is none, and is taken for one."""
        task = asyncio.create_task(work)
        self._keep(task)
        await asyncio.shield(task)

    async def shred_segment(self, recording_id: str, *, since: str) -> int:
        """See `edge.ports.RecorderPort`."""
        return await incident.shred(self._tools, self._live.recording(recording_id), recording_id, since)

    def live_of(self, call_id: str) -> Sequence[str]:
        """See `edge.ports.RecorderPort`."""
        return [c.recording_id for c in self._live.call(call_id)]

    def capturing(self, call_id: str) -> Sequence[str]:
        """See `edge.ports.RecorderPort`."""
        return [c.recording_id for c in self._live.call(call_id) if not c.ended.is_set()]

    # ------------------------------------------------------------ what Asterisk tells

    def channel_gone(self, channel_uid: str) -> None:
        """The caller's channel hung up: its file is about to be closed."""
        self._bridged.discard(channel_uid)
        for capture in self._live.channel(channel_uid):
            capture.channel_gone = True
            capture.coverage.end(self._tools.clock.mono_ns())
            self._call(capture)

    def channel_bridged(self, channel_uid: str) -> None:
        """The caller talks: from now on the file must grow."""
        self._bridged.add(channel_uid)
        for capture in self._live.channel(channel_uid):
            if capture.bridged_ns is None:
                capture.bridged_ns = self._tools.clock.mono_ns()
            capture.coverage.bridged(self._tools.clock.mono_ns())

    def channel_unbridged(self, channel_uid: str) -> None:
        """The caller waits again, and MixMonitor's option b writes nothing meanwhile."""
        self._bridged.discard(channel_uid)
        for capture in self._live.channel(channel_uid):
            capture.bridged_ns = None
            capture.coverage.unbridged(self._tools.clock.mono_ns())

    def company_changed(self, channel_uids: frozenset[str]) -> None:
        """Who else is there is the conductor's business."""

    def channel_held(self, channel_uid: str, on: bool) -> None:
        """Holds are pauses, and those are ordered."""

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        """A MixMonitor began or was stopped on this channel."""
        if on:
            self._watchdog.seen(channel_uid)

    def link_up(self, alive: Mapping[str, str]) -> None:
        """After a (re)connect: captures whose channel does not exist any more are over; who is bridged is told next."""
        self._bridged.clear()
        for capture in self._live:
            capture.bridged_ns = None
            capture.coverage.again(capture.size)
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
        """Asterisk goes on writing and the sealer goes on sealing; only who talks is not known."""
        for capture in self._live:
            capture.coverage.lost()

    def file_closed(self, name: str) -> None:
        """Somebody made this spool file or closed it after writing (inotify); it is looked at once more, or removed."""
        if capture := self._live.file(name):
            self._call(capture)
        else:
            self._strange = True
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

    # ------------------------------------------------------------ life

    async def recover(self) -> None:
        """After a start: take up every capture that was running, end those that are over. Before `run`."""
        found = await recovery.recover(self._tools)
        self._silence = list(found.monitors)
        for task in found.endings:
            self._keep(task)
        for capture in found.captures:
            self._live.add(capture)
            self._tick_s = min(self._tick_s, capture.tick_s)
