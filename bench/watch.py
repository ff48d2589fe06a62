"""When files appear, are closed and disappear in a folder, as the kernel tells (inotify)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from asyncinotify import Inotify, Mask

_MASK = Mask.CREATE | Mask.CLOSE_WRITE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO


@dataclass
class Life:
    """One file's life in Unix seconds; None for what has not happened."""

    created: float | None = None
    closed: float | None = None
    deleted: float | None = None


@contextlib.asynccontextmanager
async def lives(folder: Path) -> AsyncIterator[dict[str, Life]]:
    """The lives of the files below `folder` by name, filled while the block runs. The folder must exist."""
    found: dict[str, Life] = {}
    with Inotify() as inotify:
        inotify.add_watch(folder, _MASK)
        task = asyncio.create_task(_follow(inotify, found))
        try:
            yield found
        finally:
            await asyncio.sleep(0.1)  # what the kernel has said already
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _follow(inotify: Inotify, found: dict[str, Life]) -> None:
    async for event in inotify:
        now = time.time()
        life = found.setdefault(str(event.name), Life())
        if event.mask & (Mask.CREATE | Mask.MOVED_TO):
            life.created = now
        elif event.mask & Mask.CLOSE_WRITE:
            life.closed = now
        elif event.mask & (Mask.DELETE | Mask.MOVED_FROM):
            life.deleted = now
