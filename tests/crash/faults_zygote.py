"""One full life of an edge's storage, many times, each in a fork: `faults_zygote.py FOLDER MEMORY start|life ERRNO FROM STEP`.

Preloaded with faultshim. Life n has its nth call below FOLDER fail; then a second start without faults ends what is left, and
everything is checked. Prints a JSON line per life; the last has `"done": true`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import hashlib
import io
import json
import os
import shutil
import sqlite3
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError
from edge.store.base import decode_json
from edge.vault.payloads import PayloadVault
from edge.vault.slotfile import SlotFile
from formats import merkle
from formats.age import decrypt_stream, decrypt_truncated, open_header
from formats.errors import FormatError
from formats.shred import unseal_header
from tests.crash import canary_child as life
from tests.crash import capture_child as base
from tests.unit.central.central_kit import TestCentral

CALLS = 2
#: How long a capture may take to be sealed once its file is closed, and an erasure to end, seconds.
PATIENCE_S = 4.0
SHIM = ctypes.CDLL(None)
AUDIO = [hashlib.shake_128(bytes([n])).digest(70_000) for n in range(CALLS)]


def arm(folder: Path, nth: int, code: int) -> None:
    SHIM.fault_arm(os.fsencode(folder), ctypes.c_long(nth), ctypes.c_int(code))


def seen() -> tuple[int, str]:
    SHIM.fault_seen.restype, SHIM.fault_failed.restype = ctypes.c_long, ctypes.c_char_p
    return int(SHIM.fault_seen()), SHIM.fault_failed().decode()


async def lived(disk: Path, memory: Path, said: dict[str, Any]) -> None:
    """Start, capture, seal, close, report, erase the first. What was promised is put into `said` when it was."""
    central = TestCentral(disk / "central", dpo=life.DPO)
    await central.start()
    life.setup.register_edge(central.config, base.EDGE_ID, base.KEY.verify_key)
    journal, slots, vault, recorder, sync, gate = await life.opened(disk, memory, central)
    running: asyncio.Task[None] | None = None
    try:
        await recorder.recover()
        recorder.link_up({})
        running = asyncio.create_task(recorder.run())
        for audio in AUDIO[len(await journal.recordings()) :]:
            await life.call(journal, recorder, audio, said.setdefault("begun", []))
        await until(lambda: not recorder.live)
        for row in await journal.recordings(states=("sealed",)):
            said.setdefault("sealed", []).append(row.recording_id)
            await journal.end_call(row.call_id, base.SystemClock().wall_text())
        await sync.flush()
        first = next(iter(await journal.recordings()), None)
        if first is not None and first.state != "no_audio":
            await journal.begin_erase(first.recording_id, None, "command")
            executor = life.executor_of(journal, slots, vault, recorder, sync, gate)
            await executor.once()
            row = await journal.recording(first.recording_id)
            if row is not None and row.state == "erased":
                said["erased"] = first.recording_id
        await sync.flush()
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await sync.close()
        await journal.close()
        await slots.close()
        await central.stop()


async def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        await asyncio.sleep(0.02)


def checked(disk: Path, memory: Path, said: dict[str, Any]) -> list[str]:
    """What is wrong after the second start; nothing, if all was kept that was promised."""
    wrong = []
    folder = disk / "edge"
    conn = sqlite3.connect(folder / "journal.db")
    conn.row_factory = sqlite3.Row
    if conn.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        return ["the journal is damaged"]
    entries = [row[0] for row in conn.execute("SELECT entry FROM audit ORDER BY idx")]
    leaves = [bytes(row[0]) for row in conn.execute("SELECT leaf FROM audit ORDER BY idx")]
    if [merkle.leaf_hash(one.encode()) for one in entries] != leaves:
        wrong.append("the audit log does not verify")
    kinds = [decode_json(one)["kind"] for one in entries]
    if kinds.count("erase.intended") < kinds.count("recording.erased"):
        wrong.append("an erasure without its intent")
    instance = conn.execute("SELECT value FROM meta WHERE key='instance_id'").fetchone()[0]
    states = {row["recording_id"]: row["state"] for row in conn.execute("SELECT * FROM recording ORDER BY seq")}
    slots = SlotFile.open(str(folder / "shred.keys"), owner=instance, allow_copy_on_write=True)
    try:
        for recording_id, digest in said.get("begun", []):
            state = states.get(recording_id, "")
            audio = heard(conn, slots, folder, recording_id)
            if state == "sealed" and hashlib.sha256(audio or b"").hexdigest() != digest:
                wrong.append(f"{len(audio or b'')} bytes of audio, and not those that Asterisk wrote")
            elif state not in ("sealed", "erased"):
                wrong.append(f"a call that Asterisk wrote ended as {state!r}")
            if (state == "erased" or recording_id == said.get("erased")) and audio is not None:
                wrong.append("an erased recording opens")
        if "erased" in said and states[said["erased"]] != "erased":
            wrong.append("an erasure that was promised is undone")
    finally:
        slots.close()
        conn.close()
    wrong += [f"left in memory: {name}" for name in os.listdir(memory / "spool")]
    return wrong


def heard(conn: sqlite3.Connection, slots: SlotFile, folder: Path, recording_id: str) -> bytes | None:
    """The whole audio; None when a segment of it does not open."""
    vault, audio = PayloadVault(str(folder / "vault")), b""
    query = "SELECT * FROM segment JOIN header USING(segment_id) WHERE recording_id=? ORDER BY number"
    for row in conn.execute(query, (recording_id,)):
        if row["plain_bytes"] == 0 and row["state"] != "shredded":
            continue
        try:
            key = slots.read(row["slot"])
            file_key = open_header(
                unseal_header(row["sealed_header"], key, recording_id, row["segment_id"], row["version"]),
                [base.IDENTITY],
            )
            payload = Path(vault.path(recording_id, row["segment_id"])).read_bytes()[: row["payload_bytes"]]
            read = decrypt_stream if row["state"] == "closed" else decrypt_truncated
            audio += b"".join(read(file_key, io.BytesIO(payload)))
        except (CallwardenError, FormatError, OSError):
            return None
    return audio


def one_life(disk: Path, memory: Path, nth: int, code: int) -> dict[str, Any]:
    """In a fork: the life with its fault. Its promises, the number of calls and how it ended."""
    said: dict[str, Any] = {}
    arm(disk / "edge", nth, code)
    try:
        asyncio.run(asyncio.wait_for(lived(disk, memory, said), 30))
        said["ended"] = "well"
    except CallwardenError as error:
        said["ended"] = error.code
    except (OSError, sqlite3.Error) as error:
        said["ended"] = f"{type(error).__name__}: {error}"
    except BaseException:
        said["bug"] = traceback.format_exc()[-1500:]
    said["calls"], said["failed"] = seen()
    arm(disk / "edge", 0, 0)
    return said


def forked(work: Any) -> dict[str, Any]:
    """`work()` in a fork, its answer as JSON through a pipe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return json.loads(data) if data else {"bug": "the process died"}


