"""The process that is killed: several calls at once go through journal, slots and vault until a failpoint ends it.

usage: store_child.py FOLDER SEED. Prints one line per durable fact, after the await that promised it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
from pathlib import Path

from edge.audit.log import AuditLog
from edge.errors import CallwardenError
from edge.model.entities import ClosedSegment, HeaderRow, NewRecording, NewSegment, Progress
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from tests.unit.store import store_makers as makers


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # one write: a kill leaves whole lines


async def opened(folder: Path) -> tuple[Journal, ShredSlots, PayloadVault]:
    """All three, the way the daemon opens them. Few slots: growing happens too."""
    log = AuditLog()
    journal = Journal.open(folder / "journal.db", audit=log, clock=makers.SystemClock(), edge_id="edge-1")
    slots = ShredSlots.open(str(folder / "shred.keys"), owner=journal.instance_id, count=8)
    say("swept", slots.sweep(await journal.slots_in_use()))
    await log.unlock(journal, slots)
    return journal, slots, PayloadVault(str(folder / "vault"))


async def one_call(journal: Journal, slots: ShredSlots, vault: PayloadVault, rng: random.Random) -> None:
    call = makers.call()
    await journal.open_call(call)
    say("call", call.call_id)
    await journal.add_event(call.call_id, makers.event("requested", call.party_id), state="asking")
    secret = secrets.token_bytes(32)
    slot = await slots.put(secret)
    recording_id, capture_id, segment_id = makers.new_id(), makers.new_id(), makers.new_id()
    header = HeaderRow(segment_id, 0, "age1", secrets.token_bytes(200), slot, ("age1x",), secrets.token_bytes(32))
    new = NewRecording(
        recording_id, call.call_id, makers.new_id(), "17.1", "PJSIP/1", "age1", capture_id, capture_id + ".sln",
        "sln", 8000, 2, NewSegment(segment_id, recording_id, 0, capture_id, 0, header), makers.AT,
    )  # fmt: skip
    await journal.grant(call.call_id, makers.event("given", call.party_id), new.permit_id, ("quality",), new)
    say("granted", recording_id, slot, secret.hex())
    await asyncio.to_thread(vault.create, recording_id, segment_id)
    await journal.set_recording_state(recording_id, "recording")
    length = 0
    for chunk in range(1, 4):
        data = rng.randbytes(1000)
        await asyncio.to_thread(vault.append, recording_id, segment_id, length, data)
        length += len(data)
        await journal.progress([Progress(segment_id, chunk, length - 16, length, secrets.token_bytes(32))])
        say("sealed", recording_id, segment_id, length)
    await journal.set_recording_state(recording_id, "closing")
    digest = await asyncio.to_thread(vault.sha512, recording_id, segment_id)
    last = Progress(segment_id, 3, length - 16, length, secrets.token_bytes(32))
    await journal.close_segment(ClosedSegment(last, recording_id, "closed", "hangup", digest))
    await journal.seal_recording(recording_id, ending="complete", frames=9, ended_at=makers.AT, manifest="m")
    say("done", recording_id)
    await journal.end_call(call.call_id, makers.AT)
    say("ended", call.call_id)
    if rng.random() < 0.5:
        await journal.begin_erase(recording_id, None, "retention")
        await slots.shred([slot])
        say("shredded", secret.hex())
        await asyncio.to_thread(vault.unlink, recording_id)
        await journal.read_gate()
        await journal.finish_erase(
            recording_id, erased_at=makers.AT, cause="retention", key_ids=[header.key_id.hex()], receipt=None
        )
        say("erased", recording_id)
        await slots.release([slot])


async def main(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    journal, slots, vault = await opened(folder)
    for _ in range(6):
        results = await asyncio.gather(
            *[one_call(journal, slots, vault, rng) for _ in range(4)], return_exceptions=True
        )
        for result in results:
            if isinstance(result, CallwardenError):
                say("failed", result.code)
            elif isinstance(result, BaseException):
                raise result
    await journal.close()
    await slots.close()
    say("finished")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
