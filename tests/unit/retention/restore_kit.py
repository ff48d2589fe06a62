"""An edge over real files and a real central whose journal can be set back to an earlier moment."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from central import setup
from edge.audit.checkpoints import Checkpointer
from edge.audit.log import AuditLog
from edge.gate import Gate
from edge.model.entities import HeaderRow, NewRecording
from edge.ports.restores import RestoreMark
from edge.retention.executor import Executor, Means
from edge.store import schema
from edge.store.journal import Journal
from edge.store.restores import mark_restored
from edge.sync.service import Sync, incarnation_of
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats.keys import SigningKey
from formats.shred import seal_header
from tests.unit.central.central_kit import TestCentral
from tests.unit.retention.retention_kit import NobodyLive, Place
from tests.unit.store import store_makers as make


@dataclass
class RestoredEdge:
    """Opened as the daemon does; `gate` is shut when the journal is marked."""

    folder: Path
    journal: Journal
    slots: ShredSlots
    vault: PayloadVault
    sync: Sync | None
    executor: Executor
    gate: Gate
    checkpointer: Checkpointer
    worker: ThreadPoolExecutor

    @classmethod
    async def open(cls, folder: Path, key: SigningKey, central: TestCentral | None) -> RestoredEdge:
        audit = AuditLog()
        clock = make.SystemClock()
        journal = Journal.open(folder / "journal.db", audit=audit, clock=clock, edge_id="edge-1")
        slots = ShredSlots.open(
            str(folder / "shred.keys"), owner=journal.instance_id, count=64, allow_copy_on_write=True
        )
        slots.sweep(await journal.slots_in_use())
        await audit.unlock(journal, slots)
        gate, sync = Gate(), None
        if await journal.restore_mark() is not None:
            gate.shut("test")
        if central is not None:
            trust = setup.trust(central.config, "edge-1")
            sync = Sync(
                url=central.url, edge_id="edge-1", key=key, ca_pem=None, trust=trust,
                witness_name=trust.with_role("witness")[0].owner, journal=journal, slots=slots, clock=clock,
                incarnation=incarnation_of(journal.incarnation), gate=gate, search_key=folder / "search.key",
            )  # fmt: skip
        vault, worker = PayloadVault(str(folder / "vault")), ThreadPoolExecutor(1)

        async def no_head() -> str | None:
            return None

        means = Means(
            journal=journal, slots=slots, vault=vault, recorder=NobodyLive(),  # type: ignore[arg-type]
            keeper=sync.keeper if sync else None, clock=clock, key=key,
            trust=setup.trust(central.config, "edge-1") if central else None,  # type: ignore[arg-type]
            edge_id="edge-1", terms_of=lambda _: None, head=no_head, worker=worker,
            elsewhere=sync.elsewhere if sync else None, gate=gate,
        )  # fmt: skip
        return cls(folder, journal, slots, vault, sync, Executor(means), gate, Checkpointer(journal, key), worker)

    async def close(self) -> None:
        if self.sync is not None:
            await self.sync.close()
        await self.journal.close()
        await self.slots.close()
        self.worker.shutdown()

    async def record(self) -> NewRecording:
        """See `record_on`."""
        return await record_on(self)

    async def erase(self, recording_id: str) -> None:
        """As an intent without an order is carried out."""
        await self.journal.begin_erase(recording_id, None, "command")
        await self.executor.once()
        row = await self.journal.recording(recording_id)
        assert row is not None
        assert row.state == "erased"

    async def state(self, recording_id: str) -> str:
        row = await self.journal.recording(recording_id)
        return row.state if row else ""


async def record_on(place: RestoredEdge | Place, **changes: Any) -> NewRecording:
    """A sealed recording whose header really opens under its slot's key, with a payload."""
    secret, call = secrets.token_bytes(32), make.call(**changes)
    slot = await place.slots.put(secret)
    await place.journal.open_call(call)
    new = make.recording(call.call_id, slot)
    segment = new.segment
    sealed = seal_header(b"header", secret, secrets.token_bytes(12), new.recording_id, segment.segment_id, 0)
    header = HeaderRow(segment.segment_id, 0, "age1", sealed, slot, ("age1x",), segment.header.key_id)
    new = _replaced(new, header)
    await place.journal.grant(call.call_id, make.event("given", call.party_id), new.permit_id, ("quality",), new)
    place.vault.create(new.recording_id, segment.segment_id)
    place.vault.append(new.recording_id, segment.segment_id, 0, b"sealed")
    for state in ("recording", "closing"):
        await place.journal.set_recording_state(new.recording_id, state)
    await place.journal.close_segment(make.closed(new, 2))
    await place.journal.seal_recording(
        new.recording_id, ending="complete", frames=32768, ended_at=make.AT, manifest="e30.e30.AA"
    )
    await place.journal.end_call(call.call_id, make.AT)
    return new


def _replaced(new: NewRecording, header: HeaderRow) -> NewRecording:
    from dataclasses import replace

    if hasattr(new, "_replace"):
        changed: Any = new
        return changed._replace(segment=changed.segment._replace(header=header))  # type: ignore[no-any-return]
    return replace(new, segment=replace(new.segment, header=header))


def keep(folder: Path, to: Path) -> None:
    """What a naive backup of the journal has: the database and its WAL as they lie there; and the vault."""
    to.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, to / name)
    shutil.copytree(folder / "vault", to / "vault")


def put_back(folder: Path, kept: Path, count: int = 1) -> None:
    """That journal with its WAL, and the payloads, marked as `callwarden restore` marks it; the slot file stays."""
    for tail in ("", "-wal", "-shm"):
        (folder / f"journal.db{tail}").unlink(missing_ok=True)
    for name in ("journal.db", "journal.db-wal"):
        if (kept / name).exists():
            shutil.copy(kept / name, folder / name)
    shutil.copytree(kept / "vault", folder / "vault", dirs_exist_ok=True)
    conn: sqlite3.Connection = schema.prepare(folder / "journal.db", "edge-1")
    mark = RestoreMark("ab" * 16, make.AT, make.SystemClock().wall_text(), 0)
    mark_restored(conn, AuditLog(), mark, count, None)
    conn.close()
