"""From a file's sound to a sealed recording: the one way besides a permit in which audio comes to be kept.

The daemon gets bytes and says when they are safe; it never opens the file. Write order `adopt` of docs/invariants.md:
every piece is durable, read back from the disk and opened again before the journal counts it, so the key of a segment
may go at any time. What a kill leaves half sealed goes on behind its last piece, in a segment of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from edge.consent import adoption as words
from edge.consent.epochs import lacks_key, month_of, recipients_on
from edge.consent.policy import Policy
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.adoption import SUFFIX, Asked, Known
from edge.model.entities import (
    ClosedSegment,
    ConsentEvent,
    NewCall,
    NewRecording,
    NewSegment,
    Progress,
    RecordingRow,
)
from edge.ports.adopting import Adopted, NewAdoption, SoundSource
from edge.recorder import afterwork
from edge.recorder.cutting import cut
from edge.recorder.keys import SegmentKeys, make_keys
from edge.recorder.plan import segment_chunks
from edge.recorder.tools import Tools
from formats.errors import FormatError
from formats.ids import format_time, parse_time
from formats.manifest import extend_tags_hash, frame_bytes
from formats.place import Place
from formats.shred import unseal_header
from formats.suites import TAG, Suite, suite_of

log = structlog.get_logger("adopt")

#: Sound that is sealed, synced, read back and committed at a time, bytes: whole chunks of every suite, one fsync per MiB.
PIECE: Final = 1 << 20
#: Nothing is recorded later than now, but clocks differ, seconds.
AHEAD_S: Final = 300.0
#: What was committed is not in the vault any more.
_LOST: Final = ("vault.short", "vault.differs", "vault.missing", "vault.planted")


@dataclass(slots=True)
class _Segment:
    """The open segment of one `take`."""

    keys: SegmentKeys
    suite: Suite
    number: int
    room: int
    progress: Progress
    digest: hashlib._Hash = field(default_factory=hashlib.sha512)


class Adopter:
    """Implements `edge.ports.AdoptPort`; one file at a time. `tools.worker` should be its own: sealing an archive must
    not delay a call. policy_of: the policy of now by its name; country: where national numbers are at home."""

    def __init__(
        self, tools: Tools, edge_id: str, policy_of: Callable[[str], Policy | None], country: Callable[[], str]
    ) -> None:
        self._tools = tools
        self._edge_id = edge_id
        self._policy_of = policy_of
        self._country = country
        self._one = asyncio.Lock()

    async def recover(self) -> None:
        """At a start: segments that were open are cut to what is committed and end there. One whose payload is not that any
        more is given up, which keeps no daemon from its calls; its file is there. Raises CallwardenError that may be tried
        again."""
        for row in await self._tools.journal.recordings(states=("starting", "recording", "closing")):
            if row.adopted:
                await self._go_on(row)

    async def look(self, asked: Asked) -> Known:
        """See `edge.ports.AdoptPort`."""
        policy, facts = self._policy(asked), asked.facts
        known = await self._tools.journal.adoption(facts.identity)
        if known.state != "new":
            return known
        now, day = self._tools.clock.wall(), parse_time(facts.started_at).date()
        if lacks_key(policy, day):
            hint = f"callwarden key rotate --policy {policy.name} --month {month_of(day)} -o FILE makes one"
            missing = f"the policy has no key for {month_of(day)}, in which it began"
            raise CallwardenError("adopt.no_key", missing, hint=hint, where=facts.name)
        if parse_time(facts.started_at) > now + timedelta(seconds=AHEAD_S):
            raise _refused("adopt.time", f"it would have begun in the future, {facts.started_at}", asked)
        kept = policy.retention.recordings
        if kept.after(_ended(asked)) <= now:
            raise _refused("adopt.past_retention", f"it is older than the policy keeps recordings ({kept})", asked)
        if why := await self._tools.journal.handled(facts.uniqueid, facts.linkedid):
            raise _refused("adopt.handled", why, asked)
        return known

    async def take(self, asked: Asked, source: SoundSource, by_uid: int) -> Adopted:
        """See `edge.ports.AdoptPort`."""
        async with self._one:
            known = await self.look(asked)
            if known.state == "begun" and await self._go_on(await self._row(known.recording_id)) is None:
                known = await self.look(asked)  # begun anew from the file, which is all there
            if known.state in ("erased", "given_up"):
                raise _refused("adopt.erased", "the recording made of this file was erased", asked)
            if known.state == "new":
                recording_id, keys = await self._file(asked, by_uid)
                hit("adopt.filed")
            else:
                recording_id, keys = known.recording_id, None
            row = await self._row(recording_id)
            if row.state != "sealed":
                await self._seal_sound(asked, row, keys, source)
                await self._finish(row.recording_id)
                row = await self._row(recording_id)
            elif known.state == "sealed":
                await self._tools.in_worker(partial(self._prove_stored, row))
            if row.state != "sealed":
                raise _refused("adopt.erased", f"the recording is {row.state} already", asked)
            return Adopted(recording_id, row.frames or 0, asked.facts.content)

    # ------------------------------------------------------------ before the first byte

    def _policy(self, asked: Asked) -> Policy:
        policy = self._policy_of(asked.grounds.policy)
        if policy is None or policy.mode == "never":
            why = "there is no such policy" if policy is None else "this policy has no recipients"
            raise CallwardenError("adopt.policy", why, hint="callwarden policy list", where=asked.grounds.policy)
        return policy

    async def _file(self, asked: Asked, by_uid: int) -> tuple[str, SegmentKeys]:
        """Key in its slot, then everything in one commit."""
        policy, facts = self._policy(asked), asked.facts
        recording_id, capture_id, permit_id = (secrets.token_hex(16) for _ in range(3))
        heard, number_class, full = words.party(facts.number, self._country())
        linked = facts.linkedid or facts.uniqueid or f"file-{facts.identity[:32]}"
        known = await self._tools.journal.adopted_call(linked, policy.name)
        call_id, party_id = known or (secrets.token_hex(16), secrets.token_hex(16))
        recipients = recipients_on(policy, parse_time(facts.started_at).date())
        keys = await make_keys(self._tools.slots, suite_of(policy.suite), recording_id, recipients)
        await self._prove_header(keys, recording_id)
        call = NewCall(
            call_id, linked, facts.uniqueid or linked, "", party_id, facts.direction, policy.name, policy.version,
            policy.document, policy.mode, policy.every_purpose, policy.languages[0], heard, number_class,
            facts.started_at, full,
        )  # fmt: skip
        said = words.evidence(policy, self._edge_id, asked, by_uid=by_uid, party_id=party_id, number_class=number_class)
        event = ConsentEvent("adopted", self._tools.clock.wall_text(), self._tools.clock.mono_ns(), said, party_id)
        recording = NewRecording(
            recording_id, call_id, permit_id, call.channel_uid, "", policy.suite, capture_id, capture_id + SUFFIX,
            facts.codec, facts.rate, facts.channels,
            NewSegment(keys.segment_id, recording_id, 0, capture_id, 0, keys.header), facts.started_at,
        )  # fmt: skip
        new = NewAdoption(asked, call, format_time(_ended(asked)), event, policy.every_purpose, recording, by_uid)
        try:
            await self._tools.journal.adopt(new)
        except CallwardenError:
            await self._tools.slots.release([keys.header.slot])
            raise
        return recording_id, keys

    async def _prove_header(self, keys: SegmentKeys, recording_id: str) -> None:
        """The header opens with the key that lies in its slot. Raises CallwardenError vault.header."""
        header = keys.header
        try:
            unseal_header(
                header.sealed_header, await self._tools.slots.read(header.slot), recording_id=recording_id,
                segment_id=keys.segment_id, version=header.version,
            )  # fmt: skip
        except FormatError as error:
            raise CallwardenError("vault.header", error.message, where=keys.segment_id) from error

    def _prove_stored(self, row: RecordingRow) -> None:
        """What was sealed before is still what its rows say: its file is about to go for it. Raises vault.differs."""
        for one in row.segments:
            if one.payload_bytes and self._tools.vault.sha512(row.recording_id, one.segment_id) != one.payload_sha512:
                raise CallwardenError(
                    "vault.differs", "a payload is not what was sealed", where=row.recording_id,
                    hint="callwarden verify says more; the file it was made of is still there",
                )  # fmt: skip

    # ------------------------------------------------------------ the sound

    async def _seal_sound(self, asked: Asked, row: RecordingRow, keys: SegmentKeys | None, source: SoundSource) -> None:
        facts, total = asked.facts, asked.facts.total_bytes
        sealed, prefix = await self._tools.journal.adoption_progress(row.recording_id)
        whole = hashlib.sha256()
        try:
            await _pass_over(source, sealed, whole, asked)
            if whole.hexdigest() != prefix:
                raise _changed(asked)
            number = row.segments[-1].number if keys is not None else row.segments[-1].number + 1
            suite = suite_of(row.suite)
            limit = segment_chunks(facts.rate * frame_bytes(facts.codec, facts.channels), suite.chunk) * suite.chunk
            while sealed < total:
                if keys is None:
                    keys = await self._next_segment(row, number, sealed)
                    hit("adopt.segment_added")
                segment = _Segment(keys, suite, number, min(limit, total - sealed), _nothing(keys))
                sealed = await self._fill(row, segment, source, sealed, whole, asked)
                keys, number = None, number + 1
            if whole.hexdigest() != facts.content or await source(1):
                raise _changed(asked)
        except CallwardenError as error:
            if error.code == "adopt.changed":
                why = "a file changed while it was taken over; what was sealed of it is quarantined"
                await self._give_up(row.recording_id, error.code, why)
            if error.code == "adopt.erased":  # a file that was made behind the erasure's back
                await self._tools.in_worker(partial(self._tools.vault.unlink, row.recording_id))
            raise

    async def _next_segment(self, row: RecordingRow, number: int, sealed: int) -> SegmentKeys:
        recipients = row.segments[-1].header.recipients
        keys = await make_keys(self._tools.slots, suite_of(row.suite), row.recording_id, recipients)
        await self._prove_header(keys, row.recording_id)
        segment = NewSegment(keys.segment_id, row.recording_id, number, row.capture_id, sealed, keys.header)
        try:
            await self._tools.journal.adopt_segment(segment)
        except CallwardenError:
            await self._tools.slots.release([keys.header.slot])
            raise
        return keys

    async def _fill(
        self, row: RecordingRow, segment: _Segment, source: SoundSource, sealed: int, whole: hashlib._Hash, asked: Asked
    ) -> int:
        """Seal one segment to its end; returns how much of the sound is sealed then."""
        tools, left = self._tools, segment.room
        while left:
            plain = await _exactly(source, min(PIECE, left), asked)
            left -= len(plain)
            last = left == 0
            piece, running = await tools.in_worker(partial(self._piece, row.recording_id, segment, plain, last))
            hit("adopt.piece_verified")
            whole.update(plain)
            sealed += len(plain)
            segment.progress, segment.digest = piece, running
            if left:
                await tools.journal.adopt_progress(piece, sealed, whole.hexdigest())
                hit("adopt.progress")
        digest = segment.digest.digest()
        if digest != await tools.in_worker(partial(tools.vault.sha512, row.recording_id, segment.keys.segment_id)):
            raise CallwardenError(
                "vault.differs", "the payload on the disk is not what was written", where=row.recording_id
            )
        # With the last flag a segment ends: nobody may find it sealed to its end and still open.
        reason = "hangup" if sealed == asked.facts.total_bytes else "rotate"
        await tools.journal.adopt_close(
            ClosedSegment(segment.progress, row.recording_id, "closed", reason, digest), sealed, whole.hexdigest()
        )
        hit("adopt.segment_closed")
        await self._waveform(row, segment)
        return sealed

    async def _waveform(self, row: RecordingRow, segment: _Segment) -> None:
        """As of any segment, while its key is in hand; a failure costs the waveform alone. Never compacted: every bit stays."""
        of = afterwork.Of(
            row.recording_id, row.codec, row.rate, row.channels, segment.suite, segment.keys.header.recipients, "none"
        )
        number, plain = segment.number, segment.progress.plain_bytes
        ended = afterwork.Ended(segment.keys.segment_id, number, segment.keys.file_key, whole=True, plain_bytes=plain)
        await afterwork.work(self._tools, of, ended)

    def _piece(self, recording_id: str, segment: _Segment, plain: bytes, last: bool) -> tuple[Progress, hashlib._Hash]:
        """Encrypt, append, sync, read back, open, compare. Blocks."""
        before, keys, vault, suite = segment.progress, segment.keys, self._tools.vault, segment.suite
        place = Place(recording_id, keys.segment_id)
        sealer = suite.sealer(keys.file_key, keys.salt, place)
        parts = [plain[at : at + suite.chunk] for at in range(0, len(plain), suite.chunk)]
        if last and suite.short_last and len(parts[-1]) == suite.chunk:
            parts.append(b"")
        ends = [last and number == len(parts) - 1 for number in range(len(parts))]
        sealed = [
            sealer.seal(before.chunks + n, one, end) for n, (one, end) in enumerate(zip(parts, ends, strict=True))
        ]
        first = before.payload_bytes == 0
        data = (sealer.prefix if first else b"") + b"".join(sealed)
        if first and not os.path.exists(vault.path(recording_id, keys.segment_id)):
            vault.create(recording_id, keys.segment_id)
        vault.append(recording_id, keys.segment_id, before.payload_bytes, data)
        hit("adopt.piece_synced")
        back = read_back(vault.path(recording_id, keys.segment_id), before.payload_bytes, len(data))
        at, tags = suite.prefix * first, before.tags_hash
        try:
            opener = suite.opener(keys.file_key, back[:at] if first else sealer.prefix, place)
            for n, (one, end) in enumerate(zip(parts, ends, strict=True)):
                chunk = back[at : at + len(one) + TAG]
                if opener.open(before.chunks + n, chunk, end) != one:
                    raise CallwardenError("vault.differs", "the disk gave other sound back", where=recording_id)
                tags = extend_tags_hash(tags, chunk[-TAG:])
                at += len(chunk)
        except FormatError as error:
            raise CallwardenError(
                "vault.differs", f"what was written does not open: {error.message}", where=recording_id
            ) from error
        digest = segment.digest.copy()
        digest.update(data)
        return Progress(
            keys.segment_id, before.chunks + len(parts), before.plain_bytes + len(plain),
            before.payload_bytes + len(data), tags,
        ), digest  # fmt: skip

    # ------------------------------------------------------------ ends

    async def _finish(self, recording_id: str) -> None:
        """All segments are closed: manifest and `sealed`."""
        tools, row = self._tools, await self._row(recording_id)
        await tools.journal.set_recording_state(recording_id, "closing")
        frames = sum(row.frames_of(s) for s in row.segments)
        ended_at = format_time(parse_time(row.started_at) + timedelta(seconds=frames / row.rate))
        manifest = tools.make_manifest(row, "complete", frames, ended_at)
        await tools.journal.seal_recording(
            recording_id, ending="complete", frames=frames, ended_at=ended_at, manifest=manifest
        )
        hit("adopt.sealed")
        log.info("a file was taken over", recording=recording_id, seconds=round(frames / row.rate, 3))

    async def _go_on(self, row: RecordingRow) -> RecordingRow | None:
        """A recording that was begun before, ready for what follows; None when it was given up, because what lies in the
        vault is not what was committed. Its file goes for it in the end, so all of it is looked at."""
        try:
            row = await self._end_open(row)
            await self._tools.in_worker(partial(self._prove_stored, row))
        except CallwardenError as error:
            if error.code not in _LOST:
                raise
            await self._give_up(
                row.recording_id, error.code, f"what was sealed of a file is quarantined: {error.message}"
            )
            return None
        return row

    async def _end_open(self, row: RecordingRow) -> RecordingRow:
        """Nobody has the key of an open segment any more: it ends with its last committed piece."""
        last = row.segments[-1]
        if last.state != "open":
            return row
        digest = await self._tools.in_worker(partial(cut, self._tools.vault, last))
        progress = Progress(last.segment_id, last.chunks, last.plain_bytes, last.payload_bytes, last.tags_hash)
        await self._tools.journal.close_segment(
            ClosedSegment(progress, row.recording_id, "truncated", "resume_refused", digest)
        )
        return await self._row(row.recording_id)

    async def _give_up(self, recording_id: str, code: str, why: str) -> None:
        await self._tools.journal.give_up_adoption(recording_id)
        await self._tools.journal.alarm(code, why, where=recording_id)
        log.error("a taking over was given up", recording=recording_id, why=why)

    async def _row(self, recording_id: str) -> RecordingRow:
        row = await self._tools.journal.recording(recording_id)
        if row is None:
            raise CallwardenError("journal.unknown", "the recording is not on file", where=recording_id)
        return row


def read_back(path: str, offset: int, size: int) -> bytes:
    """Bytes of a file as the disk has them: what the cache holds of it is dropped first (it is synced). Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def _nothing(keys: SegmentKeys) -> Progress:
    return Progress(keys.segment_id, 0, 0, 0, bytes(32))


def _ended(asked: Asked) -> datetime:
    facts = asked.facts
    seconds = facts.total_bytes // frame_bytes(facts.codec, facts.channels) / facts.rate
    return parse_time(facts.started_at) + timedelta(seconds=seconds)


async def _exactly(source: SoundSource, size: int, asked: Asked) -> bytes:
    parts, left = [], size
    while left:
        part = await source(left)
        if not part:
            raise _refused("adopt.short", "the sound ended before its announced length", asked)
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


async def _pass_over(source: SoundSource, sealed: int, whole: hashlib._Hash, asked: Asked) -> None:
    """What is sealed already comes again, so that the whole file is looked at."""
    while sealed:
        part = await _exactly(source, min(PIECE, sealed), asked)
        whole.update(part)
        sealed -= len(part)


def _refused(code: str, message: str, asked: Asked) -> CallwardenError:
    return CallwardenError(code, message, where=asked.facts.name)


def _changed(asked: Asked) -> CallwardenError:
    return CallwardenError(
        "adopt.changed", "the file is not what it was when it was looked at", where=asked.facts.name,
        hint="see that nobody writes to it, and run again",
    )  # fmt: skip
