"""How long each side of a two-channel capture has been silent to the bit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from formats.pcm import SILENCE, STORED

#: A side is silent when it was so to the bit for this long, seconds. Rooms, lines and comfort noise are never that quiet.
SILENT_S: Final = 1.0
SIDES: Final = ("caller", "agent")


@dataclass(slots=True)
class Sides:
    """`codec`: by Asterisk's name; `runs`: samples of digital silence at the end of each side, up to byte `seen`; `told`:
    the side that was reported, and when."""

    seen: int = 0
    codec: str = "sln"
    runs: list[int] = field(default_factory=lambda: [0, 0])
    told: str = ""
    told_ns: int = 0

    def forget(self, size: int) -> None:
        """Begin anew behind `size`: nobody is bridged, or zeros are ordered."""
        self.seen, self.runs = size, [0, 0]

    def listen(self, data: bytes) -> None:
        """More of the capture: whole samples of two channels."""
        width, silence = STORED[self.codec], bytes([SILENCE[self.codec]])
        samples = len(data) // (2 * width)
        for side in range(2):
            loud = max(len(data[side * width + byte :: 2 * width].rstrip(silence)) for byte in range(width))
            self.runs[side] = samples - loud if loud else self.runs[side] + samples

    def silent(self, rate: int) -> str:
        """The one side that is silent while the other is not, or ""."""
        quiet = [run >= SILENT_S * rate for run in self.runs]
        return SIDES[quiet.index(True)] if sum(quiet) == 1 else ""

    def sounds(self, side: str, rate: int) -> bool:
        """Whether this side was heard within the last second."""
        return self.runs[SIDES.index(side)] < SILENT_S * rate
