"""Finds callers' voices in files: exact samples as 16-bit PCM (one channel or one of two), µ-law and A-law.

Every pitch of rig.tones is known to the sample, so eight bytes of it are a proof and cannot turn up by chance. Patterns
are taken every STRIDE samples and looked for at every byte, so any piece of STRIDE + 8 samples (17 ms) is found.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rig.tones import CALLER, LEVEL, RATE, decode, encode

STRIDE = 128  # samples between two patterns
_BLOCK = 1 << 18
_OVERLAP = 64
_TABLE_BITS = 22
_MIX = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: 2**64 / golden ratio
#: What the rig itself writes for callers and agents to speak.
_OWN = re.compile(r"voice-(caller|agent)-[^/]*\.(ulaw|alaw|part)$")
#: File systems that are no disk: memory, and the kernel's own.
_NO_DISK = frozenset(
    [
        "tmpfs",
        "ramfs",
        "devtmpfs",
        "proc",
        "sysfs",
        "devpts",
        "cgroup",
        "cgroup2",
        "mqueue",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "configfs",
    ]
)

Words = npt.NDArray[np.uint64]


class VoiceSearch:
    """Looks for any caller's voice. A pitch begins each second at the same phase, so one second of each is all there is."""

    def __init__(self, band: tuple[int, ...] = CALLER) -> None:
        parts = []
        for hertz in band:
            # rig.tones.tone: the phase of sample n is that of n + 1 steps.
            said = (LEVEL * np.sin(2 * np.pi * hertz * np.arange(1, RATE + 1) / RATE)).astype(np.int16)
            for law in ("ulaw", "alaw"):
                heard = decode(encode(said, law), law)  # what Asterisk has after the phone's codec
                parts.append(_taken(heard.astype("<i2").tobytes(), 2 * STRIDE))
                parts += [_taken(encode(heard, other), STRIDE) for other in ("ulaw", "alaw")]
        self._patterns = np.unique(np.concatenate(parts))
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._table[_hash(self._patterns)] = True

    def in_bytes(self, data: bytes) -> bool:
        """Whether a voice is in `data`, in any of the forms."""
        return any(self._any(words) for words in _windows(data))

    def in_file(self, path: Path) -> bool:
        """As `in_bytes`; a file that vanished meanwhile holds nothing."""
        try:
            with path.open("rb") as file:
                rest = b""
                while block := file.read(_BLOCK):
                    if block.count(0) == len(block):
                        rest = b""
                        continue
                    if self.in_bytes(rest + block):
                        return True
                    rest = block[-_OVERLAP:]
        except (FileNotFoundError, PermissionError):
            return False
        return False

    def in_files(self, paths: Iterable[Path]) -> list[Path]:
        """Those that hold a voice."""
        return [path for path in paths if self.in_file(path)]

    def _any(self, words: Words) -> bool:
        maybe = words[self._table[_hash(words)]]
        at = np.minimum(np.searchsorted(self._patterns, maybe), len(self._patterns) - 1)
        return bool((self._patterns[at] == maybe).any())


def _taken(data: bytes, stride: int) -> Words:
    """Eight bytes of `data` at every `stride`."""
    return np.ascontiguousarray(np.frombuffer(data[: len(data) // stride * stride], np.uint8).reshape(-1, stride)[:, :8]).view(
        "<u8"
    )[:, 0]  # fmt: skip


def _hash(words: Words) -> npt.NDArray[np.intp]:
    return ((words * _MIX) >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)


def _windows(data: bytes) -> Iterator[Words]:
    """All eight-byte windows of `data`, then all windows of four samples of either channel of two."""
    for shift in range(min(8, len(data))):
        yield np.frombuffer(data, "<u8", count=max(0, len(data) - shift) // 8, offset=shift)
    for shift in range(min(4, len(data))):
        frames = np.frombuffer(data, "<u4", count=max(0, len(data) - shift) // 4, offset=shift)
        for channel in (frames & 0xFFFF, frames >> 16):
            samples = channel.astype("<u2")
            for start in range(4):
                some = samples[start : start + max(0, len(samples) - start) // 4 * 4]
                yield np.ascontiguousarray(some).view("<u8")


def disk_roots() -> list[Path]:
    """Every mount point that is not memory and not the kernel's own."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [Path(f[1].replace("\\040", " ")) for f in map(str.split, lines) if f[2] not in _NO_DISK]


def written_since(when: float, roots: Sequence[Path], owners: Collection[int] | None = None) -> Iterator[Path]:
    """Regular files on disks below `roots` that changed at or after `when` (Unix seconds), but the rig's own voices.

    owners: user ids whose files count, None for everybody's.
    """
    lines = Path("/proc/self/mounts").read_text().splitlines()
    skipped = {f[1] for f in map(str.split, lines) if f[2] in _NO_DISK}
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if any(str(root) == s or str(root).startswith(f"{s}/") for s in skipped):
            continue
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if os.path.join(folder, f) not in skipped]
            for name in names:
                path = Path(folder, name)
                try:
                    info = path.lstat()
                except (FileNotFoundError, PermissionError):
                    continue
                changed = max(info.st_mtime, info.st_ctime) >= when and stat.S_ISREG(info.st_mode)
                ours = owners is None or info.st_uid in owners
                if changed and ours and (info.st_dev, info.st_ino) not in seen and not _OWN.search(name):
                    seen.add((info.st_dev, info.st_ino))
                    yield path
