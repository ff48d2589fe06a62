"""Watches the capture spool and the vault from outside, as somebody with root on the host could: sizes, freed pages,
and every plaintext byte while it lies in memory, so that an export can be compared with what Asterisk really wrote."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import errno
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rig.stack import Stack


@dataclass(frozen=True)
class Sample:
    """One look at one spool file. at: Unix seconds; size: bytes written so far; resident: bytes of memory it holds;
    oldest: seconds since the oldest byte still in memory appeared, 0 when none is; vault: payload bytes of the vault."""

    at: float
    size: int
    resident: int
    oldest: float
    vault: int


@dataclass
class SpoolFile:
    """One capture file from its creation to its end. `heard`: every byte of it as it was read from memory."""

    name: str
    fd: int
    seen_at: float
    heard: bytearray = field(default_factory=bytearray)
    samples: list[Sample] = field(default_factory=list)
    gone_at: float | None = None
    _sizes: list[int] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)

    @property
    def most_resident(self) -> int:
        """Bytes of memory at the worst moment."""
        return max((s.resident for s in self.samples), default=0)

    @property
    def oldest(self) -> float:
        """Seconds: the greatest age of a byte in memory."""
        return max((s.oldest for s in self.samples), default=0.0)

    def look(self, now: float, vault: int) -> None:
        """Take a sample and read what is new."""
        status = os.fstat(self.fd)
        size = status.st_size
        if size > len(self.heard):
            self._sizes.append(size)
            self._times.append(now)
            self.heard += os.pread(self.fd, size - len(self.heard), len(self.heard))
        self.samples.append(Sample(now, size, status.st_blocks * 512, self._age(now), vault))

    def _age(self, now: float) -> float:
        try:
            first = os.lseek(self.fd, 0, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but freed pages
                return 0.0
            raise
        at = bisect.bisect_right(self._sizes, first)
        return now - self._times[at] if at < len(self._times) else 0.0


class SpoolWatch:
    """`async with SpoolWatch(stack) as watch`: `watch.files`, every capture file that came meanwhile, by name; it looks
    every `every` seconds.

    """

    def __init__(self, stack: Stack, every: float = 0.05) -> None:
        self._stack = stack
        self._every = every
        self.files: dict[str, SpoolFile] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SpoolWatch:
        self._ignored = set(self._names())
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for file in self.files.values():
            os.close(file.fd)

    @property
    def alive(self) -> list[SpoolFile]:
        """Files that are in the spool now."""
        return [file for file in self.files.values() if file.gone_at is None]

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(self._every)

    def look(self) -> None:
        """One look at everything."""
        now = time.time()
        names = self._names()
        vault = vault_bytes(self._stack)
        for name in names:
            if name not in self.files and name not in self._ignored:
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(self._stack.spool / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    self.files[name] = SpoolFile(name, fd, now)
        for name, file in self.files.items():
            if file.gone_at is None:
                file.look(now, vault)  # also when it was unlinked just now: the descriptor still shows its last bytes
                if name not in names:
                    file.gone_at = now

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._stack.spool)
        except FileNotFoundError:
            return []


def vault_bytes(stack: Stack) -> int:
    """Bytes of all payloads in the vault."""
    return sum(size_of(path) for path in stack.vault.glob("*/*/*.payload"))


def payloads(stack: Stack, recording: str) -> list[Path]:
    """Files in the vault that belong to a recording."""
    return sorted(path for path in stack.vault.glob(f"*/{recording}/*") if path.is_file())


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
