"""The order of life: what is done before the doors open, and after they are closed.

At start: look at the host, open journal and slots, take up live captures (sealing goes on before anything else works), then the
doors: AMI, AGI, central, the local socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from pathlib import Path
from typing import Final

import structlog
from asyncinotify import Inotify, Mask

from edge import host
from edge.api.server import make_app, serve
from edge.app.localdoor import deps_of
from edge.app.parts import Parts
from edge.app.tasks import Tasks
from edge.config import EdgeConfig, check, load
from edge.errors import CallwardenError
from edge.pinned import PinnedKeys
from formats.keys import load_key

log = structlog.get_logger("edge")

#: How often the journal notes that the daemon lives; a gap at the next start becomes the `outage` entry, seconds.
ALIVE_EVERY_S: Final = 30.0


def run(path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises CallwardenError when it cannot start."""
    config = load(path)
    host.refuse_core_dumps()
    host.refuse("host", check(config))
    asyncio.run(_main(config))


class Daemon:
    """Everything that runs. Built by `_main`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tasks = parts.tasks

    async def start(self) -> None:
        """Everything up to open doors."""
        parts = self.parts
        swept = await asyncio.to_thread(parts.slots.sweep, await parts.journal.slots_in_use())
        await parts.audit.unlock(parts.journal, parts.slots)
        if swept:
            log.info("keys that no row names were destroyed", count=swept)
        if (mark := await parts.journal.restore_mark()) is not None:
            parts.gate.shut(f"what was erased since {mark.made_at} is not known here yet")
        await self._note_outage()
        await parts.trust.take_up(parts.journal)
        await parts.policies.begin()
        await parts.recorder.recover()
        await parts.adopter.recover()
        await parts.tracker.recover()
        parts.executor.wake()
        self.tasks.spawn(parts.recorder.run())
        self.tasks.spawn(self._watch_spool())
        self.tasks.spawn(parts.executor.run())
        self.tasks.spawn(parts.notices.run())
        self.tasks.spawn(parts.standing.run())
        self.tasks.spawn(parts.checkpoints.run())
        self.tasks.spawn(parts.policies.watch())
        self.tasks.spawn(self._live())
        await parts.agi.start()
        self.tasks.spawn(parts.ami.run())
        if parts.sync:
            self.tasks.spawn(parts.sync.run())
        if parts.uploader:
            self.tasks.spawn(parts.uploader.run())
        self.door = await serve(make_app(deps_of(parts)), parts.config.edge.socket)
        # What is here now stays: the collector need not walk through it again and again while calls run.
        gc.collect()
        gc.freeze()
        log.info("callwarden is up", edge=parts.config.edge.id, policies=sorted(parts.config.policies), pid=os.getpid())

    async def stop(self) -> None:
        """Doors first. Captures stay Asterisk's: the next start goes on with them."""
        parts = self.parts
        await parts.agi.close()
        await self.door.cleanup()
        await self.tasks.end()
        if parts.sync:
            await parts.sync.close()
        await parts.journal.set_meta("alive_at", parts.clock.wall_text())
        await parts.journal.close()
        parts.worker.shutdown()
        parts.archive_worker.shutdown()
        await parts.slots.close()
        log.info("callwarden has stopped")

    async def _watch_spool(self) -> None:
        """Tell the recorder of new and closed files at once; its own rescan is the safety net."""
        parts = self.parts
        with Inotify() as inotify:
            inotify.add_watch(parts.config.edge.spool, Mask.CLOSE_WRITE | Mask.CREATE)
            async for event in inotify:
                if event.name is not None:
                    parts.recorder.file_closed(str(event.name))

    async def _live(self) -> None:
        parts = self.parts
        while True:
            try:
                await parts.journal.set_meta("alive_at", parts.clock.wall_text())
            except CallwardenError as error:  # captures must be seen through, and the writer tries again by itself
                log.error("the journal cannot be written", code=error.code, why=error.message)
            await asyncio.sleep(ALIVE_EVERY_S)

    async def _note_outage(self) -> None:
        parts = self.parts
        last = await parts.journal.meta("alive_at")
        if last is not None:
            await parts.journal.note_audit("outage", body={"from": last, "to": parts.clock.wall_text()})

    async def reload(self) -> None:
        """SIGHUP: as `POST /v1/reload`; what is wrong is in the log and an alarm."""
        with contextlib.suppress(CallwardenError):
            await self.parts.policies.reload()


async def _main(config: EdgeConfig) -> None:
    key = load_key(config.edge.signing_key_file.read_bytes())
    trust = PinnedKeys.of_file(config.edge.trust_file.read_bytes())
    tasks = Tasks()
    daemon = Daemon(Parts(config, key, trust, tasks))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.spawn(daemon.reload()))
    await daemon.start()
    host.notify_systemd("READY=1")
    await stop.wait()
    host.notify_systemd("STOPPING=1")
    await daemon.stop()
    if tasks.failed is not None:
        raise tasks.failed
