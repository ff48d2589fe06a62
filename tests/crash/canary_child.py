"""An edge and its central on one file system, for the canary: `canary_child.py DISK MEMORY record|erase|restore`.

`record` takes calls with patterns of their own in audio, number and channel name through the real recorder, reports them, and
prints as JSON what could open them. `erase` destroys all but the last KEPT (repeated after a kill it goes on). `restore` puts
the journal of MEMORY/kept back with its WAL, and settles with central.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from central import setup
from edge.audit.log import AuditLog
from edge.consent.permit import grant
from edge.gate import Gate
from edge.model.entities import ConsentEvent, NewCall
from edge.ports.restores import RestoreMark
from edge.recorder.recorder import Recorder
from edge.retention.executor import Executor, Means
from edge.store import schema
from edge.store.journal import Journal
from edge.store.restores import mark_restored
from edge.store.wal import truncate_wal
from edge.sync.service import Sync, incarnation_of
from edge.vault.slots import ShredSlots
from formats.age import open_header
from formats.keys import SigningKey
from formats.shred import unseal_header
from tests.crash import capture_child as base
from tests.unit.central.central_kit import TestCentral

ERASED, KEPT = 20, 2
DPO = SigningKey.from_seed(b"\x0a" * 32)
PATTERN = 48
#: How long a call stands still behind its first chunk, seconds: long enough, and that chunk is freed while it is live.
PAUSE_S = 0.0


async def opened(
    disk: Path, memory: Path, central: TestCentral
) -> tuple[Journal, ShredSlots, Any, Recorder, Sync, Gate]:
    """As the daemon: journal, slots, vault, recorder, sync."""
    journal, slots, vault, recorder = base.open_parts(disk / "edge", memory / "spool")
    slots.sweep(await journal.slots_in_use())
    await journal.audit_log.unlock(journal, slots)  # type: ignore[attr-defined]
    gate = Gate()
    if await journal.restore_mark() is not None:
        gate.shut("test")
    trust = setup.trust(central.config, base.EDGE_ID)
    sync = Sync(
        url=central.url, edge_id=base.EDGE_ID, key=base.KEY, ca_pem=None, trust=trust,
        witness_name=trust.with_role("witness")[0].owner, journal=journal, slots=slots, clock=base.SystemClock(),
        incarnation=incarnation_of(journal.incarnation), gate=gate, search_key=disk / "search.key",
    )  # fmt: skip
    return journal, slots, vault, recorder, sync, gate


def executor_of(
    journal: Journal, slots: ShredSlots, vault: Any, recorder: Recorder, sync: Sync, gate: Gate
) -> Executor:
    async def no_head() -> str | None:
        return None

    means = Means(
        journal=journal, slots=slots, vault=vault, recorder=recorder, keeper=sync.keeper, clock=base.SystemClock(),
        key=base.KEY, trust=None, edge_id=base.EDGE_ID, terms_of=lambda _: None, head=no_head,  # type: ignore[arg-type]
        worker=ThreadPoolExecutor(1), elsewhere=sync.elsewhere, gate=gate,
    )  # fmt: skip
    return Executor(means)


def play(path: str, audio: bytes) -> threading.Thread:
    """Asterisk's part of a call."""

    def write() -> None:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, audio[:66_000])
        time.sleep(PAUSE_S)
        os.write(fd, audio[66_000:])
        os.close(fd)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


