"""What runs in the background for as long as the daemon does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger("edge")


class Tasks:
    """Background tasks. failed: why the daemon must end, None while it need not."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run in the background; a task that dies of a bug takes the daemon down, which systemd starts again."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the daemon died; it ends to be started again", exc_info=error)
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the daemon, as SIGTERM does; `run` raises the error."""
        self.failed = error
        os.kill(os.getpid(), signal.SIGTERM)

    async def end(self) -> None:
        """Cancel them all, and wait until they are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
