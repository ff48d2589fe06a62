"""Uploads payloads of sealed recordings, one after another, no faster than it may. Write order `media at the edge`.

Nothing is held in memory that matters: what is due is in the journal, how far it is central says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.gate import Gate
from edge.model.entities import RecordingRow, SegmentRow
from edge.ports import Journal, MediaDoor, MediaState, Vault

_log = structlog.get_logger("media")

#: Bytes in one request: small enough that one that is lost costs little.
PIECE: Final = 256 * 1024
#: Recordings that are due by policy, read at once.
PAGE: Final = 50
#: What is no matter of one payload: the pass ends.
_ENDS: Final = ("sync.unreachable", "sync.certificate", "sync.busy", "sync.refused", "media.none")
#: A look without being woken, and the waits after a failure, seconds.
IDLE_S: Final = 15.0
FIRST_S: Final = 1.0
LAST_S: Final = 60.0


def pause_s(size: int, rate: int, took_s: float) -> float:
    """How long to wait after `size` bytes went in `took_s`, for `rate` bytes a second; 0 is no bound."""
    return max(0.0, size / rate - took_s) if rate else 0.0


class Uploader:
    """The media stage. `rate()`: bytes a second, 0 for as fast as it goes. `jitter()` gives a number in [0, 1)."""

    def __init__(
        self,
        *,
        journal: Journal,
        vault: Vault,
        door: MediaDoor,
        rate: Callable[[], int],
        jitter: Callable[[], float],
        gate: Gate | None = None,
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._door = door
        self._rate = rate
        self._jitter = jitter
        self._gate = gate or Gate()
        self._wake = asyncio.Event()
        self._alarmed: set[str] = set()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Central being away is not an error here."""
        self._journal.on_new(self.wake)
        await self._gate.wait()
        wait = FIRST_S
        while True:
            self._wake.clear()
            if await self._tried():
                wait = FIRST_S
                try:
                    await asyncio.wait_for(self._wake.wait(), IDLE_S)
                except TimeoutError:
                    pass
            else:
                await asyncio.sleep(wait * (0.5 + self._jitter() / 2))
                wait = min(LAST_S, wait * 2)

    async def _tried(self) -> bool:
        try:
            return await self.look()
        except CallwardenError as error:
            await self._alarm_once(error, "media.none")
        except Exception:  # one stage's bug must not stop the recording of calls
            _log.exception("bug")
        return False

    async def look(self) -> bool:
        """Everything that is due, once; False where something of it has to be tried again. What cannot go holds up no other.
        Raises CallwardenError sync.* media.none."""
        whole = True
        for wanted in await self._journal.wanted_media():
            result, evidence = await self._alone(wanted.recording_id)
            if result:
                await self._journal.media_served(wanted.jti, wanted.recording_id, result, evidence)
                hit("upload.told")
            whole &= bool(result)
        after = ""
        while due := await self._journal.media_due(PAGE, after):  # behind what waits, other recordings wait too
            for recording_id in due:
                result, _ = await self._alone(recording_id)
                if result:
                    await self._journal.media_told(recording_id, result)
                    hit("upload.noted")
                whole &= bool(result)
            after = due[-1]
        if whole:
            self._alarmed.clear()
        return whole

    async def _alone(self, recording_id: str) -> tuple[str, dict[str, Any]]:
        """As `_recording`; what is wrong with this one alone is an alarm, and it has to wait."""
        try:
            return await self._recording(recording_id)
        except CallwardenError as error:
            if error.code in _ENDS:
                raise
            await self._alarm_once(error, error.code, recording_id)
            return "", {}

    async def _recording(self, recording_id: str) -> tuple[str, dict[str, Any]]:
        """("done" or a code, evidence); "" where it has to wait."""
        row = await self._journal.recording(recording_id)
        if row is None or row.state != "sealed":
            return "command.state", {}
        if await self._restricted(row):
            return "", {}
        told = []
        for segment in row.segments:
            if (
                segment.state not in ("closed", "truncated")
                or segment.payload_sha512 is None
                or not segment.payload_bytes
            ):
                continue
            try:
                result = await self._segment(row, segment, segment.payload_sha512.hex())
            except CallwardenError as error:
                if not error.code.startswith("vault."):
                    raise
                now = await self._journal.recording(recording_id)
                if now is None or now.state != "sealed":
                    return "command.state", {}  # erased meanwhile
                if error.retryable:
                    raise
                result = error.code
                await self._journal.alarm(
                    error.code, f"a payload cannot be uploaded: {error.message}", where=recording_id
                )
            if result != "stored":
                return result, {}
            sha512 = segment.payload_sha512.hex()
            told.append({"segment_id": segment.segment_id, "sha512": sha512, "bytes": segment.payload_bytes})
        return "done", {"segments": told}

    async def _segment(self, row: RecordingRow, segment: SegmentRow, sha512: str) -> str:
        """`stored`, a code, or "" where central has to hear of it first."""
        at, wrong = await self._door.state(sha512), False
        while at.state in ("absent", "coming"):
            at = await self._piece(row.recording_id, segment, sha512, at.offset)
            if at.state == "wrong" and not wrong:
                wrong, at = True, MediaState("absent", 0)  # what was torn there is gone; once more from the beginning
        hit("upload.stored")
        if at.state in ("wrong", "differs"):
            message = f"central refuses a payload: it is not what the manifest says ({at.state})"
            await self._journal.alarm("media.differs", message, where=segment.segment_id)
            return "media.differs"
        return {"stored": "stored", "erased": "media.erased", "unknown": ""}[at.state]

    async def _piece(self, recording_id: str, segment: SegmentRow, sha512: str, offset: int) -> MediaState:
        begun = asyncio.get_running_loop().time()
        piece = await asyncio.to_thread(self._read, recording_id, segment, offset)
        if await self._restricted_now(recording_id):
            return MediaState("unknown", offset)
        at = await self._door.put(recording_id, segment.segment_id, sha512, offset, piece)
        hit("upload.piece_sent")
        await asyncio.sleep(pause_s(len(piece), self._rate(), asyncio.get_running_loop().time() - begun))
        return at

    def _read(self, recording_id: str, segment: SegmentRow, offset: int) -> bytes:
        """Blocks. Raises CallwardenError vault.*"""
        with self._vault.open(recording_id, segment.segment_id) as file:
            file.seek(offset)
            piece = file.read(max(0, min(PIECE, segment.payload_bytes - offset)))
        if not piece and offset < segment.payload_bytes:
            raise CallwardenError("vault.short", "the payload is shorter than its row says", where=segment.segment_id)
        return piece

    async def _restricted_now(self, recording_id: str) -> bool:
        row = await self._journal.recording(recording_id)
        return row is None or row.state != "sealed" or await self._restricted(row)

    async def _restricted(self, row: RecordingRow) -> bool:
        """What is restricted is kept where it is (GDPR Art. 18), and goes once that ends."""
        by_order = await self._journal.restricted_by(row.recording_id)
        return by_order is not None or bool(await self._journal.restrictions_on(row.recording_id, row.call_id))

    async def _alarm_once(self, error: CallwardenError, code: str, where: str = "") -> None:
        """An alarm where the error is of this code, and none was since everything had gone."""
        _log.warning("upload", code=error.code, what=error.message, where=where or error.where)
        if error.code == code and code not in self._alarmed:
            self._alarmed.add(code)
            await self._journal.alarm(code, error.message, where=where)
