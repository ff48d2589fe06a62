"""One erasure, whoever wants it, in the write order `erase`.

Stop a live capture; intent with its audit entry; shred keys overwritten here and read back; the same at central's
keeper; payloads unlinked; one commit of tombstone, outcome and receipt. Every step may be repeated, so a kill anywhere
leaves an intent that the next start carries out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.entities import ReceiptRow, RecordingRow
from edge.retention.copies import copies_elsewhere
from edge.retention.means import Means
from edge.retention.obstacles import Obstacles

log = structlog.get_logger("retention")


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What is gone, as a receipt names it; `at`: when the last of it went."""

    recording_id: str
    at: str
    cause: str
    key_ids: tuple[str, ...]
    slots: tuple[int, ...]
    unlinked: int
    statement: Mapping[str, Any]
    copies: tuple[Mapping[str, Any], ...] = ()
    manifest_sha256: str | None = None

    def claims(self, checkpoint: str | None, **evidence: Any) -> dict[str, Any]:
        """The claims of a receipt that says so."""
        return {
            "at": self.at,
            "key_ids": self.key_ids,
            "slots": self.slots,
            "evidence": {
                "slots_overwritten": len(self.slots),
                "read_back": True,
                "payloads_unlinked": self.unlinked,
                "cause": self.cause,
                "copies": [dict(one) for one in self.copies],
                **({"manifest_sha256": self.manifest_sha256} if self.manifest_sha256 else {}),
                **evidence,
            },
            "keeper_evidence": dict(self.statement),
            "checkpoint": checkpoint,
        }


Sign = Callable[[Destroyed], Awaitable[ReceiptRow | None]]


class Eraser:
    """Makes a recording go for good."""

    def __init__(self, means: Means, obstacles: Obstacles) -> None:
        self._means = means
        self._obstacles = obstacles

    async def obstacle(self, recording: RecordingRow) -> str | None:
        """Why it must not go now, in a sentence; None when it may."""
        return await self._obstacles.of_recording(recording)

    async def held(self, recordings: Sequence[RecordingRow]) -> tuple[str, str] | None:
        """Why the first of these that may not go must stay, in a sentence, and which that is. What has its intent goes."""
        for one in recordings:
            if one.state != "erasing" and (why := await self.obstacle(one)) is not None:
                return why, one.recording_id
        return None

    async def intend(
        self, recordings: Sequence[RecordingRow], jti: str | None, cause: str, *, over_holds: bool = False
    ) -> None:
        """Stop what is live and file the intents, all or none. From here on there is no way back. Repeats do nothing.
        `over_holds`: their keys are gone already, so no hold can keep them."""
        new = [one.recording_id for one in recordings if one.state != "erasing"]
        if not new:
            return
        for recording_id in new:
            await self._means.recorder.stop(recording_id, "erase")
        await self._means.journal.begin_erase(new[0], jti, cause, also=new[1:], over_holds=over_holds)
        hit("erase.intended")

    async def erase(self, recording_id: str, *, cause: str, jti: str | None, sign: Sign, answers: bool = True) -> None:
        """Everything after the intent. `sign` makes the receipt of what was destroyed; `answers`: it is the last word to
        its order. Raises CallwardenError vault.*, sync.*, journal.*: the intent stays, and it is tried again."""
        means = self._means
        recording = await means.journal.recording(recording_id)
        if recording is None or recording.state == "erased":
            return
        slots = [s.header.slot for s in recording.segments if s.header.slot]  # 0: gone already, after an incident
        key_ids = [s.header.key_id.hex() for s in recording.segments]
        await means.slots.shred(slots)
        hit("erase.slots_shredded")
        statement: Mapping[str, Any] = {"result": "no central is configured"}
        if means.keeper is not None:
            statement = await means.keeper.shred(recording_id, key_ids, jti)
        hit("erase.keeper_answered")
        unlinked = await means.in_worker(lambda: means.vault.unlink(recording_id))
        hit("erase.payload_unlinked")
        at = means.clock.wall_text()
        elsewhere = await copies_elsewhere(means.journal, recording)
        manifest = hashlib.sha256(recording.manifest.encode()).hexdigest() if recording.manifest else None
        receipt = await sign(
            Destroyed(
                recording_id, at, cause, tuple(key_ids), tuple(slots), unlinked, statement, tuple(elsewhere), manifest
            )
        )
        await means.journal.finish_erase(
            recording_id,
            erased_at=at,
            cause=cause,
            key_ids=key_ids,
            receipt=receipt,
            answers=answers,
            numbers=await self._numbers(recording.call_id),
        )
        hit("erase.finished")
        await self._scrub(slots)
        log.info("recording is erased", recording=recording_id, cause=cause, order=jti)

    async def _numbers(self, call_id: str) -> dict[str, str]:
        """party_id to the HMAC of its number. A key that cannot be read costs the HMAC, never the erasure."""
        means = self._means
        if means.digest is None:
            return {}
        try:
            return {party: await means.digest(number) for party, number in await means.journal.numbers_of(call_id)}
        except CallwardenError as error:
            log.warning("a number leaves no HMAC behind", call=call_id, code=error.code, why=error.message)
            return {}

    async def _scrub(self, slots: list[int]) -> None:
        """After the promise is kept: the number out of the WAL, the slots free again. The next start does what fails."""
        try:
            await self._means.journal.read_gate()
            await self._means.slots.release(slots)
        except CallwardenError as error:
            log.info("the journal's old pages go later", code=error.code, why=error.message)
