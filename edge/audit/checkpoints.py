"""Checkpoints of the audit log: signed notes, made after enough time or enough entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from edge.errors import CallwardenError
from edge.model.entities import Checkpoint
from edge.ports import Journal
from formats import checkpoint as tlog
from formats.keys import SigningKey

#: At least one checkpoint per this many seconds in which an entry came.
EVERY_SECONDS: Final = 60.0
#: And one per this many entries.
EVERY_ENTRIES: Final = 100


def origin(edge_id: str, incarnation: str) -> str:
    """The log's name: a new journal file is a new log, so that a lost one never looks like a rewritten one; one put back
    from a backup (`<instance>/<n>`) goes on from what the backup has, under a name of its own."""
    return f"callwarden/{edge_id}/{incarnation}"


class Checkpointer:
    """Signs the log's head. `run` is the daemon's task; `make` may be called at any time (before a receipt)."""

    def __init__(
        self,
        journal: Journal,
        key: SigningKey,
        *,
        every_seconds: float = EVERY_SECONDS,
        every_entries: int = EVERY_ENTRIES,
    ) -> None:
        self._journal = journal
        self._key = key
        self._every_seconds = every_seconds
        self._every_entries = every_entries
        self.origin = origin(journal.edge_id, journal.incarnation)
        self._lock = asyncio.Lock()
        self._new = asyncio.Event()

    async def make(self) -> Checkpoint | None:
        """Sign and store a checkpoint over all entries; the last one when nothing was added, None for an empty log.

        Raises CallwardenError journal.*, audit.*.
        """
        async with self._lock:
            size = await self._journal.audit_size()
            last = await self._journal.last_checkpoint()
            if size == 0 or (last is not None and last.size == size):
                return last
            root = await self._journal.audit_root(size)
            note = str(tlog.Checkpoint(self.origin, size, root).note().sign(self.origin, self._key))
            made = Checkpoint(size, note, None)
            await self._journal.save_checkpoint(made)
            return made

    async def run(self, failed: Callable[[CallwardenError], None] | None = None) -> None:
        """Until cancelled: a checkpoint whenever `every_entries` came, or `every_seconds` after the first new one.

        A failure is given to `failed` and tried again with the next one: entries wait, none is lost.
        """
        self._journal.on_new(self._new.set)
        while True:
            try:
                await self._wait()
                await self.make()
            except CallwardenError as error:
                if failed is not None:
                    failed(error)
                await asyncio.sleep(1)

    async def _wait(self) -> None:
        last = await self._size_of_last()
        loop = asyncio.get_running_loop()
        deadline: float | None = None
        while True:
            self._new.clear()
            new = await self._journal.audit_size() - last
            if new >= self._every_entries:
                return
            if new and deadline is None:
                deadline = loop.time() + self._every_seconds
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._new.wait()
                    # A busy edge appends many entries a second: counting them once in a while is enough.
                    await asyncio.sleep(min(1.0, self._every_seconds / 10))
            except TimeoutError:
                return

    async def _size_of_last(self) -> int:
        last = await self._journal.last_checkpoint()
        return last.size if last is not None else 0
