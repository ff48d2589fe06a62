"""What every part of the recorder works with, and the register of live captures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from edge.errors import CallwardenError
from edge.model.entities import RecordingRow
from edge.ports import Asterisk, Clock, Journal, Slots, Vault
from edge.recorder.capture import Capture
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool, files_of

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
    #: One segment at a time, so that memory and processor stay bounded.
    encoder: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="afterwork"))

    async def in_encoder(self, work: Callable[[], T]) -> T:
        """Run `work` beside the sealing, and wait for it: it may take a second."""
        return await asyncio.get_running_loop().run_in_executor(self.encoder, work)

    async def in_worker(self, work: Callable[[], T]) -> T:
        """Run `work` in the worker thread and wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)


def _nothing(*facts: str) -> None:
    """Nobody wants to hear it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who hears what the recorder notices by itself; called on the event loop, must not block.

    `on_one_sided(recording_id, side)`: `caller` or `agent` has been silent to the bit for a second while two were
    bridged, said again every few seconds; `on_two_sided(recording_id)`: it sounds again; `on_gap(recording_id)`: a
    permitted recording does not grow, or somebody else stopped it; `on_rogue(channel_uid)`: a MixMonitor began that the
    recorder did not order.
    """

    on_one_sided: Callable[[str, str], None] = _nothing
    on_two_sided: Callable[[str], None] = _nothing
    on_gap: Callable[[str], None] = _nothing
    on_rogue: Callable[[str], None] = _nothing


NOBODY: Final = Watch()


async def stop_monitor(tools: Tools, capture: Capture) -> None:
    """Stop this capture's monitor by its id; nothing without one: Asterisk would take an empty id for any monitor on the
    channel, somebody else's too.

    Raises CallwardenError ami.* when Asterisk cannot be told.
    """
    capture.told_to_stop = True
    if monitor := await monitor_of(tools, capture):
        await tools.asterisk.stop_monitor(channel_name(tools, capture), monitor)
        capture.coverage.end(tools.clock.mono_ns())


async def monitor_of(tools: Tools, capture: Capture) -> str:
    """The id of this capture's monitor, which the channel knows when we do not. "" when there is none, or no channel.

    Raises CallwardenError ami.* when Asterisk cannot be asked.
    """
    if not capture.monitor_id:
        try:
            capture.monitor_id = await tools.asterisk.get_variable(channel_name(tools, capture), "CALLWARDEN_MONITOR")
        except CallwardenError as error:
            if error.code != "ami.refused":
                raise
            capture.channel_gone = True  # no such channel
    return capture.monitor_id or ""


def channel_name(tools: Tools, capture: Capture) -> str:
    """What the caller's channel is called now: a masquerade renames it."""
    return tools.asterisk.channel_name(capture.channel_uid) or capture.channel_name


class LiveCaptures:
    """Captures that are not finished, by recording, channel and spool file."""

    def __init__(self) -> None:
        self._captures: dict[str, Capture] = {}
        self._files: dict[str, Capture] = {}

    def __len__(self) -> int:
        return len(self._captures)

    def __iter__(self) -> Iterator[Capture]:
        return iter(list(self._captures.values()))

    def add(self, capture: Capture) -> None:
        """Register it."""
        self._captures[capture.recording_id] = capture
        self._files |= dict.fromkeys(files_of(capture.spool_name), capture)

    def remove(self, capture: Capture) -> None:
        """Forget it and wake who waits for its end."""
        self._captures.pop(capture.recording_id, None)
        for file in files_of(capture.spool_name):
            self._files.pop(file, None)
        capture.ended.set()
        capture.done.set()

    def recording(self, recording_id: str) -> Capture | None:
        """By recording id."""
        return self._captures.get(recording_id)

    def channel(self, channel_uid: str) -> list[Capture]:
        """By the caller's channel: one while it records, two while an old one ends and a new one runs."""
        return [c for c in self._captures.values() if c.channel_uid == channel_uid]

    def call(self, call_id: str) -> list[Capture]:
        """By call, oldest first."""
        return [c for c in self._captures.values() if c.call_id == call_id]

    def file(self, name: str) -> Capture | None:
        """By spool file name."""
        return self._files.get(name)
