"""The capture spool as captures see it: one run of bytes per capture, whatever files it is made of.

Where MixMonitor's option D does not serve (Asterisk 16 has none; elsewhere it interleaves 16-bit linear at 8 kHz only)
two channels are two files in step. Such a capture is named `NAME.CODEC.pair`, its files `NAME.l.CODEC` (what the caller
says) and `NAME.r.CODEC`; offsets are those of the interleaved samples, so a byte of the pair is half a byte of each file.
Whatever is not in both files yet is not there.
"""

from __future__ import annotations

from edge.errors import CallwardenError
from edge.recorder.files import BUFFER, PAIR, Files, codec_of
from formats.pcm import STORED


def files_of(name: str) -> tuple[str, ...]:
    """The files a capture of this name is made of."""
    if not name.endswith(PAIR):
        return (name,)
    stem, _, codec = name.removesuffix(PAIR).rpartition(".")
    return f"{stem}.l.{codec}", f"{stem}.r.{codec}"


def name_of(stem: str, codec: str, channels: int, *, has_d: bool) -> str:
    """What a capture is called. `has_d`: this MixMonitor has option D."""
    if channels == 1:
        return f"{stem}.{codec}"
    return f"{stem}.raw" if codec == "sln" and has_d else f"{stem}.{codec}{PAIR}"


def buffer_of(name: str) -> int:
    """How many bytes of a capture may still be in Asterisk's buffers."""
    return BUFFER * len(files_of(name))


class Spool(Files):
    """One folder of captures. See `Files` for what each method does."""

    def create(self, name: str) -> int:
        """Make the files, return a number that changes when one of them becomes another."""
        made: list[int] = []
        files = files_of(name)
        try:
            for file in files:
                made.append(super().create(file))
        except CallwardenError:
            for file in files[: len(made)]:
                super().unlink(file)
            raise
        return _one(made)

    def status(self, name: str) -> tuple[int, int] | None:
        """(number as `create` gave it, bytes that are whole samples on all sides), None when a file is missing."""
        found = [super(Spool, self).status(file) for file in files_of(name)]
        there = [one for one in found if one is not None]
        if len(there) < len(found):
            return None
        if len(there) == 1:
            return there[0]
        width = STORED[codec_of(name)]
        return _one([one[0] for one in there]), 2 * (min(one[1] for one in there) // width * width)

    def writer_gone(self, name: str) -> bool:
        """Whether nobody has any of the files open for writing."""
        return all(super(Spool, self).writer_gone(file) for file in files_of(name))

    def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes of [start, end), interleaved."""
        files = files_of(name)
        if len(files) == 1:
            return super().read(name, start, end)
        width = STORED[codec_of(name)]
        frame = 2 * width
        low, high = start // frame * frame, -(-end // frame) * frame
        left, right = (super(Spool, self).read(file, low // 2, high // 2) for file in files)
        return interleaved(left, right, width)[start - low : end - low]

    def take(self, name: str, start: int, end: int) -> bytes | None:
        """The bytes of [start, end), whole samples, or None where one side was freed before."""
        files = files_of(name)
        if len(files) == 1:
            return super().take(name, start, end)
        left, right = (super(Spool, self).take(file, start // 2, end // 2) for file in files)
        return None if left is None or right is None else interleaved(left, right, STORED[codec_of(name)])

    def next_data(self, name: str, offset: int) -> int:
        """The first offset whose page holds bytes on some side."""
        files = files_of(name)
        if len(files) == 1:
            return super().next_data(name, offset)
        return max(offset, 2 * min(super(Spool, self).next_data(file, offset // 2) for file in files))

    def punch(self, name: str, end: int, *, whole: bool = True) -> None:
        """Free the same time on all sides."""
        files = files_of(name)
        for file in files:
            super().punch(file, end // len(files), whole=whole)

    def unlink(self, name: str) -> None:
        """Remove what is there of it."""
        for file in files_of(name):
            super().unlink(file)

    def resident(self, name: str) -> int:
        """Bytes of memory all its files hold."""
        return sum(super(Spool, self).resident(file) for file in files_of(name))


def interleaved(left: bytes, right: bytes, width: int) -> bytes:
    """Samples of `width` bytes, left first; as long as the shorter side."""
    whole = min(len(left), len(right)) // width * width
    out = bytearray(2 * whole)
    for number, side in enumerate((left, right)):
        for byte in range(width):
            out[number * width + byte :: 2 * width] = side[byte:whole:width]
    return bytes(out)


def _one(inodes: list[int]) -> int:
    """One number for one or two inodes."""
    return inodes[0] if len(inodes) == 1 else (inodes[0] * 1_000_003 ^ inodes[1]) & (2**63 - 1)
