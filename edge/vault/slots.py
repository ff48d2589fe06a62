"""`Slots` for asyncio: one worker thread owns the slot file, and every put that waits shares one fdatasync."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.vault.slotfile import DESTROYED, FIRST_COUNT, FREE, LIVE, SECRET, SlotFile


@dataclass(slots=True, eq=False)
class _Item:
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    secret: bytes | None
    work: Callable[[], Any] | None
    result: Any = None
    error: BaseException | None = None


class ShredSlots:
    """Implements `edge.ports.Slots`. Operations take effect in the order in which they were asked for."""

    def __init__(self, file: SlotFile) -> None:
        self._file = file
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def open(cls, path: str, *, owner: str, count: int = FIRST_COUNT, allow_copy_on_write: bool = False) -> ShredSlots:
        """See `SlotFile.open`. Blocks; follow with `sweep`."""
        return cls(SlotFile.open(path, owner=owner, count=count, allow_copy_on_write=allow_copy_on_write))

    def sweep(self, in_use: Sequence[int]) -> int:
        """See `edge.ports.Slots`; before the first put. Frees destroyed slots that no row names, too. Blocks.

        A named slot that is free (an older journal was put back) counts as destroyed from now on, so that it is not
        given to another row. Raises CallwardenError vault.missing_keys when that is so for all of them: the slot file
        was lost or made anew. Raises vault.io, vault.shred.
        """
        if self._thread is not None:
            raise RuntimeError("sweep comes before the first use")
        file, named = self._file, set(in_use)
        outside = [n for n in named if not 0 < n < file.count]
        lost = {n for n in named if n not in outside and file.states[n] == FREE}
        if outside or (lost and len(lost) == len(named)):
            raise CallwardenError(
                "vault.missing_keys",
                f"{len(lost) + len(outside)} keys that the journal names are not in this slot file",
                hint="put the right slot file back; without it those recordings cannot be opened",
                where=file.path,
            )
        unnamed = [n for n in range(1, file.count) if file.states[n] != FREE and n not in named]
        written = sum(file.states[n] == LIVE for n in unnamed)
        try:
            file.reserve(lost)
            if unnamed:
                file.destroy(unnamed, free=True)
        except OSError as error:
            raise self._io(error) from error
        return written

    async def put(self, secret: bytes) -> int:
        """See `edge.ports.Slots`."""
        if len(secret) != SECRET:
            raise ValueError("a slot holds exactly 32 bytes")
        number: int = await self._ask(secret, None)
        return number

    async def read(self, slot: int) -> bytes:
        """See `edge.ports.Slots`."""
        secret: bytes = await self._ask(None, lambda: self._file.read(slot))
        return secret

    async def shred(self, slots: Sequence[int]) -> None:
        """See `edge.ports.Slots`. The numbers stay taken, since rows still name them; `release` frees them."""
        numbers = list(slots)
        await self._ask(None, lambda: self._file.destroy(numbers, free=False))

    async def release(self, slots: Sequence[int]) -> None:
        """See `edge.ports.Slots`."""
        numbers = list(slots)
        await self._ask(None, lambda: self._file.destroy(numbers, free=True))

    async def live(self) -> Sequence[int]:
        """See `edge.ports.Slots`."""
        states = self._file.states
        numbers: list[int] = await self._ask(None, lambda: [n for n in range(1, len(states)) if states[n] == LIVE])
        return numbers

    def counts(self) -> dict[str, int]:
        """How many slots are live, destroyed and free (the picture in memory)."""
        states = self._file.states
        return {"live": states.count(LIVE), "destroyed": states.count(DESTROYED) - 1, "free": states.count(FREE)}

    async def close(self) -> None:
        """Finish what is queued and close the file. Repeats do nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self._file.close()

    def _ask(self, secret: bytes | None, work: Callable[[], Any] | None) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            future.set_exception(CallwardenError("vault.io", "the slot file is closed", where=self._file.path))
            return future
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="slots", daemon=True)
            self._thread.start()
        self._queue.put(_Item(future, loop, secret, work))
        return future

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        going = True
        while going:
            item = self._queue.get()
            batch: list[_Item] = []
            while item is not None:
                batch.append(item)
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                going = False
            puts: list[_Item] = []
            for item in batch:
                if item.secret is not None:
                    puts.append(item)
                    continue
                self._put_all(puts)
                puts = []
                self._do(item)
            self._put_all(puts)
            for loop in {item.loop for item in batch}:
                done = [item for item in batch if item.loop is loop]
                try:
                    loop.call_soon_threadsafe(_resolve, done)
                except RuntimeError:
                    pass  # the loop is closed: nobody waits any more

    def _put_all(self, puts: list[_Item]) -> None:
        written: list[_Item] = []
        for item in puts:
            try:
                item.result = self._file.take()
                assert item.secret is not None  # puts are the items with a secret
                self._file.write(item.result, LIVE, item.secret)
                written.append(item)
            except CallwardenError as error:
                item.error = error
            except OSError as error:
                item.error = self._io(error)  # its number stays taken: what the disk has is unknown until the sweep
        if not written:
            return
        try:
            hit("slots.written")
            self._file.sync()
            hit("slots.synced")
        except OSError as error:
            for item in written:
                item.error = self._io(error)

    def _do(self, item: _Item) -> None:
        assert item.work is not None  # an item is a put or has work
        try:
            item.result = item.work()
        except OSError as error:
            item.error = self._io(error)
        except Exception as error:
            item.error = error

    def _io(self, error: OSError) -> CallwardenError:
        made = CallwardenError(
            "vault.io", f"the slot file's disk failed: {error}", retryable=True, where=self._file.path
        )
        made.__cause__ = error
        return made


def _resolve(items: list[_Item]) -> None:
    for item in items:
        if item.future.done():
            continue
        if item.error is not None:
            item.future.set_exception(item.error)
        else:
            item.future.set_result(item.result)