async def call(
    journal: Journal, recorder: Recorder, audio: bytes = b"", begun: list[tuple[str, str]] | None = None
) -> dict[str, str]:
    """One agreed call, of one pattern again and again unless `audio` is given; `begun` gets it once Asterisk writes."""
    clock, call_id = base.SystemClock(), secrets.token_hex(16)
    pattern = secrets.token_bytes(PATTERN)
    number, channel = (
        "+4207" + "".join(secrets.choice("0123456789") for _ in range(15)),
        f"PJSIP/{secrets.token_hex(12)}",
    )
    policy = base.POLICY
    party = secrets.token_hex(16)
    await journal.open_call(
        NewCall(
            call_id=call_id, linked_id=secrets.token_hex(4), channel_uid=secrets.token_hex(4), channel_name=channel,
            party_id=party, direction="inbound", policy_id="support", policy_version=policy.version,
            policy_document=policy.document, mode="opt_in", purposes=policy.purposes, language="en", number_heard=number,
            number_class="plain", started_at=clock.wall_text(),
        )
    )  # fmt: skip
    prepared = await recorder.prepare(policy)
    permit = grant(secrets.token_hex(16), call_id, "given", policy.purposes, "support", policy.version)
    new = recorder.rows(prepared, permit, policy, secrets.token_hex(4), channel)
    evidence = {"key": "1", "party": {"number_heard": number}}
    event = ConsentEvent("given", clock.wall_text(), clock.mono_ns(), evidence, party)
    await journal.grant(call_id, event, permit.permit_id, policy.purposes, new)
    path = recorder.begin(permit, prepared, new, policy).path
    if begun is not None:
        begun.append((new.recording_id, hashlib.sha256(audio).hexdigest()))
    await asyncio.to_thread(play(path, audio or pattern * (70_000 // PATTERN)).join)
    return {
        "call": call_id, "recording": new.recording_id, "number": number, "channel": channel, "pattern": pattern.hex(),
        "file_key": prepared.keys.file_key.hex(),
    }  # fmt: skip


def secrets_of(disk: Path, found: list[dict[str, str]]) -> None:
    """What could open them, beside what was said of them."""
    slots = (disk / "edge" / "shred.keys").read_bytes()
    conn = sqlite3.connect(disk / "edge" / "journal.db")
    for one in found:
        row = conn.execute(
            "SELECT segment_id, slot, sealed_header FROM header JOIN segment USING(segment_id) WHERE recording_id=?",
            (one["recording"],),
        ).fetchone()
        key = slots[row[1] * 64 + 8 : row[1] * 64 + 40]
        header = unseal_header(row[2], key, one["recording"], row[0], 1)
        assert open_header(header, [base.IDENTITY]).hex() == one["file_key"]
        one.update(segment=row[0], shred_key=key.hex(), sealed=row[2].hex(), header=header.hex())
    conn.close()


async def record(disk: Path, memory: Path, central: TestCentral) -> None:
    setup.register_edge(central.config, base.EDGE_ID, base.KEY.verify_key)
    journal, slots, _, recorder, sync, _ = await opened(disk, memory, central)
    running = asyncio.create_task(recorder.run())
    found = [await call(journal, recorder) for _ in range(ERASED + KEPT)]
    while recorder.live:
        await asyncio.sleep(0.02)
    running.cancel()
    for one in found:
        await journal.end_call(one["call"], base.SystemClock().wall_text())
    await sync.flush()
    shutil.copytree(disk / "edge" / "vault", memory / "kept" / "vault")
    for name in ("journal.db", "journal.db-wal"):  # a naive copy, with what waits in the WAL
        shutil.copy(disk / "edge" / name, memory / "kept" / name)
    secrets_of(disk, found)
    print(json.dumps(found))
    await sync.close()
    await journal.close()
    await slots.close()


async def erase(disk: Path, memory: Path, central: TestCentral) -> None:
    journal, slots, vault, recorder, sync, gate = await opened(disk, memory, central)
    names = [row.recording_id for row in await journal.recordings()]
    for name in names[:ERASED]:
        await journal.begin_erase(name, None, "command")
    await executor_of(journal, slots, vault, recorder, sync, gate).once()
    left = await journal.recordings(states=("erasing",))
    await sync.flush()
    await sync.close()
    await journal.close()
    await slots.close()
    assert not left, left


async def restore(disk: Path, memory: Path, central: TestCentral) -> None:
    folder = disk / "edge"
    for tail in ("", "-wal", "-shm"):
        (folder / f"journal.db{tail}").unlink(missing_ok=True)
    for name in ("journal.db", "journal.db-wal"):
        shutil.copy(memory / "kept" / name, folder / name)
    shutil.copytree(memory / "kept" / "vault", folder / "vault", dirs_exist_ok=True)
    conn = schema.prepare(folder / "journal.db", base.EDGE_ID)
    at = base.SystemClock().wall_text()
    mark_restored(conn, AuditLog(), RestoreMark("ab" * 16, at, at, 0), 1, None)
    assert truncate_wal(conn, wait_ms=1000)
    conn.close()
    journal, slots, vault, recorder, sync, gate = await opened(disk, memory, central)
    await executor_of(journal, slots, vault, recorder, sync, gate).once()
    assert gate.refusal() is None
    states = [row.state for row in await journal.recordings()]
    assert states == ["erased"] * ERASED + ["sealed"] * KEPT, states
    await sync.flush()
    await sync.close()
    await journal.close()
    await slots.close()


async def main(disk: Path, memory: Path, what: str) -> None:
    central = TestCentral(disk / "central", dpo=DPO)
    await central.start()
    await {"record": record, "erase": erase, "restore": restore}[what](disk, memory, central)
    await central.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
