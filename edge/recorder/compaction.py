"""A closed segment is encoded (FLAC or Opus) and takes the place of what it was, without plaintext on any disk.

Write order `compact`: a fresh key under a fresh slot; the encoded payload and its waveform beside the old ones, synced; one
commit that makes them the segment and leaves the old header without a key; the old slot overwritten; the new files renamed
over the old; that said. At every kill exactly one payload is the segment's, and its key is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import Compacted, Progress
from edge.recorder.keys import SegmentKeys, make_keys
from formats import waveform
from formats.manifest import TAGS_HASH_START, extend_tags_hash
from formats.place import Place
from formats.suites import TAG, Suite
from formats.waveform import Peaks

if TYPE_CHECKING:
    from edge.recorder.afterwork import Ended, Of
    from edge.recorder.tools import Tools

log = structlog.get_logger("recorder")

#: Sealed bytes that are written and synced at a time.
_BATCH: Final = 1 << 20
#: The longest first line a child may send, bytes.
_LINE: Final = 4096
#: The longest a child may take, seconds: its processor time is bounded (`edge.recorder.encode`), but it may sleep.
_WALL_S: Final = 180.0
#: What follows a commit is tried again after so long, seconds; then it is left to the next start.
_PAUSES_S: Final = (0.2, 1.0)


@dataclass(slots=True)
class _Payload:
    """The encoded payload as it grows."""

    chunks: int = 0
    plain_bytes: int = 0
    payload_bytes: int = 0
    tags_hash: bytes = TAGS_HASH_START
    digest: Any = field(default_factory=hashlib.sha512)
    plain_digest: Any = field(default_factory=hashlib.sha256)

    @property
    def encoded(self) -> tuple[int, str]:
        """The encoded file as it came: its length, and its SHA-256."""
        return self.plain_bytes, self.plain_digest.hexdigest()


async def compact(tools: Tools, of: Of, ended: Ended, peaks: Peaks, unwanted: Callable[[], bool]) -> None:
    """Nothing is changed where the encoder fails, gives back other samples (FLAC) or makes it no smaller, or where it is
    `unwanted` when its turn comes.

    Raises CallwardenError vault.*, journal.*, recorder.encode; OSError, FormatError.
    """
    keys = await make_keys(
        tools.slots, of.suite, of.recording_id, of.recipients, segment_id=ended.segment_id, version=2
    )
    stage = secrets.token_hex(16)

    async def undo() -> None:
        await tools.slots.release([keys.header.slot])
        await tools.in_encoder(lambda: tools.vault.unlink_segment(of.recording_id, stage))

    def turn() -> Compacted | None:
        return None if unwanted() else _encoded(tools, of, ended, keys, stage, peaks)

    try:
        made = await tools.in_encoder(turn)
    except Exception:  # where it is cancelled the next start cleans up
        await undo()
        raise
    hit("compact.sealed")
    # Whatever keeps its answer back, the commit may stand: then nothing of what it names may go.
    old_slot = None if made is None else await tools.journal.compact_segment(made)
    if old_slot is None:
        await undo()
        return
    hit("compact.committed")
    # Each for itself: a slot that cannot be overwritten now keeps no payload from its name. The next start makes up for both.
    freed = await _insist(partial(tools.slots.release, [old_slot]), of)
    hit("compact.slot_shredded")
    settled = await _insist(partial(settle, tools, of.recording_id, stage, ended.segment_id), of)
    if freed and settled:
        log.info("a segment was compacted", recording=of.recording_id, segment=ended.number, form=of.compact)


async def _insist(work: Callable[[], Awaitable[None]], of: Of) -> bool:
    """Whether it was done at last: what is committed has to follow."""
    for pause in (*_PAUSES_S, None):
        try:
            await work()
        except CallwardenError as error:
            if pause is None:
                log.error("a compaction waits for the next start", recording=of.recording_id, why=str(error))
            else:
                await asyncio.sleep(pause)
        else:
            return True
    return False


async def settle_sealed(tools: Tools) -> None:
    """After a start, of recordings that are over: files that still lie under a staged name become their segments'. Those of
    live ones are `edge.recorder.unfinished`'s. One that cannot be put in its place is alarmed, and keeps nobody waiting."""
    for row in await tools.journal.staged_segments():
        try:
            await settle(tools, row.recording_id, row.staged, row.segment_id)
        except CallwardenError as error:
            log.error("a compacted segment is not in its place", recording=row.recording_id, why=str(error))
            await tools.journal.alarm(error.code, error.message, where=row.recording_id)


async def settle(tools: Tools, recording_id: str, stage: str, segment_id: str) -> None:
    """The staged files become the segment's; repeats change nothing. Raises CallwardenError."""
    # In the sealer's thread: names change at once, and a start must not wait for what is being encoded.
    await tools.in_worker(lambda: tools.vault.take_place(recording_id, stage, segment_id))
    hit("compact.renamed")
    if not await tools.journal.compacted(segment_id):
        await tools.in_worker(lambda: tools.vault.unlink_segment(recording_id, segment_id))
    hit("compact.settled")


