"""Walks rows against files, and files against rows; mends what is safe, quarantines the rest. Write order `verify`.

Looks at a row, then at its files, then at the row again: what changed meanwhile is looked at anew, so that a running
daemon is not suspected for its work. The payload is read in a thread of its own, never in the sealer's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.integrity.judge import Finding, Seen, judge, read_manifest
from edge.model.entities import RecordingRow, SegmentRow
from edge.model.lifecycle import LIVE
from edge.ports import Clock, Journal, Slots, Vault
from edge.ports.integrity import Leftovers
from formats import shred
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.manifest import SegmentEntry, check_payload

#: How often a recording that changes while it is looked at is looked at again.
_TRIES: Final = 5
#: What nobody owns must be there this much later, too, before it is called left behind, seconds: the recorder frees a
#: file and a key right after the commit that ends them.
_AGAIN_S: Final = 1.0
_PIECE: Final = 1 << 20
_SHREDDED: Final = ("vault.slot_shredded", "vault.damaged", "vault.slot")


@dataclass(frozen=True)
class Means:
    """The inspector's neighbours. `running`: a daemon works beside it. `trust`: whose manifests count."""

    journal: Journal
    vault: Vault
    slots: Slots
    leftovers: Sequence[Leftovers]
    clock: Clock
    trust: KeySet
    running: bool


