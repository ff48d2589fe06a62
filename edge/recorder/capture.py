"""One running capture: the spool file Asterisk fills, the open segment it is sealed into, and the blocking work.

`seal` may be called again with nothing changed in between: it works from the committed state and moves that state only
in `commit`, after the journal has the progress. So a failed commit, a crash or a repeat seals the same bytes again into
the same place, which the vault checks to be identical.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import ClosedSegment, Progress
from edge.ports import Vault
from edge.recorder.coverage import Coverage
from edge.recorder.mute import Mute
from edge.recorder.plan import Slice, plan, segment_chunks
from edge.recorder.resume import ResumeFolder, ResumeKey
from edge.recorder.sides import Sides
from edge.recorder.spool import Spool, buffer_of
from formats.manifest import extend_tags_hash
from formats.place import Place
from formats.suites import TAG, Sealer, Suite


@dataclass(slots=True)
class OpenSegment:
    """The segment that takes bytes now. Everything here is committed; `sealed_*` of the work in hand is in `Piece`."""

    segment_id: str
    number: int
    spool_offset: int
    key: ResumeKey
    sealer: Sealer
    chunks: int = 0
    plain_bytes: int = 0
    payload_bytes: int = 0
    tags_hash: bytes = bytes(32)
    digest: hashlib._Hash = field(default_factory=hashlib.sha512)
    #: Its row is closed and it takes no more bytes; its successor is made when there are some.
    ended: bool = False

    @property
    def spool_end(self) -> int:
        """Where in the spool file the sealed bytes end."""
        return self.spool_offset + self.plain_bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """What one pass sealed and synced, not committed yet. `last`: the segment takes no more bytes; `rotate`: it is full."""

    progress: Progress
    digest: hashlib._Hash
    last: bool
    rotate: bool
    size: int


class SegmentBroken(Exception):
    """The open segment must not be sealed any further: its key is to be destroyed and a new segment begun."""


@dataclass(slots=True)
class Capture:
    """A live recording. The event loop owns the flags; worker threads only run `seal` and `punch`, one at a time."""

    recording_id: str
    call_id: str
    channel_uid: str
    channel_name: str
    spool_name: str
    capture_id: str
    byte_rate: int
    frame_bytes: int
    tick_s: float
    suite: Suite
    recipients: tuple[str, ...]
    inode: int
    segment: OpenSegment
    monitor_id: str | None = None
    size: int = 0
    growing: bool = False
    grew_size: int = 0
    grew_ns: int = 0
    bridged_ns: int | None = None
    channel_gone: bool = False
    #: We told Asterisk to stop its monitor, whatever came of it.
    told_to_stop: bool = False
    #: Since when nobody has its file open, while its channel was still there.
    left_ns: int | None = None
    unwanted: bool = False
    stop_reason: str = "hangup"
    finishing: bool = False
    unsealed_since_ns: int | None = None
    alarmed: str = ""
    told_gap: bool = False
    #: What the watchdog heard of the two sides; None where they are mixed.
    sides: Sides | None = None
    #: The pause that is going on; `filed_muted` is what the journal has of it.
    mute: Mute | None = None
    filed_muted: bool = False
    #: Taken up after a kill that may have come between Asterisk's mute and the journal: it may be muted, and nobody knows.
    maybe_muted: bool = False
    #: After a pause: exact zeros are dropped until the first sound, and the next segment begins no earlier than here.
    awaits_sound: bool = False
    next_offset: int = 0
    #: Bytes before it that still come are freed unsealed (after an incident); 0: none.
    discard_to: int = 0
    #: What is done with its closed segments (`edge.recorder.afterwork`), and how the policy wants them kept.
    after: list[asyncio.Task[None]] = field(default_factory=list)
    compact: str = "none"
    #: How long it should be.
    coverage: Coverage = field(default_factory=Coverage)
    #: Held over a whole pause or resume, one at a time.
    mute_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Held by whoever seals, closes or begins segments.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Nobody writes it any more and its last segment is closed; the work after its segments may go on.
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def seal(self, spool: Spool, vault: Vault, resume: ResumeFolder, *, closing: bool) -> Piece | None:
        """Seal and sync what `plan` says; None when there is nothing. Blocks: run it in a worker thread.

        Raises SegmentBroken when a check of the resume rules fails, OSError or CallwardenError when disk or spool fail.
        """
        segment = self.segment
        status = spool.status(self.spool_name)
        if status is None:
            raise CallwardenError("spool.lost", "the capture file is gone", where=spool.path(self.spool_name))
        inode, size = status
        self.size = size
        upto = size if self.seal_to is None else min(size, self.seal_to)
        if segment.ended:
            if upto > self.start:
                raise SegmentBroken("more came after its end")
            return None
        if size < self.floor:
            raise CallwardenError("spool.lost", "the capture file was cut", where=spool.path(self.spool_name))
        if upto < self.start or (upto == self.start and not (closing and segment.chunks)):
            return None
        todo = plan(
            self.suite,
            spool_offset=segment.spool_offset,
            chunks=segment.chunks,
            size=upto,
            closing=closing,
            limit=segment_chunks(self.byte_rate, self.suite.chunk),
        )
        if not todo.slices:
            return None
        if why := resume.refuses(segment.key, inode):
            raise SegmentBroken(why)
        sealed = self._encrypt(spool, todo.slices)
        first = segment.payload_bytes == 0
        data = segment.sealer.prefix + sealed if first else sealed
        if first and not os.path.exists(vault.path(self.recording_id, segment.segment_id)):
            vault.create(self.recording_id, segment.segment_id)
        try:
            vault.append(self.recording_id, segment.segment_id, segment.payload_bytes, data)
        except CallwardenError as error:
            if error.code == "vault.differs":
                raise SegmentBroken("other bytes lie where these would be written") from error
            raise
        hit("seal.payload_synced")
        digest = segment.digest.copy()
        digest.update(data)
        return self._piece(todo.slices, sealed, len(data), digest, rotate=todo.rotate, size=size)

    def _encrypt(self, spool: Spool, slices: tuple[Slice, ...]) -> bytes:
        start, end = slices[0].offset, slices[-1].offset + slices[-1].length
        plain = spool.take(self.spool_name, start, end) if end > start else b""
        if plain is None:
            raise SegmentBroken("the bytes to be sealed were freed before")
        if len(plain) != end - start:
            raise SegmentBroken("the spool file became shorter")
        view, sealer = memoryview(plain), self.segment.sealer
        return b"".join(
            sealer.seal(one.index, view[one.offset - start : one.offset - start + one.length], one.last)
            for one in slices
        )

    def _piece(
        self,
        slices: tuple[Slice, ...],
        sealed: bytes,
        grown: int,
        digest: hashlib._Hash,
        *,
        rotate: bool,
        size: int,
    ) -> Piece:
        segment = self.segment
        tags, at = segment.tags_hash, 0
        for piece in slices:
            at += piece.length + TAG
            tags = extend_tags_hash(tags, sealed[at - TAG : at])
        progress = Progress(
            segment.segment_id,
            segment.chunks + len(slices),
            segment.plain_bytes + sum(s.length for s in slices),
            segment.payload_bytes + grown,
            tags,
        )
        return Piece(progress, digest, slices[-1].last, rotate, size)

    def commit(self, piece: Piece) -> None:
        """Take over what the journal has now."""
        segment, progress = self.segment, piece.progress
        segment.chunks = progress.chunks
        segment.plain_bytes = progress.plain_bytes
        segment.payload_bytes = progress.payload_bytes
        segment.tags_hash = progress.tags_hash
        segment.digest = piece.digest

    def closed(self, piece: Piece | None, *, state: str, reason: str) -> ClosedSegment:
        """The final facts of the open segment: after `piece`, or as committed."""
        segment = self.segment
        if piece is not None:
            return ClosedSegment(piece.progress, self.recording_id, state, reason, piece.digest.digest())
        progress = Progress(
            segment.segment_id, segment.chunks, segment.plain_bytes, segment.payload_bytes, segment.tags_hash
        )
        return ClosedSegment(progress, self.recording_id, state, reason, segment.digest.digest())

    @property
    def buffer(self) -> int:
        """How many bytes of it may still be in Asterisk's hands."""
        return buffer_of(self.spool_name)

    @property
    def buffer_ns(self) -> int:
        """How long Asterisk's buffers take to fill, nanoseconds: the file grows no sooner."""
        return self.buffer * 1_000_000_000 // self.byte_rate

    @property
    def floor(self) -> int:
        """The file cannot be shorter than this. After an incident the open segment begins behind its end."""
        return self.segment.spool_end if self.segment.plain_bytes else 0

    @property
    def start(self) -> int:
        """The first byte that is neither sealed nor dropped."""
        return max(self.segment.spool_end, self.next_offset)

    @property
    def seal_to(self) -> int | None:
        """No byte from here on may be sealed; None: there is no such place."""
        if self.mute is None:
            return None
        return self.mute.begin if self.mute.cut is None else self.mute.cut

    @property
    def unsealed(self) -> int:
        """Bytes seen in the spool that are to be sealed."""
        if self.awaits_sound:
            return 0
        end = self.size if self.mute is None or self.mute.cut is None else self.mute.cut
        return max(0, end - self.start)

    def aligned(self, offset: int) -> int:
        """The beginning of the sample (of all channels) that `offset` lies in."""
        return offset - offset % self.frame_bytes


def reopened(
    key: ResumeKey, suite: Suite, *, number: int, spool_offset: int, progress: Progress, vault: Vault, recording_id: str
) -> OpenSegment:
    """The open segment after a restart, its running hash read back from the committed part of the payload.

    Raises SegmentBroken when the payload is shorter than what was committed.
    """
    segment = OpenSegment(
        key.segment_id,
        number,
        spool_offset,
        key,
        suite.sealer(key.file_key, key.salt, Place(recording_id, key.segment_id)),
        progress.chunks,
        progress.plain_bytes,
        progress.payload_bytes,
        progress.tags_hash,
    )
    if progress.payload_bytes == 0:
        return segment
    left = progress.payload_bytes
    with open(vault.path(recording_id, key.segment_id), "rb") as payload:
        if payload.read(suite.prefix) != segment.sealer.prefix:
            raise SegmentBroken("the payload begins with another nonce")
        payload.seek(0)
        while left and (block := payload.read(min(left, 1 << 20))):
            segment.digest.update(block)
            left -= len(block)
    if left:
        raise SegmentBroken("the payload is shorter than the journal says")
    return segment


__all__ = ["Capture", "Mute", "OpenSegment", "Piece", "SegmentBroken", "reopened"]
