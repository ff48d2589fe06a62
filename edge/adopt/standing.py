"""`[adopt.NAME]`: a folder that a PBX goes on filling by itself, watched by the daemon and emptied into the vault.

Inotify says that something was closed; a pass over the whole folder now and then is what counts. A folder that cannot be
read and files that stay are alarms, said once until they change.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import structlog
from asyncinotify import Inotify, Mask

from edge.adopt.beneath import Beneath
from edge.adopt.facts import Records
from edge.adopt.parser import Parser
from edge.adopt.run import Pass, Result, Settings
from edge.config.adopting import AdoptSection
from edge.errors import CallwardenError
from edge.model.adoption import Asked, Grounds, Known
from edge.ports import Journal
from edge.ports.adopting import AdoptPort

log = structlog.get_logger("adopt")
T = TypeVar("T")

#: How often the whole folder is looked at, whatever inotify said, seconds.
RESCAN_S: Final = 60.0
#: A file that stays is tried again when it changed, and after so long, seconds.
RETRY_S: Final = 3600.0
#: Most folders that are watched of one tree; the rest is found by the pass.
MOST_WATCHES: Final = 400
#: How long a pass waits after a file was closed, and beyond a settle time, seconds.
_GRACE_S: Final = 0.5
#: How often a thread that waits for the loop looks whether the daemon ends, seconds.
_POLL_S: Final = 0.5


@dataclass
class _Known:
    """What was said of one service, so that it is said once."""

    folder: str = ""
    left: dict[str, str] = field(default_factory=dict)
    #: Files that stay, as they were, and when they were last tried (monotonic seconds): not read again each minute.
    tried: dict[str, tuple[tuple[int, int], float, Result]] = field(default_factory=dict)


class Standing:
    """All standing services of this edge. `services`: those of now; `journal` files the alarms; `refusal`: why nothing is
    done now (a restored journal that does not know yet what was erased), or None."""

    def __init__(
        self,
        port: AdoptPort,
        journal: Journal,
        services: Mapping[str, AdoptSection],
        refusal: Callable[[], CallwardenError | None] = lambda: None,
    ) -> None:
        self._port, self._journal, self._refusal = port, journal, refusal
        self._services = dict(services)
        self._said = {name: _Known() for name in self._services}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="adopt")
        self._wake = asyncio.Event()
        self._stop = False

    async def run(self) -> None:
        """Until cancelled."""
        if not self._services:
            return
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                self._wake.clear()
                again = RESCAN_S
                for name, section in self._services.items():
                    results = await self.once(name, section)
                    if any(one.state == "waiting" for one in results):
                        again = min(again, float(section.settle) + _GRACE_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), again)
                    await asyncio.sleep(_GRACE_S)  # other files are closed meanwhile; one pass serves them all
        finally:
            self._stop = True
            watching.cancel()
            self._worker.shutdown(wait=False, cancel_futures=True)

    async def once(self, name: str, section: AdoptSection) -> Sequence[Result]:
        """One pass over one folder. What goes wrong is an alarm."""
        known, loop = self._said[name], asyncio.get_running_loop()
        if self._refusal() is not None:
            return ()
        try:
            results = await loop.run_in_executor(self._worker, self._pass, name, section, loop)
        except CallwardenError as error:
            if known.folder != error.code:
                log.error("a folder cannot be taken over", service=name, code=error.code, why=str(error))
                await self._journal.alarm("adopt.folder", f"adopt.{name}: {error.message}", where=str(section.folder))
            known.folder = error.code
            return ()
        known.folder = ""
        left = {one.path: one.code for one in results if one.state == "left"}
        new = {path: code for path, code in left.items() if known.left.get(path) != code}
        known.left = left
        if new:
            log.error("files stay where they are", service=name, count=len(left), codes=sorted(set(new.values())))
            message = f"adopt.{name}: {len(left)} files stay where they are ({', '.join(sorted(set(left.values())))})"
            await self._journal.alarm("adopt.left", message, where=str(section.folder))
        done = sum(one.state == "adopted" for one in results)
        if done:
            log.info("files were taken over", service=name, count=done)
        return results

    def status(self) -> dict[str, Any]:
        """By service: `left`, files that stay, and `trouble`, a code or empty."""
        return {name: {"left": len(one.left), "trouble": one.folder} for name, one in self._said.items()}

    def _pass(self, name: str, section: AdoptSection, loop: asyncio.AbstractEventLoop) -> list[Result]:
        """In the worker thread: it reads and removes; the loop seals."""
        grounds = Grounds(
            policy=section.policy, basis=section.basis, reference=section.reference, evidence=section.evidence,
            keep_names=section.keep_names,
        )  # fmt: skip
        settings = Settings(
            grounds, Records(ZoneInfo(section.timezone)), source=name, apply=True, keep=False,
            settle_s=float(section.settle),
        )  # fmt: skip
        results = []
        with Beneath(str(section.folder)) as folder, Parser() as parser:
            one = Pass(folder, parser, _Inside(self._port, self._journal, loop, lambda: self._stop), settings)
            tried, again, stay = self._said[name].tried, [], {}
            for found in one.files():
                mark, before = _mark(section.folder, found.path), tried.get(found.path)
                if before and before[0] == mark and time.monotonic() - before[1] < RETRY_S:
                    stay[found.path] = before
                    results.append(before[2])
                else:
                    again.append(found)
            for result in one.results(again):
                results.append(result)
                if result.state == "left":
                    stay[result.path] = (_mark(section.folder, result.path), time.monotonic(), result)
                if self._stop:
                    break
            self._said[name].tried = stay
        return results

    async def _watch(self) -> None:
        """Wake the pass when something was closed or came; folders that come are watched from then on."""
        with Inotify() as inotify:
            for section in self._services.values():
                for folder in _folders(section.folder):
                    with contextlib.suppress(OSError):
                        inotify.add_watch(folder, Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.CREATE | Mask.ONLYDIR)
            async for event in inotify:
                if event.mask & Mask.ISDIR and event.path is not None:
                    with contextlib.suppress(OSError):
                        mask = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.CREATE | Mask.ONLYDIR | Mask.DONT_FOLLOW
                        inotify.add_watch(event.path, mask)
                if not event.mask & Mask.CREATE or event.mask & Mask.ISDIR:
                    self._wake.set()


class _Inside:
    """Implements `edge.adopt.run.Taker` within the daemon, from a thread."""

    def __init__(
        self, port: AdoptPort, journal: Journal, loop: asyncio.AbstractEventLoop, stopped: Callable[[], bool]
    ) -> None:
        self._port, self._journal, self._loop, self._stopped = port, journal, loop, stopped

    def look(self, asked: Asked) -> Known:
        """See `Taker`; so for all that follow."""
        return self._do(self._port.look(asked))

    def take(self, asked: Asked, pieces: Iterator[bytes]) -> str:
        held = bytearray()

        async def source(most: int) -> bytes:
            if not held:
                held.extend(await asyncio.to_thread(next, pieces, b""))
            piece = bytes(held[:most])
            del held[:most]
            return piece

        return self._do(self._port.take(asked, source, os.getuid())).recording_id

    def removing(self, recording_id: str) -> None:
        self._do(self._journal.removing_original(recording_id))

    def gone(self, recording_id: str, *, kept: bool) -> None:
        self._do(self._journal.original_gone(recording_id, kept=kept))

    def originals(self) -> Sequence[dict[str, Any]]:
        return [dict(one) for one in self._do(self._journal.originals())]

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises CallwardenError daemon.stopped when the daemon ends meanwhile: its loop answers nobody any more."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(_POLL_S)
            except TimeoutError:
                if future.done():
                    raise
                if self._stopped():
                    future.cancel()
                    raise CallwardenError("daemon.stopped", "the daemon ends", retryable=True) from None


def _mark(root: Path, path: str) -> tuple[int, int]:
    try:
        info = os.lstat(root / path)
    except (OSError, ValueError):
        return 0, 0
    return info.st_size, info.st_mtime_ns


def _folders(root: Path) -> Iterator[Path]:
    """The folder and the newest of its subfolders: PBXs file by date."""
    yield root
    found = sorted((Path(where) / name for where, names, _ in os.walk(root) for name in names), reverse=True)
    yield from found[: MOST_WATCHES - 1]