class Inspector:
    """Implements `edge.ports.InspectorPort`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._lock = asyncio.Lock()  # two people's repairs do not meet

    async def begin(self, *, deep: bool, anew: bool, uid: int) -> Mapping[str, Any]:
        """run begun_at resumed, done (how many were looked at before), todo (ids, oldest first)."""
        run = await self._means.journal.begin_verify(deep=deep, anew=anew, uid=uid)
        rows = await self._means.journal.recordings()
        todo = [row.recording_id for row in rows if row.recording_id not in run.done]
        return {
            "run": run.run, "begun_at": run.begun_at, "resumed": run.resumed, "done": len(run.done), "todo": todo,
        }  # fmt: skip

    async def recording(
        self, recording_id: str, *, run: str, repair: bool, plaintext: str | None, uid: int
    ) -> Mapping[str, Any]:
        """state and findings of one recording. `plaintext`: the code of what its plaintext failed with at somebody who has
        an identity, empty when all of it opened, None when nobody looked. Raises not_found.recording."""
        async with self._lock:
            row, found = await self._look(recording_id)
            agrees = row.state in ("sealed", "quarantined") and all(f.remedy in ("cut", "release") for f in found)
            if plaintext is None and row.state == "quarantined":
                # What was quarantined for its plaintext goes back only when somebody opened it.
                plaintext = (
                    "as before" if "plaintext.bad" in await self._means.journal.last_found(recording_id) else None
                )
            if plaintext and agrees:
                message = f"rows and files agree and its plaintext does not open: {plaintext}"
                found = [f for f in found if f.remedy != "release"]
                there = row.state == "quarantined"
                found.append(Finding("plaintext.bad", recording_id, message, "quarantine", done=there))
            if repair:
                found = await self._mend(row, found, uid)
            findings = [f.json() for f in found]
            await self._means.journal.note_verified(run, recording_id, findings)
            after = await self._means.journal.recording(recording_id)
            return {"recording_id": recording_id, "state": after.state if after else row.state, "findings": findings}

    async def rest(self, *, run: str, repair: bool, uid: int) -> Mapping[str, Any]:
        """What no recording owns; ends the run. earlier: what the run found about recordings; keys_on_their_way: live keys
        that no row names yet (a prompt is being played), which a start sweeps if they stay."""
        async with self._lock:
            found = [*await self._unnamed(), *await self._left_behind()]
            keys = await self._keys_without_row()
            if not self._means.running:
                found += [Finding("key.unnamed", f"slot {n}", "a live key that no row names", "shred") for n in keys]
            if repair:
                found = [await self._carry_out(f, uid) for f in found]
            earlier = await self._means.journal.end_verify(run) if run else []
            waiting = len(keys) if self._means.running else 0
            return {
                "findings": [f.json() for f in found], "earlier": list(earlier), "keys_on_their_way": waiting,
            }  # fmt: skip

    # ------------------------------------------------------------ one recording

    async def _look(self, recording_id: str) -> tuple[RecordingRow, list[Finding]]:
        means = self._means
        row = await self._row(recording_id)
        for _ in range(_TRIES):
            unfinished = frozenset(s.segment_id for s in await means.journal.shredding())
            seen = await self._seen(row)
            again = await self._row(recording_id)
            if again == row:
                return row, judge(row, seen, means.trust, unfinished=unfinished)
            row = again
        return row, []  # it changes all the time: it lives, and is looked at when it ended

    async def _row(self, recording_id: str) -> RecordingRow:
        row = await self._means.journal.recording(recording_id)
        if row is None:
            raise CallwardenError("not_found.recording", "no such recording", where=recording_id)
        return row

    async def _seen(self, row: RecordingRow) -> list[Seen]:
        manifest = read_manifest(row, self._means.trust)
        entries: Sequence[SegmentEntry] = manifest.segments if manifest else ()
        seen = []
        for number, segment in enumerate(row.segments):
            entry = entries[number] if number < len(entries) else None
            one = await asyncio.to_thread(self._payload, row, segment, entry)
            if row.state not in ("erased", "erasing") and segment.state != "shredded":
                one = replace(one, key=await self._key(segment))
            seen.append(one)
        return seen

    def _payload(self, row: RecordingRow, segment: SegmentRow, entry: SegmentEntry | None) -> Seen:
        """Blocks."""
        try:
            with self._open(row, segment) as file:
                return self._read(file, row, segment, entry)
        except CallwardenError as error:
            return Seen(None, trouble=None if error.code == "vault.missing" else (error.code, error.message))
        except OSError as error:
            return Seen(None, trouble=("vault.io", f"the vault's disk failed: {error.strerror}"))

    def _open(self, row: RecordingRow, segment: SegmentRow) -> BinaryIO:
        """Of a compacted segment that is being renamed the file lies under one of two names."""
        if (staged := row.payload_of(segment)) != segment.segment_id:
            try:
                return self._means.vault.open(row.recording_id, staged)
            except CallwardenError as error:
                if error.code != "vault.missing":
                    raise
        return self._means.vault.open(row.recording_id, segment.segment_id)

    @staticmethod
    def _read(file: BinaryIO, row: RecordingRow, segment: SegmentRow, entry: SegmentEntry | None) -> Seen:
        length = file.seek(0, 2)
        if segment.state in ("open", "shredded") or row.state == "erased" or length < segment.payload_bytes:
            return Seen(length)
        file.seek(0)
        committed = _Committed(file, segment.payload_bytes)
        if entry is not None:
            try:
                check_payload(entry, committed)
            except FormatError:
                return Seen(length, whole=False)
            return Seen(length, whole=True)
        digest = hashlib.sha512()
        while piece := committed.read(_PIECE):
            digest.update(piece)
        return Seen(length, digest.digest())

    async def _key(self, segment: SegmentRow) -> str:
        """Why the segment's header does not open here, or nothing."""
        header = segment.header
        try:
            key = await self._means.slots.read(header.slot)
            shred.unseal_header(header.sealed_header, key, segment.recording_id, segment.segment_id, header.version)
        except CallwardenError as error:
            if error.code not in _SHREDDED:
                raise
            return error.message
        except FormatError as error:
            return error.message
        return ""

    async def _mend(self, row: RecordingRow, found: list[Finding], uid: int) -> list[Finding]:
        done = [await self._carry_out(f, uid) if f.remedy in ("cut", "unlink") else f for f in found]
        codes = list(dict.fromkeys(f.code for f in done if f.remedy == "quarantine" and not f.done))
        if codes and await self._means.journal.quarantine(row.recording_id, codes, uid):
            hit("verify.quarantined")
            done = [f.carried_out() if f.remedy == "quarantine" else f for f in done]
        if any(f.remedy == "release" for f in done) and await self._means.journal.explained(row.recording_id, uid):
            hit("verify.explained")
            done = [f.carried_out() if f.remedy == "release" else f for f in done]
        return done

    async def _carry_out(self, finding: Finding, uid: int) -> Finding:
        """Intent, deed, outcome. Why a deed failed stands in the finding, which stays wrong."""
        if finding.remedy not in ("cut", "unlink", "remove", "shred"):
            return finding
        journal = self._means.journal
        body = {"code": finding.code, "remedy": finding.remedy, "uid": uid} | _named(finding)
        await journal.note_audit("verify.repair", body=body)
        hit("verify.intended")
        try:
            await self._deed(finding)
        except (CallwardenError, OSError) as error:
            return replace(finding, message=f"{finding.message}; the repair failed: {error}")
        hit("verify.mended")
        await journal.note_audit("verify.repaired", body=body)
        hit("verify.repaired")
        return finding.carried_out()

    async def _deed(self, finding: Finding) -> None:
        vault, name = self._means.vault, finding.where
        match finding.remedy:
            case "cut":
                row = await self._means.journal.recording(name)
                assert row is not None  # it was just judged
                segment = next(s for s in row.segments if s.number == finding.segment)
                if segment.state not in ("closed", "truncated"):
                    return
                await asyncio.to_thread(vault.truncate, name, row.payload_of(segment), segment.payload_bytes)
            case "unlink":
                row = await self._means.journal.recording(name)
                staged = [row.payload_of(s) for s in row.segments if s.segment_id == finding.segment_id] if row else []
                for one in dict.fromkeys((*staged, finding.segment_id)):
                    await asyncio.to_thread(vault.unlink_segment, name, one)
            case "remove":
                kind, name = name.split("/", 1)
                owner = next(one for one in self._means.leftovers if kind in one.kinds)
                await asyncio.to_thread(owner.remove, kind, name)
            case "shred":
                await self._means.slots.release([int(name.removeprefix("slot "))])

    # ------------------------------------------------------------ what no recording owns

    async def _unnamed(self) -> list[Finding]:
        """Payloads without a row. The disk first: a row is on file before its payload is made."""
        on_disk = await asyncio.to_thread(self._means.vault.listing)
        rows = {row.recording_id: row for row in await self._means.journal.recordings()}
        found = []
        for recording_id, segment_id, size in on_disk:
            row = rows.get(recording_id)
            if row is not None and (row.state in LIVE or segment_id in {s.segment_id for s in row.segments}):
                continue  # beside a recording that is not sealed yet may lie what it is compacted to
            if row is not None and row.state in LIVE:
                continue  # a compaction has its next payload there; the next start removes what one left behind
            erased = row.state == "erased" if row else await self._means.journal.tombstone(recording_id) is not None
            if erased:
                message = f"a payload of {size} bytes of a recording that was erased"
                found.append(Finding("payload.outlived", recording_id, message, "unlink", segment_id=segment_id))
            else:
                message = f"a payload of {size} bytes that no row names: {segment_id}"
                found.append(Finding("payload.unnamed", recording_id, message, "none", segment_id=segment_id))
        return found

    async def _left_behind(self) -> list[Finding]:
        first = set(await self._strangers())
        if first and self._means.running:
            await asyncio.sleep(_AGAIN_S)
            first &= set(await self._strangers())
        words = {"spool": "a capture that no recording owns", "resume": "the key of a segment that is not open"}
        words["vault"] = "a temporary file that nobody finished"
        return [Finding(f"{kind}.leftover", f"{kind}/{name}", words[kind], "remove") for kind, name in sorted(first)]

    async def _strangers(self) -> Sequence[tuple[str, str]]:
        live = await self._means.journal.recordings(states=LIVE)
        return [s for one in self._means.leftovers for s in await asyncio.to_thread(one.strangers, live)]

    async def _keys_without_row(self) -> list[int]:
        """Live slots first: a slot is written before the row that names it."""
        live = await self._means.slots.live()
        named = set(await self._means.journal.slots_in_use())
        return [slot for slot in live if slot not in named]


def _named(finding: Finding) -> dict[str, Any]:
    """Where, for the log: ids only. A file in the spool may have any name, so it is told as its hash."""
    if finding.remedy == "remove":
        kind, name = finding.where.split("/", 1)
        return {"place": kind, "name_sha256": hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()}
    if finding.remedy == "shred":
        return {"slot": int(finding.where.removeprefix("slot "))}
    return {"recording_id": finding.where, "segment_id": finding.segment_id}


class _Committed:
    """A file up to its committed length."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._left = file, length

    def read(self, size: int, /) -> bytes:
        piece = self._file.read(min(size, self._left))
        self._left -= len(piece)
        return piece