def _encoded(tools: Tools, of: Of, ended: Ended, keys: SegmentKeys, stage: str, peaks: Peaks) -> Compacted | None:
    """The segment encoded, sealed and synced under the name `stage`; None when that is not worth it. Blocks."""
    from edge.recorder.afterwork import plaintext

    rate, channels = of.rate, of.channels
    command = [sys.executable, "-P", "-m", "edge.recorder.encode", of.compact, str(rate), str(channels)]
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env=environment,
        start_new_session=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        deadline = threading.Timer(_WALL_S, child.kill)
        deadline.daemon = True
        deadline.start()
        try:
            frames = _feed(child.stdin, plaintext(tools, of, ended), of)
            announced = _judge(child.stdout, frames, of)
            payload = _seal(tools, of, keys, stage, child.stdout)
            # It may have died in the middle of the file, or before its first byte: the pipe ends the same way.
            if child.wait() != 0 or payload.encoded != announced:
                raise _failed(of, "the encoder ended before the whole of what it had encoded came")
        except BaseException:
            child.kill()
            raise
        finally:
            deadline.cancel()
    if payload.plain_bytes >= ended.plain_bytes:
        return None
    place = {"recording_id": of.recording_id, "segment_id": ended.segment_id}
    nonce = secrets.token_bytes(waveform.NONCE)
    sealed = waveform.seal(peaks, suite=of.suite.name, file_key=keys.file_key, nonce=nonce, **place)
    tools.vault.put_waveform(of.recording_id, stage, sealed)
    progress = Progress(ended.segment_id, payload.chunks, payload.plain_bytes, payload.payload_bytes, payload.tags_hash)
    return Compacted(progress, of.recording_id, of.compact, frames[0], payload.digest.digest(), keys.header, stage)


def _feed(into: IO[bytes], chunks: Iterator[bytes], of: Of) -> tuple[int, str]:
    """The captured samples into the encoder: how many frames, and their SHA-256."""
    digest, rest, size = hashlib.sha256(), b"", 0
    try:
        for chunk in chunks:
            into.write(chunk)
            data = rest + chunk
            whole = len(data) - len(data) % of.frame_bytes
            digest.update(data[:whole])
            rest, size = data[whole:], size + whole
        into.close()
    except BrokenPipeError as error:
        raise _failed(of, "the encoder ended") from error
    return size // of.frame_bytes, digest.hexdigest()


def _judge(answer: IO[bytes], fed: tuple[int, str], of: Of) -> tuple[int, str]:
    """The length and the SHA-256 of the encoded file that follows. Raises CallwardenError recorder.encode unless the encoder
    took and gave back what it must."""
    line = answer.readline(_LINE)
    try:
        told = json.loads(line)
        why = told.get("error")
    except (ValueError, AttributeError) as error:
        raise _failed(of, "the encoder gave no answer") from error
    if why is None and (told.get("frames"), told.get("sha256")) != fed:
        why = "the encoder took other samples than it was given"
    if why is None and told.get("heard_frames") != fed[0]:
        why = "what was encoded is not as long as what was captured"
    if why is None and of.compact == "flac" and told.get("heard_sha256") != fed[1]:
        why = "what was encoded does not give back what was captured"
    size, digest = told.get("bytes"), told.get("encoded_sha256")
    if why is None and not (isinstance(size, int) and size > 0 and isinstance(digest, str)):
        why = "the encoder does not say what follows"
    if why is not None:
        raise _failed(of, str(why)[:200])
    return size, digest


def _failed(of: Of, why: str) -> CallwardenError:
    return CallwardenError(
        "recorder.encode", f"a segment stays as it was captured: {why}", where=of.recording_id,
        hint="the recording is whole; is soundfile installed as it was when the policy was loaded?",
    )  # fmt: skip


def _seal(tools: Tools, of: Of, keys: SegmentKeys, stage: str, source: IO[bytes]) -> _Payload:
    suite, made = of.suite, _Payload()
    sealer = suite.sealer(keys.file_key, keys.salt, Place(of.recording_id, keys.segment_id))
    tools.vault.create(of.recording_id, stage)
    held = bytearray(sealer.prefix)
    for index, plain, last in _chunks(suite, source):
        sealed = sealer.seal(index, plain, last)
        made.tags_hash = extend_tags_hash(made.tags_hash, sealed[-TAG:])
        made.chunks, made.plain_bytes = index + 1, made.plain_bytes + len(plain)
        made.plain_digest.update(plain)
        held += sealed
        if last or len(held) >= _BATCH:
            tools.vault.append(of.recording_id, stage, made.payload_bytes, bytes(held))
            made.digest.update(held)
            made.payload_bytes += len(held)
            held.clear()
    return made


def _chunks(suite: Suite, source: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """(index, plaintext, whether it is the last) as the suite wants its chunks."""
    index, piece = 0, source.read(suite.chunk)
    while True:
        after = source.read(suite.chunk) if len(piece) == suite.chunk else b""
        last = not after and not (suite.short_last and len(piece) == suite.chunk)
        yield index, piece, last
        if last:
            return
        index, piece = index + 1, after
