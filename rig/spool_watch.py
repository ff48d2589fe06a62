"""Watches the capture spool while calls run: how old its oldest byte gets, and how much of it there is."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

#: How often the folder is looked at, seconds: the error of every age told.
EVERY_S = 0.1


@dataclass
class _File:
    #: (offset, time.monotonic() when the file was first seen to reach it), rising.
    reached: list[tuple[int, float]] = field(default_factory=list)


class SpoolWatch:
    """`with SpoolWatch(folder) as watch:`; afterwards `oldest_s` (seconds) and `most_bytes` (resident, of one file)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.oldest_s = 0.0
        self.most_bytes = 0
        self.files = 0
        self._files: dict[str, _File] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SpoolWatch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.files = len(self._files)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                names = os.listdir(self.folder)
            except FileNotFoundError:
                continue
            for name in names:
                self._look(name)

    def _look(self, name: str) -> None:
        try:
            fd = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return  # sealed and gone
        try:
            now = time.monotonic()
            info = os.fstat(fd)
            try:
                first = os.lseek(fd, 0, os.SEEK_DATA)
            except OSError:
                first = info.st_size  # holes only
        finally:
            os.close(fd)
        seen = self._files.setdefault(name, _File())
        if info.st_size and (not seen.reached or info.st_size > seen.reached[-1][0]):
            seen.reached.append((info.st_size, now))
        self.most_bytes = max(self.most_bytes, info.st_blocks * 512)
        if first < info.st_size:
            since = next(at for size, at in seen.reached if size > first)
            self.oldest_s = max(self.oldest_s, now - since)
