"""An edge's sync stage over the real journal and slot file, and a proxy that loses answers."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from central import setup
from edge.audit.checkpoints import Checkpointer
from edge.model.entities import NewRecording, OutboxRow
from edge.store.journal import Journal
from edge.sync.service import Sync, incarnation_of
from edge.vault.slots import ShredSlots
from formats.keys import SigningKey
from tests.unit.central.central_kit import TestCentral, a_key
from tests.unit.store import store_makers as make


@dataclass
class SyncEdge:
    """Journal, slots and sync of `edge-1`, enrolled at `central`."""

    central: TestCentral
    folder: Path
    key: SigningKey
    journal: Journal
    slots: ShredSlots
    sync: Sync
    checkpointer: Checkpointer
    task: asyncio.Task[None] | None = None
    delivered: list[int] = field(default_factory=list)

    @classmethod
    async def open(cls, central: TestCentral, folder: Path, *, url: str | None = None, **more: Any) -> SyncEdge:
        key = a_key()
        setup.register_edge(central.config, "edge-1", key.verify_key)
        journal = await make.open_journal(folder / "journal.db")
        slots = ShredSlots.open(str(folder / "shred.keys"), owner=journal.instance_id, count=256)
        slots.sweep(await journal.slots_in_use())
        delivered: list[int] = []
        sync = cls.sync_of(central, key, journal, slots, url=url, delivered=lambda: delivered.append(1), **more)
        return cls(central, folder, key, journal, slots, sync, Checkpointer(journal, key), delivered=delivered)

    @staticmethod
    def sync_of(
        central: TestCentral, key: SigningKey, journal: Journal, slots: ShredSlots, url: str | None = None, **more: Any
    ) -> Sync:
        edge_id = more.pop("edge_id", "edge-1")
        trust = more.pop("trust", None) or setup.trust(central.config, edge_id)
        return Sync(
            url=url or central.url,
            edge_id=edge_id,
            key=key,
            ca_pem=central.config.ca.read_bytes() if central.tls else None,
            trust=trust,
            witness_name=trust.with_role("witness")[0].owner,
            journal=journal,
            slots=slots,
            clock=make.SystemClock(),
            incarnation=incarnation_of(journal.instance_id),
            search_key=more.pop("search_key", central.folder / "edge-search.key"),
            **more,
        )

    def run(self) -> None:
        self.task = asyncio.create_task(self.sync.run())

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        await self.sync.close()
        await self.journal.close()
        await self.slots.close()

    async def record(self, **changes: object) -> tuple[NewRecording, bytes]:
        """A permitted, recorded and sealed call; its recording and shred key. `changes`: of the call."""
        shred_key = secrets.token_bytes(32)
        slot = await self.slots.put(shred_key)
        call = make.call(**changes)
        await self.journal.open_call(call)
        recording = make.recording(call.call_id, slot)
        given = make.event("given", call.party_id)
        await self.journal.grant(call.call_id, given, recording.permit_id, ("quality",), recording)
        for state in ("recording", "closing"):
            await self.journal.set_recording_state(recording.recording_id, state)
        await self.journal.close_segment(make.closed(recording, 3))
        await self.journal.seal_recording(
            recording.recording_id, ending="complete", frames=98304, ended_at=make.AT, manifest="e30.e30.AA"
        )
        await self.journal.end_call(call.call_id, make.AT)
        return recording, shred_key

    async def waiting(self) -> int:
        return (await self.journal.outbox_depth())[0]

    async def rows(self) -> list[OutboxRow]:
        return list(await self.journal.outbox(1000))


class LossyProxy:
    """TCP to central. With `lose` set, requests get through and their answers do not."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.lose = False
        self.dropped = 0
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink, answers in ((reader, up_writer, False), (up_reader, writer, True)):
            pipe = asyncio.create_task(self._pipe(source, sink, answers))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while data := await source.read(65536):
                if answers and self.lose:
                    self.dropped += 1
                    break
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the other side went first
        finally:
            sink.close()


async def until(condition: Any, seconds: float = 10) -> None:
    """Wait until the (async) condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)
