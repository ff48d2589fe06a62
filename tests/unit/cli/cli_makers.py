"""A whole edge on disk as `callwarden init` makes it, filled through the real journal, slots and vault, and the command
as a person calls it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callwarden.__main__ import cli
from callwarden.failure import report
from callwarden.keyfiles import read_signing_key
from edge.api.deps import ApiDeps
from edge.audit.checkpoints import Checkpointer
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import EdgeConfig, load
from edge.model.entities import (
    Checkpoint,
    ClosedSegment,
    ConsentEvent,
    HeaderRow,
    NewCall,
    NewRecording,
    NewSegment,
    Progress,
)
from edge.recorder.manifests import manifest_maker
from edge.store.journal import Journal
from edge.vault.payloads import PayloadVault
from edge.vault.slots import ShredSlots
from formats import waveform
from formats.age import parse_recipient
from formats.keys import SigningKey
from formats.manifest import TAGS_HASH_START, extend_tags_hash, key_id
from formats.note import Note
from formats.place import Place
from formats.shred import seal_header
from formats.suites import Suite, suite_of

ROOT = Path(__file__).parents[3]
AT = "2026-01-31T12:00:00.000Z"
END = "2026-01-31T12:01:00.000Z"
NUMBER = "+420777123456"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def process(*args: str | Path, **env: str) -> Ran:
    """`callwarden ARGS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "callwarden", *map(str, args)],
        cwd=ROOT,
        env=_clean() | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def command(*args: str | Path, **env: str) -> Ran:
    """The same within this process, ten times quicker: same parser, same errors, same exit code."""
    out, err, umask, before = io.StringIO(), io.StringIO(), os.umask(0o022), dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(_clean() | env)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main([str(a) for a in args], prog_name="callwarden", standalone_mode=False)
            except BaseException as error:
                code = report(error)
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.umask(umask)
    return Ran(code or 0, out.getvalue(), err.getvalue())


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("CALLWARDEN_", "CENTRAL_"))}


async def acommand(*args: str | Path, **env: str) -> Ran:
    """The same while a server runs on this loop."""
    return await asyncio.to_thread(command, *args, **env)


@dataclass
class Edge:
    """paths: as `init --json` names them. config: its configuration file."""

    folder: Path
    paths: dict[str, Path]
    config: Path
    recipients: list[str]
    key: SigningKey
    loaded: EdgeConfig
    facts: dict[str, Any] = field(default_factory=dict)

    def run(self, *args: str | Path, **env: str) -> Ran:
        return command("--config", self.config, *args, **env)

    async def arun(self, *args: str | Path, **env: str) -> Ran:
        return await acommand("--config", self.config, *args, **env)


def make_edge(folder: Path, run_dir: Path, *more: str) -> Edge:
    """What `init` makes. run_dir: short, because a socket's path has at most 107 bytes."""
    done = command(
        "init", folder, "--edge-id", "edge-1", "--run-dir", run_dir, "--group", str(os.getgid()), "--single-host",
        "--waive", "cow-filesystem", "--waive", "spool-not-mount", "--waive", "unencrypted-swap", "--json", *more,
    )  # fmt: skip
    assert done.code == 0, done.err
    document = done.json
    paths = {name: Path(path) for name, path in document["paths"].items()}
    config = paths["config"]
    key = read_signing_key(paths["edge_key"])
    return Edge(folder, paths, config, document["recipients"], key, load(config))


@dataclass
class Opened:
    journal: Journal
    slots: ShredSlots
    vault: PayloadVault


@asynccontextmanager
async def opened(edge: Edge) -> AsyncIterator[Opened]:
    """The edge's files under the locks that a daemon holds."""
    audit = AuditLog()
    section = edge.loaded.edge
    journal = Journal.open(section.journal, audit=audit, clock=SystemClock(), edge_id=section.id)
    slots = ShredSlots.open(str(section.state / "shred.keys"), owner=journal.instance_id, allow_copy_on_write=True)
    await audit.unlock(journal, slots)
    try:
        yield Opened(journal, slots, PayloadVault(str(section.vault)))
    finally:
        await slots.close()
        await journal.close()


def deps(edge: Edge, files: Opened) -> ApiDeps:
    return ApiDeps(
        edge.loaded.edge.id, edge.key.verify_key.jwk(), files.journal, files.journal.views, files.slots, files.vault,
        readiness=lambda: {"ready": True, "reason": "", "ami_up": True},
    )  # fmt: skip


def new_id() -> str:
    return secrets.token_hex(16)


def sound(seconds: float, seed: int) -> bytes:
    """Two channels at 8 kHz that no other seed gives."""
    size = int(seconds * 8000) * 4
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


async def add_call(files: Opened, *, outcome: str | None, number: str = NUMBER, reason: str = "key") -> NewCall:
    """A call of policy `support` that was asked; with `outcome` it is decided (not `given`: see `record`)."""
    call = NewCall(
        new_id(), f"{secrets.randbelow(10**9)}.1", f"{secrets.randbelow(10**9)}.1", "PJSIP/1001-00000001", new_id(),
        "inbound", "support", "v1", "{}", "opt_in", ("quality", "evidence"), "en", number, "plain", AT,
    )  # fmt: skip
    await files.journal.open_call(call)
    await files.journal.add_event(call.call_id, event("requested", call, 0), state="asking")
    if outcome:
        state = "ended" if outcome == "abandoned" else "declined"
        await files.journal.add_event(call.call_id, event(outcome, call, 6500, reason), state=state, outcome=outcome)
        await files.journal.end_call(call.call_id, END)
    return call


def event(kind: str, call: NewCall, played: int, reason: str = "key") -> ConsentEvent:
    prompt = {"prompt_id": "ask", "version": "1.0", "language": "en", "played_ms": played, "prompt_ms": 8000}
    evidence = {
        "prompt": prompt, "reason": reason, "key": "" if reason == "silence" else "1", "tries": 1, "basis": "consent",
        "basis_reference": "notice 3",
    }  # fmt: skip
    return ConsentEvent(kind, AT, 1, evidence, call.party_id)


@dataclass
class Recorded:
    call: NewCall
    recording_id: str
    audio: bytes
    slots: list[int]
    key_ids: list[str]


def payloads(edge: Edge, recording_id: str) -> list[Path]:
    """Where a recording's payloads lie, in the order of its segments (their names are random)."""
    with closing(sqlite3.connect(edge.loaded.edge.journal)) as conn:
        rows = conn.execute("SELECT segment_id FROM segment WHERE recording_id=? ORDER BY number", (recording_id,))
        folder = edge.loaded.edge.vault / recording_id[:2] / recording_id
        return [folder / f"{segment_id}.payload" for (segment_id,) in rows]


async def record(
    edge: Edge, files: Opened, spans: list[bytes], *, end: str = "closed", suite: str = "age1"
) -> Recorded:
    """A call whose caller agreed, with a segment per span. end: `closed`, `truncated` (the last span loses what is no
    whole chunk) or `live` (the last segment stays open at its whole chunks and nothing is signed)."""
    call = await add_call(files, outcome=None)
    journal, recording_id, capture_id, permit_id = files.journal, new_id(), new_id(), new_id()
    kept, slots, keys = [], [], []
    for number, span in enumerate(spans):
        last = number == len(spans) - 1
        segment, file_key = await _segment(edge, files, suite_of(suite), recording_id, capture_id, number)
        slots.append(segment.header.slot)
        keys.append(segment.header.key_id.hex())
        if number == 0:
            new = NewRecording(
                recording_id, call.call_id, permit_id, call.channel_uid, call.channel_name, suite, capture_id,
                new_id(), "sln", 8000, 2, segment, AT,
            )  # fmt: skip
            await journal.grant(call.call_id, event("given", call, 7000), permit_id, call.purposes, new)
            await journal.set_recording_state(recording_id, "recording")
        else:
            await journal.add_segment(segment)
        whole = end != "closed" and last
        place = Place(recording_id, segment.segment_id)
        progress = _seal(files, suite_of(suite), place, file_key, span, whole=whole)
        kept.append(span[: progress.plain_bytes])
        sealed = waveform.seal(
            waveform.Peaks("sln", 8000, 2).fed(kept[-1]), suite=suite, file_key=file_key, nonce=bytes(12),
            recording_id=recording_id, segment_id=segment.segment_id,
        )  # fmt: skip
        if state_of_last(end, last=last) == "closed":
            files.vault.put_waveform(recording_id, segment.segment_id, sealed)
        if last and end == "live":
            await journal.progress([progress])
            return Recorded(call, recording_id, b"".join(kept), slots, keys)
        await asyncio.sleep(0)
        digest = files.vault.sha512(recording_id, segment.segment_id)
        state = "truncated" if whole else "closed"
        await journal.close_segment(ClosedSegment(progress, recording_id, state, "hangup", digest))
    await journal.set_recording_state(recording_id, "closing")
    row = await journal.recording(recording_id)
    assert row is not None
    audio = b"".join(kept)
    ending = "truncated" if end == "truncated" else "complete"
    manifest = manifest_maker(edge.loaded.edge.id, edge.key)(row, ending, len(audio) // 4, END)
    await journal.seal_recording(recording_id, ending=ending, frames=len(audio) // 4, ended_at=END, manifest=manifest)
    await journal.end_call(call.call_id, END)
    return Recorded(call, recording_id, audio, slots, keys)


def state_of_last(end: str, *, last: bool) -> str:
    """How a segment ends."""
    return end if last else "closed"


async def _segment(
    edge: Edge, files: Opened, suite: Suite, recording_id: str, capture_id: str, number: int
) -> tuple[NewSegment, bytes]:
    file_key, shred_key, segment_id = secrets.token_bytes(suite.file_key), secrets.token_bytes(32), new_id()
    recipients = [parse_recipient(r) for r in edge.recipients]
    header = suite.make_header(file_key, recipients, Place(recording_id, segment_id), randbytes=secrets.token_bytes)
    sealed = seal_header(header, shred_key, secrets.token_bytes(12), recording_id, segment_id, 0)
    slot = await files.slots.put(shred_key)
    row = HeaderRow(segment_id, 0, suite.name, sealed, slot, tuple(edge.recipients), key_id(file_key))
    return NewSegment(segment_id, recording_id, number, capture_id, 0, row), file_key


def _seal(files: Opened, suite: Suite, place: Place, file_key: bytes, span: bytes, *, whole: bool) -> Progress:
    sealer, chunk = suite.sealer(file_key, secrets.token_bytes(suite.salt), place), suite.chunk
    tags, data = TAGS_HASH_START, sealer.prefix
    count = len(span) // chunk if whole else suite.chunk_count(len(span))
    for index in range(count):
        piece = sealer.seal(index, span[index * chunk : (index + 1) * chunk], last=not whole and index == count - 1)
        tags, data = extend_tags_hash(tags, piece[-16:]), data + piece
    files.vault.create(place.recording_id, place.segment_id)
    files.vault.append(place.recording_id, place.segment_id, 0, data)
    plain = count * chunk if whole else len(span)
    assert not whole or len(data) == suite.truncated_size(count)
    return Progress(place.segment_id, count, plain, len(data), tags)


async def erase(files: Opened, recorded: Recorded) -> None:
    """As retention does: intent, key, payload, tombstone."""
    await files.journal.begin_erase(recorded.recording_id, None, "command")
    await files.slots.shred(recorded.slots)
    files.vault.unlink(recorded.recording_id)
    await files.journal.finish_erase(
        recorded.recording_id, erased_at=END, cause="command", key_ids=recorded.key_ids, receipt=None
    )


async def checkpoint(edge: Edge, files: Opened, witness: SigningKey | None = None) -> None:
    """Sign the log's head, and let a witness cosign it."""
    made = await Checkpointer(files.journal, edge.key).make()
    assert made is not None
    if witness is not None:
        cosigned = str(Note.parse(made.note).cosign("callwarden/fleet/witness", witness, 1_770_000_000))
        await files.journal.save_checkpoint(Checkpoint(made.size, made.note, cosigned))
