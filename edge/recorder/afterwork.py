"""What is done with a segment once its row is closed: its waveform, and the policy's compaction. Beside the sealing.

The segment's file key is still in hand then, and in the resume folder, so that a daemon killed on the way goes on with it;
it is destroyed when the work is done, before the recording is sealed. The payload is read back and opened chunk by chunk: one
source for the waveform of a segment whose daemon was restarted as for any other, and the sealer is not held up. A failure
costs waveform or compaction and nothing else. Write orders `afterwork` and `compact` of docs/invariants.md.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.recorder import compaction
from edge.recorder.capture import Capture
from edge.recorder.files import codec_of
from edge.recorder.tools import Tools
from formats import waveform
from formats.errors import FormatError
from formats.pcm import STORED
from formats.place import Place
from formats.suites import Suite
from formats.waveform import Peaks

log = structlog.get_logger("recorder")


@dataclass(frozen=True, slots=True)
class Of:
    """The recording whose segments they are: how it was captured, and how the policy wants it kept."""

    recording_id: str
    codec: str
    rate: int
    channels: int
    suite: Suite
    recipients: tuple[str, ...]
    compact: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one captured sample of all channels."""
        return STORED[self.codec] * self.channels


@dataclass(frozen=True, slots=True)
class Ended:
    """A segment whose row is closed. `whole`: with a last chunk; `plain_bytes`: what its row says."""

    segment_id: str
    number: int
    file_key: bytes
    whole: bool
    plain_bytes: int


def begin(tools: Tools, capture: Capture, *, whole: bool) -> None:
    """Of the segment that has just ended. Returns at once; `finished` waits."""
    segment, codec = capture.segment, codec_of(capture.spool_name)

    def unwanted() -> bool:
        """Also of a segment that was closed before: whoever withdraws or erases waits for the recording's end."""
        return capture.stop_reason in ("withdraw", "erase")

    compact = "none" if unwanted() else capture.compact
    of = Of(
        capture.recording_id,
        codec,
        capture.byte_rate // capture.frame_bytes,
        capture.frame_bytes // STORED[codec],
        capture.suite,
        capture.recipients,
        compact,
    )
    ended = Ended(segment.segment_id, segment.number, segment.key.file_key, whole, segment.plain_bytes)
    capture.after.append(asyncio.create_task(work(tools, of, ended, unwanted)))


async def finished(tasks: list[asyncio.Task[None]]) -> None:
    """All of it is done, or has failed for good."""
    while tasks:
        await asyncio.gather(tasks.pop(), return_exceptions=True)


async def work(tools: Tools, of: Of, ended: Ended, unwanted: Callable[[], bool] = lambda: False) -> None:
    """Waveform, then compaction, then the key goes. Raises nothing that keeps a recording from being sealed."""
    try:
        if ended.plain_bytes:
            peaks = await tools.in_encoder(lambda: _peaks(tools, of, ended))
            await _keep(tools, of, ended, peaks)
            if ended.whole and of.compact != "none":
                await compaction.compact(tools, of, ended, peaks, unwanted)
    except (CallwardenError, FormatError, OSError) as error:
        log.warning("no waveform or no compaction", recording=of.recording_id, why=str(error))
    except Exception as error:  # whatever it is: the audio is sealed, and stays so
        log.error("the work after a segment failed", recording=of.recording_id, why=repr(error))
    # Not where it is cancelled: a daemon that is stopped leaves the key to the one that comes.
    tools.resume.destroy(ended.segment_id)
    hit("afterwork.done")


def plaintext(tools: Tools, of: Of, ended: Ended) -> Iterator[bytes]:
    """The segment's captured bytes, chunk by chunk. Blocks. Raises CallwardenError, FormatError, OSError."""
    place = Place(of.recording_id, ended.segment_id)
    with open(tools.vault.path(of.recording_id, ended.segment_id), "rb") as payload:
        read = of.suite.read if ended.whole else of.suite.read_truncated
        yield from read(ended.file_key, place, payload)


def _peaks(tools: Tools, of: Of, ended: Ended) -> Peaks:
    peaks = Peaks(of.codec, of.rate, of.channels)
    for chunk in plaintext(tools, of, ended):
        peaks = peaks.fed(chunk)
    return peaks


async def _keep(tools: Tools, of: Of, ended: Ended, peaks: Peaks) -> None:
    sealed = waveform.seal(
        peaks,
        suite=of.suite.name,
        file_key=ended.file_key,
        nonce=secrets.token_bytes(waveform.NONCE),
        recording_id=of.recording_id,
        segment_id=ended.segment_id,
    )
    await tools.in_encoder(lambda: tools.vault.put_waveform(of.recording_id, ended.segment_id, sealed))
    hit("afterwork.waveform_kept")
    if not await tools.journal.set_loudest(ended.segment_id, peaks.loudest):
        # Removed after an incident meanwhile: what came behind that goes too.
        await tools.in_encoder(lambda: tools.vault.unlink_segment(of.recording_id, ended.segment_id))
        raise CallwardenError("vault.missing", "the segment was removed", where=ended.segment_id)
