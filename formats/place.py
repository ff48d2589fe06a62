"""Where a segment's bytes belong: what a suite that can bind its ciphertext to a context binds it to."""

from __future__ import annotations

from dataclasses import dataclass

from formats.ids import is_id


@dataclass(frozen=True, slots=True)
class Place:
    """A segment of a recording. Raises ValueError for anything but ids (32 lower-case hex digits)."""

    recording_id: str
    segment_id: str

    def __post_init__(self) -> None:
        if not (is_id(self.recording_id) and is_id(self.segment_id)):
            raise ValueError("a segment's place is two ids of 32 hex digits")

    def under(self, label: bytes) -> bytes:
        """The bytes that tie a key or a ciphertext to this place, for the use that `label` names (no NUL in it)."""
        return b"%b\x00%b/%b" % (label, self.recording_id.encode("ascii"), self.segment_id.encode("ascii"))
