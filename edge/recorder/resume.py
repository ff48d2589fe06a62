"""The open segment's file key, kept in a tmpfs folder of the daemon's own so that a restart goes on with the segment.

Only for suites that resume. A key of another suite is bound in the same way and checked before each write, but it lies
nowhere outside the process, and a restart begins a new segment.

It is bound to the machine's boot, the journal's incarnation, the spool file's inode and the distance between the wall
and the monotonic clock. Any mismatch means that this key may already have sealed other bytes (a restored snapshot, a
copied machine, a replaced file), and sealing twice under one key and counter gives the speech away: the key is then
destroyed and a new segment starts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from edge.ports import Clock

#: How far wall and monotonic clock may drift apart in the life of one segment (slewing NTP), milliseconds.
MAX_CLOCK_JUMP_MS: Final = 2000


class ResumeKey(msgspec.Struct, frozen=True):
    """What a restarted daemon needs to go on. `file_key` and `salt` have the lengths of the segment's suite."""

    segment_id: str
    file_key: bytes
    salt: bytes
    boot_id: str
    incarnation: str
    inode: int
    clock_gap_ms: int


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def clock_gap_ms(clock: Clock) -> int:
    """Wall clock minus monotonic clock: constant while neither jumps and the machine neither sleeps nor is restored."""
    return int(clock.wall().timestamp() * 1000) - clock.mono_ns() // 1_000_000


class ResumeFolder:
    """The folder of resume keys (0700, on a tmpfs)."""

    def __init__(self, folder: Path, incarnation: str, clock: Clock) -> None:
        self._folder = folder
        self._incarnation = incarnation
        self._clock = clock
        self._boot = boot_id()

    def make(self, segment_id: str, file_key: bytes, salt: bytes, inode: int) -> ResumeKey:
        """Bind a key to this boot, journal, file and clock."""
        return ResumeKey(segment_id, file_key, salt, self._boot, self._incarnation, inode, clock_gap_ms(self._clock))

    def save(self, key: ResumeKey) -> None:
        """Write it (0600). A torn file is one that does not load, which costs a new segment and nothing else."""
        path = self._path(key.segment_id)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.msgpack.encode(key))
        finally:
            os.close(fd)

    def load(self, segment_id: str) -> ResumeKey | None:
        """The key, or None when it is missing, torn or too open."""
        try:
            fd = os.open(self._path(segment_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if os.fstat(fd).st_mode & 0o077:
                return None
            key = msgspec.msgpack.decode(os.read(fd, 4096), type=ResumeKey)
        except (msgspec.DecodeError, OSError):
            return None
        finally:
            os.close(fd)
        return key if key.segment_id == segment_id else None

    def refuses(self, key: ResumeKey, inode: int) -> str:
        """Why this key must not seal any more, or "" when it may."""
        if key.boot_id != self._boot:
            return "the machine was started again"
        if key.incarnation != self._incarnation:
            return "the journal is another one"
        if key.inode != inode:
            return "the spool file is another one"
        if abs(clock_gap_ms(self._clock) - key.clock_gap_ms) > MAX_CLOCK_JUMP_MS:
            return "wall and monotonic clock moved apart"
        return ""

    def destroy(self, segment_id: str) -> None:
        """Overwrite and remove, if there."""
        path = self._path(segment_id)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(fd, os.urandom(os.fstat(fd).st_size))
        finally:
            os.close(fd)
        os.unlink(path)

    def segments(self) -> list[str]:
        """Ids of all segments that have a key here."""
        return [name.removesuffix(".key") for name in os.listdir(self._folder) if name.endswith(".key")]

    def _path(self, segment_id: str) -> Path:
        return self._folder / f"{segment_id}.key"