def again(disk: Path, memory: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    try:
        asyncio.run(asyncio.wait_for(lived(disk, memory, said), 30))
    except BaseException:
        said["bug"] = traceback.format_exc()[-1500:]
    return said


def fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def made(place: Path, mem: Path) -> None:
    """Folders as `init` makes them; what has to be in memory is there."""
    for one in (place / "edge" / "vault", mem / "spool", mem / "resume"):
        one.mkdir(parents=True, mode=0o700, exist_ok=True)
    (place / "resume").unlink(missing_ok=True)
    (place / "resume").symlink_to(mem / "resume")


async def opened_once(place: Path, mem: Path) -> None:
    """Journal and slot file are made."""
    journal, slots, _, _ = base.open_parts(place / "edge", mem / "spool")
    slots.sweep(await journal.slots_in_use())
    await journal.audit_log.unlock(journal, slots)  # type: ignore[attr-defined]
    await journal.close()
    await slots.close()


def traced(disk: Path, memory: Path) -> None:
    """One life without faults in this very process; its promises and its segments as JSON."""
    (disk / "central").mkdir()
    made(disk, memory)
    life.PAUSE_S = 1.5
    said = again(disk, memory)
    conn = sqlite3.connect(disk / "edge" / "journal.db")
    said["segments"] = [row[0] for row in conn.execute("SELECT segment_id FROM segment")]
    conn.close()
    print(json.dumps(said), flush=True)


def main(disk: Path, memory: Path, what: str, code: int, first: int, step: int) -> None:
    """what: `start` (an edge's first start, nothing more), `life`, or `trace`: one life in this process."""
    gc.freeze()
    fresh(disk), fresh(memory)
    if what == "trace":
        traced(disk, memory)
        return
    template = disk / "template"
    (template / "central").mkdir(parents=True)
    TestCentral(template / "central", dpo=life.DPO)  # its keys and tables are made once
    made(template, memory / "made")
    if what == "start":
        AUDIO.clear()
    else:
        forked(lambda: asyncio.run(opened_once(template, memory / "made")) or {})
    nth = first
    while True:
        place, mem = disk / "life", memory / "life"
        fresh(place), fresh(mem)
        shutil.copytree(template, place, symlinks=True, dirs_exist_ok=True)
        toml = place / "central" / "central.toml"
        toml.write_text(toml.read_text().replace(str(template), str(place)))
        made(place, mem)
        said = forked(lambda place=place, mem=mem, nth=nth: one_life(place, mem, nth, code))
        after = forked(lambda place=place, mem=mem: again(place, mem))
        wrong = (
            [after["bug"]]
            if "bug" in after
            else checked(place, mem, {**said, "begun": [*said.get("begun", []), *after.get("begun", [])]})
        )
        print(
            json.dumps({"n": nth, **{k: said.get(k, "") for k in ("ended", "failed", "bug", "calls")}, "wrong": wrong}),
            flush=True,
        )
        if not said["failed"]:
            break
        nth += step
    print(json.dumps({"done": True}), flush=True)


if __name__ == "__main__":
    os.environ["LD_PRELOAD"] = ""
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
