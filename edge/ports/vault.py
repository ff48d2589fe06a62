"""Keys and payloads as stages see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Protocol


class Slots(Protocol):
    """`shred.keys`: 32-byte secrets in a preallocated file, overwritten in place."""

    async def put(self, secret: bytes) -> int:
        """Write to a free slot, fdatasync, return its number. Raises CallwardenError vault.slots_full / vault.io."""
        ...

    async def read(self, slot: int) -> bytes:
        """The 32 bytes. Raises vault.slot_shredded when overwritten or free."""
        ...

    async def shred(self, slots: Sequence[int]) -> None:
        """Overwrite with random bytes, fdatasync, read back past the cache, and check. Repeats are harmless."""
        ...

    async def release(self, slots: Sequence[int]) -> None:
        """Shred and make free again (a key that no row names)."""
        ...

    async def live(self) -> Sequence[int]:
        """Numbers of all slots that hold a key now."""
        ...

    def sweep(self, in_use: Sequence[int]) -> int:
        """At start: shred every written slot that no row names; returns how many."""
        ...


class Vault(Protocol):
    """Payload files. These methods block: call them in a worker thread."""

    def create(self, recording_id: str, segment_id: str) -> None:
        """An empty payload file, O_EXCL, 0600, folder fsynced."""
        ...

    def append(self, recording_id: str, segment_id: str, offset: int, data: bytes) -> None:
        """Write `data` at `offset` and fsync. When bytes already lie there (a crash between append and commit) they must
        equal `data`'s beginning; a difference raises vault.differs before anything is written."""
        ...

    def truncate(self, recording_id: str, segment_id: str, length: int) -> None: ...
    def length(self, recording_id: str, segment_id: str) -> int:
        """Bytes on disk; 0 when there is no file."""
        ...

    def sha512(self, recording_id: str, segment_id: str) -> bytes: ...
    def open(self, recording_id: str, segment_id: str) -> BinaryIO:
        """The payload, to read. Raises vault.missing; vault.planted where it is no plain file of ours."""
        ...

    def path(self, recording_id: str, segment_id: str) -> str: ...
    def unlink(self, recording_id: str) -> int:
        """Remove all payloads of a recording and its folder, fsync the parent; returns how many files went."""
        ...

    def unlink_segment(self, recording_id: str, segment_id: str) -> bool:
        """Remove one payload with its waveform, fsync its folder; false when there was none."""
        ...

    def put_waveform(self, recording_id: str, segment_id: str, sealed: bytes) -> None:
        """The sealed waveform beside the payload, whole or not at all; one that is there is replaced."""
        ...

    def waveform(self, recording_id: str, segment_id: str) -> bytes | None:
        """The sealed waveform, None where there is none."""
        ...

    def take_place(self, recording_id: str, stage: str, segment_id: str) -> None:
        """What lies under the name `stage` (payload, waveform) becomes the segment's; what that had is gone. Repeats and
        a stage that is not there change nothing."""
        ...

    def segments_on_disk(self, recording_id: str) -> Sequence[str]:
        """Ids that files of this recording are named by."""
        ...

    def listing(self) -> Sequence[tuple[str, str, int]]:
        """(recording_id, segment_id, bytes) of every payload on disk."""
        ...
