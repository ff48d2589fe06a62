"""What every part of the recorder works with, and the register of live captures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from edge.errors import CallwardenError
from edge.model.entities import RecordingRow
from edge.ports import Asterisk, Clock, Journal, Slots, Vault
from edge.recorder.capture import Capture
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool

T = TypeVar("T")

#: (recording with closed segments, ending, frames, ended_at) -> signed manifest, compact JWS.
ManifestMaker = Callable[[RecordingRow, str, int, str], str]


@dataclass(frozen=True, slots=True)
class Tools:
    """The recorder's neighbours. `worker` runs what blocks: reading the spool, sealing, syncing, punching."""

    journal: Journal
    slots: Slots
    vault: Vault
    spool: Spool
    resume: ResumeFolder
    clock: Clock
    asterisk: Asterisk
    make_manifest: ManifestMaker
    worker: ThreadPoolExecutor

    async def in_worker(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker thread and wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)


async def stop_monitor(tools: Tools, capture: Capture) -> None:
    """Stop this capture's monitor by its id, which the channel knows when we do not; nothing without one: Asterisk would
    take an empty id for any monitor on the channel, somebody else's too.

    Raises CallwardenError ami.* when Asterisk cannot be told.
    """
    try:
        monitor = capture.monitor_id or await tools.asterisk.get_variable(capture.channel_name, "CALLWARDEN_MONITOR")
    except CallwardenError as error:
        if error.code != "ami.refused":
            raise
        capture.channel_gone = True  # no such channel
        return
    if monitor:
        capture.monitor_id = monitor
        await tools.asterisk.stop_monitor(capture.channel_name, monitor)


class LiveCaptures:
    """Captures that are not finished, by recording, channel and spool file."""

    def __init__(self) -> None:
        self._captures: dict[str, Capture] = {}
        self._channels: dict[str, Capture] = {}
        self._files: dict[str, Capture] = {}

    def __len__(self) -> int:
        return len(self._captures)

    def __iter__(self) -> Iterator[Capture]:
        return iter(list(self._captures.values()))

    def add(self, capture: Capture) -> None:
        """Register it."""
        self._captures[capture.recording_id] = capture
        self._channels[capture.channel_uid] = capture
        self._files[capture.spool_name] = capture

    def remove(self, capture: Capture) -> None:
        """Forget it and wake who waits for its end."""
        self._captures.pop(capture.recording_id, None)
        self._channels.pop(capture.channel_uid, None)
        self._files.pop(capture.spool_name, None)
        capture.done.set()

    def recording(self, recording_id: str) -> Capture | None:
        """By recording id."""
        return self._captures.get(recording_id)

    def channel(self, channel_uid: str) -> Capture | None:
        """By the caller's channel."""
        return self._channels.get(channel_uid)

    def file(self, name: str) -> Capture | None:
        """By spool file name."""
        return self._files.get(name)
