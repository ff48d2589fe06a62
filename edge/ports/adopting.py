"""Taking over recordings that were files: the journal's rows of it, and what the desk and the standing service ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.model.adoption import Asked, Known
from edge.model.entities import ClosedSegment, ConsentEvent, NewCall, NewRecording, NewSegment, Progress

#: (most bytes) -> the next bytes of the sound, b"" at its end.
SoundSource = Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class NewAdoption:
    """Everything one commit files before the first byte is sealed. `ended_at`: of the call, which is over."""

    asked: Asked
    call: NewCall
    ended_at: str
    event: ConsentEvent
    purposes: tuple[str, ...]
    recording: NewRecording
    by_uid: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """A file whose sound is sealed, durable and was read back. frames: samples of all channels."""

    recording_id: str
    frames: int
    content: str


class AdoptionBook(Protocol):
    """Rows of what was taken over."""

    async def adoption(self, identity: str) -> Known:
        """What is on file about a file; state `new` when nothing is."""
        ...

    async def handled(self, uniqueid: str, linkedid: str) -> str | None:
        """Why a call of these ids is not to be taken over: this edge answered for it itself, or recordings of it were
        erased. None when nothing is in the way."""
        ...

    async def adopted_call(self, linked_id: str, policy_id: str) -> tuple[str, str] | None:
        """(call_id, party_id) of the call that an earlier file of it brought."""
        ...

    async def adopt(self, new: NewAdoption) -> None:
        """One commit: call (ended, outcome `adopted`) and party unless an earlier file brought them, event, permit,
        recording `recording`, capture, segment, header, mark `adopted`, adoption; audit and outbox rows of each. Raises
        adopt.handled, and journal.conflict when the identity is on file."""
        ...

    async def adopt_segment(self, segment: NewSegment) -> None:
        """A further segment. Raises adopt.erased when the recording is not being taken over any more."""
        ...

    async def adopt_progress(self, piece: Progress, sealed_bytes: int, sealed_sha256: str) -> None:
        """How far the open segment and the whole file are sealed, one commit; `sealed_sha256`: of those first bytes of the
        sound. Raises adopt.erased as above."""
        ...

    async def adopt_close(self, closed: ClosedSegment, sealed_bytes: int, sealed_sha256: str) -> None:
        """The last piece of a segment and its end, one commit. Raises adopt.erased as above."""
        ...

    async def adoption_progress(self, recording_id: str) -> tuple[int, str]:
        """(sealed_bytes, sealed_sha256)."""
        ...

    async def give_up_adoption(self, recording_id: str) -> None:
        """The file is not what it was: the recording becomes `quarantined`, and its identity is free again."""
        ...

    async def removing_original(self, recording_id: str) -> None:
        """The sound is sealed and its file is about to be unlinked; audit. Raises adopt.not_sealed."""
        ...

    async def original_gone(self, recording_id: str, *, kept: bool) -> None:
        """The file is unlinked, or (`kept`) stays by somebody's wish; audit. Repeats do nothing."""
        ...

    async def originals(self) -> Sequence[Mapping[str, Any]]:
        """recording_id place state removing_at of files that are neither gone nor kept, oldest first."""
        ...

    async def original_of(self, recording_id: str) -> Mapping[str, Any] | None:
        """kept removing_at removed_at of the file that a recording was; None of one that was none."""
        ...


class AdoptPort(Protocol):
    """What takes files over."""

    async def look(self, asked: Asked) -> Known:
        """What is on file, without a change. Raises adopt.policy, adopt.no_key, adopt.handled,
        adopt.past_retention, adopt.time."""
        ...

    async def take(self, asked: Asked, source: SoundSource, by_uid: int) -> Adopted:
        """Seal the whole sound, or what is missing of it. Returns once it is durable and verified; sealed before: at once.
        Raises as `look`, and adopt.changed, adopt.short, adopt.erased, vault.*, journal.*."""
        ...
