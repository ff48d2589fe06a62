"""The checker: what must be true of a whole stack after anything happened to it. Reads, never changes.

`check(stack)` says every violation in words; an empty list is the proof. The letters are those of docs/invariants.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from callwarden.centralclient import CentralClient
from edge.config import load
from edge.vault.slotfile import DESTROYED, FREE, LIVE, SLOT, encode_slot
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.manifest import verify_manifest
from formats.shred import unseal_header
from rig.checker import Row, cdr_rows, outcome
from rig.places import ASTERISK_UID, CENTRAL_UID, EDGE_UID
from rig.plaintext import VoiceSearch, disk_roots, written_since
from rig.stack import Stack

#: Consent events a permit may stand on.
_YES = ("given", "notified", "not_required")
#: The purpose that central lets every call be read for, also one that the guard let go on and that has none of its own.
_ANY = "data_subject_request"


@dataclass
class Facts:
    """What the stack's files say now. Rows as dicts, by id."""

    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    recordings: dict[str, dict[str, Any]] = field(default_factory=dict)
    segments: list[dict[str, Any]] = field(default_factory=list)
    tombstones: set[str] = field(default_factory=set)
    outages: list[tuple[float, float]] = field(default_factory=list)
    used_slots: set[int] = field(default_factory=set)
    waiting: int = 0


def check(
    stack: Stack,
    *,
    since: float = 0.0,
    lines: Sequence[str] = ("1001",),
    outages: Sequence[tuple[float, float]] | None = None,
    within: float = 10.0,
    whole_disk: bool = False,
) -> list[str]:
    """Every violation of (a) to (f), with no call live and everything running.

    since: Unix seconds from when records and files count; lines: extensions that reach a snippet; outages: when the daemon
    was away, in place of what the journal says of it; within: how long central and the last call may take to converge;
    whole_disk: look for plaintext on every disk, not only below the stack's folders.
    """
    found: list[str] = []
    conn = _settled(stack, within, found)
    try:
        facts = _facts(conn)
        found += [f"journal: {row[0]}" for row in conn.execute("PRAGMA integrity_check") if row[0] != "ok"]
        found += [f"journal: foreign key {tuple(row)}" for row in conn.execute("PRAGMA foreign_key_check")]
        rows = [row for row in cdr_rows(stack.pbx()) if row["dst"] in lines and float(row["start"]) >= since]
        found += _outcomes(facts, rows, facts.outages if outages is None else outages)
        found += _permits(conn, facts)
        found += _payloads(stack, facts)
        found += _slots(stack, facts)
        found += _spool(stack)
        found += plaintext(stack, since, whole_disk=whole_disk)
        audit = stack.callwarden("audit", "verify", check=False)
        if audit.returncode != 0:
            found.append(f"(e) audit verify exits {audit.returncode}: {audit.stderr.strip()}")
        found += _central(stack, facts, within)
    finally:
        conn.close()
    return found


# ---------------------------------------------------------------- reading


def snapshot(path: Path) -> sqlite3.Connection:
    """A consistent copy, in memory, of a database that somebody else writes."""
    copy = sqlite3.connect(":memory:")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source:
        source.execute("PRAGMA query_only=ON")
        source.backup(copy)
    copy.row_factory = sqlite3.Row
    return copy


def _settled(stack: Stack, within: float, found: list[str]) -> sqlite3.Connection:
    """The journal once no call is open and no recording is on its way; says what never settled."""
    end = time.monotonic() + within
    while True:
        conn = snapshot(stack.journal)
        calls = conn.execute("SELECT call_id, state FROM call WHERE state <> 'ended'").fetchall()
        going = conn.execute(
            "SELECT recording_id, state FROM recording WHERE state NOT IN ('sealed','no_audio','erased')"
        ).fetchall()
        if not calls and not going:
            return conn
        if time.monotonic() > end:
            found += [f"(a) call {r[0]} is still {r[1]}" for r in calls]
            found += [f"(c) recording {r[0]} is still {r[1]}" for r in going]
            return conn
        conn.close()
        time.sleep(0.2)


def _facts(conn: sqlite3.Connection) -> Facts:
    facts = Facts()
    facts.calls = {r["call_id"]: dict(r) for r in conn.execute("SELECT * FROM call")}
    facts.recordings = {r["recording_id"]: dict(r) for r in conn.execute("SELECT * FROM recording")}
    facts.segments = [
        dict(r)
        for r in conn.execute(
            "SELECT s.*, h.slot, h.sealed_header, h.version, r.state AS of_state FROM segment s"
            " JOIN header h ON h.segment_id = s.segment_id"
            " AND h.version = (SELECT max(version) FROM header n WHERE n.segment_id = s.segment_id)"
            " JOIN recording r ON r.recording_id = s.recording_id"
            " ORDER BY s.recording_id, s.number"
        )
    ]
    facts.tombstones = {r[0] for r in conn.execute("SELECT recording_id FROM tombstone")}
    entries = (json.loads(r[0]) for r in conn.execute("SELECT entry FROM audit"))
    facts.outages = [
        (_unix(e["body"]["from"]), _unix(e["body"]["to"])) for e in entries if e["kind"] == "outage"
    ]  # fmt: skip
    facts.used_slots = {s["slot"] for s in facts.segments if s["slot"] > 0}
    facts.used_slots |= {
        int(r[0]) for r in conn.execute("SELECT value FROM meta WHERE key IN ('audit_slot','memory_slot')")
    }
    facts.waiting = conn.execute("SELECT count(*) FROM outbox").fetchone()[0]
    return facts


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# ---------------------------------------------------------------- (a) outcomes


def _outcomes(facts: Facts, rows: Sequence[Row], outages: Sequence[tuple[float, float]]) -> list[str]:
    """Each answered call has one outcome, and Asterisk's record says the same as the journal."""
    found = [f"(a) call {c['call_id']} ended without an outcome" for c in facts.calls.values() if not c["outcome"]]
    by_linked: dict[str, list[dict[str, Any]]] = {}
    for call in facts.calls.values():
        by_linked.setdefault(call["linked_id"], []).append(call)
    for row in rows:
        if row["disposition"] != "ANSWERED":
            continue
        tag, calls = outcome(row), by_linked.get(row["linkedid"], [])
        who = f"(a) call {row['uniqueid']} from {row['src']} ({row['userfield']})"
        if tag == "":
            found.append(f"{who} has no outcome in its record")
        elif len(calls) > 1:
            found.append(f"{who} has {len(calls)} rows")
        elif not calls:
            away = any(a <= float(row["end"]) and float(row["start"]) <= b for a, b in outages)
            if tag != "unavailable" or not away:
                found.append(f"{who} has no row, and the daemon was {'away' if away else 'there'}")
        elif tag != calls[0]["outcome"] and not _untagged(row, tag, calls[0]["outcome"], outages):
            found.append(f"{who} is {calls[0]['outcome']} in the journal")
        elif "call=" in row["userfield"] and f"call={calls[0]['call_id']}" not in row["userfield"]:
            found.append(f"{who} names another call than {calls[0]['call_id']}")
    return found


def _untagged(row: Row, tag: str, said: str, outages: Sequence[tuple[float, float]]) -> bool:
    """Whether the record keeps its first word because no channel was left to tag.

    The caller hung up during the question, or while the daemon was away between the answer's commit and the tag.
    """
    away = any(a <= float(row["end"]) <= b for a, b in outages)
    return tag == "unavailable" and (said == "abandoned" or away)


# ---------------------------------------------------------------- (b) permits, (c) payloads


def _permits(conn: sqlite3.Connection, facts: Facts) -> list[str]:
    found = []
    for recording_id in facts.recordings:
        row = conn.execute(
            "SELECT e.kind, p.call_id = r.call_id AS same, e.call_id = p.call_id AS own,"
            " EXISTS(SELECT 1 FROM adoption a WHERE a.recording_id = r.recording_id) AS adopted FROM recording r"
            " LEFT JOIN permit p USING(permit_id) LEFT JOIN consent_event e ON e.seq = p.event_seq"
            " WHERE r.recording_id = ?",
            (recording_id,),
        ).fetchone()
        yes = row is not None and row["kind"] in (("adopted",) if row["adopted"] else _YES)
        if not yes or not row["same"] or not row["own"]:
            found.append(f"(b) recording {recording_id} stands on no permit")
    return found


def _payloads(stack: Stack, facts: Facts) -> list[str]:
    """Every payload a row, every row a payload or a tombstone; sealed ones are what their signed manifest says."""
    found = []
    trust = KeySet.load(stack.trust.read_bytes())
    rows = {f"{s['recording_id'][:2]}/{s['recording_id']}/{s['segment_id']}.payload": s for s in facts.segments}
    files = {str(p.relative_to(stack.vault)) for p in stack.vault.rglob("*") if not p.is_dir()}
    shapes = {name.removesuffix(".waveform") + ".payload": name for name in files if name.endswith(".waveform")}
    found += [f"(c) {name} has no row" for name in sorted(files - set(rows) - {shapes[n] for n in shapes if n in rows})]
    found += [
        f"(c) {shapes[name]} outlived its segment"
        for name, s in rows.items()
        if name in shapes and (s["state"] == "shredded" or s["of_state"] in ("erased", "erasing"))
    ]
    for name, s in rows.items():
        gone = s["of_state"] in ("erased", "erasing")
        if gone and (name in files or s["recording_id"] not in facts.tombstones):
            found.append(f"(c) erased {name}: there {name in files}, no tombstone")
        elif s["state"] == "shredded":  # after an incident: its recording stays
            if name in files:
                found.append(f"(c) shredded {name} is there")
        elif not gone and s["payload_bytes"] and name not in files:
            found.append(f"(c) {name} is missing")
        elif not gone and name in files:
            data = (stack.vault / name).read_bytes()
            if len(data) != s["payload_bytes"]:
                found.append(f"(c) {name} has {len(data)} bytes, its row says {s['payload_bytes']}")
            elif s["payload_bytes"] and s["payload_sha512"] != hashlib.sha512(data).digest():
                found.append(f"(c) {name} is not what its row says")
    for recording in facts.recordings.values():
        if recording["state"] == "sealed":
            try:
                verify_manifest(recording["manifest"], trust)
            except FormatError as error:
                found.append(f"(c) manifest of {recording['recording_id']}: {error}")
    return found


def _slots(stack: Stack, facts: Facts) -> list[str]:
    """Every slot is whole, the live ones are exactly those that rows name, and each opens its header."""
    found = []
    data = (stack.journal.parent / "shred.keys").read_bytes()
    live: set[int] = set()
    for number in range(1, len(data) // SLOT):
        slot = data[number * SLOT : (number + 1) * SLOT]
        if slot[0] not in (FREE, LIVE, DESTROYED):
            found.append(f"slot {number} has state {slot[0]}")
        elif any(slot) and slot != encode_slot(number, slot[0], slot[8:40]):
            found.append(f"slot {number} is torn")
        elif slot[0] == LIVE:
            live.add(number)
    if live != facts.used_slots:
        found.append(f"live slots without a row: {live - facts.used_slots}, rows without: {facts.used_slots - live}")
    for s in facts.segments:
        if s["slot"] in live:
            key = data[s["slot"] * SLOT + 8 : s["slot"] * SLOT + 40]
            try:
                unseal_header(s["sealed_header"], key, s["recording_id"], s["segment_id"], s["version"])
            except FormatError as error:
                found.append(f"header of segment {s['segment_id']}: {error}")
        elif s["state"] != "shredded" and s["of_state"] not in ("erased", "erasing"):
            found.append(f"segment {s['segment_id']} is {s['of_state']} and has no key")
    return found


# ---------------------------------------------------------------- (d) plaintext


def _spool(stack: Stack) -> list[str]:
    """With no call live, spool and resume folder are empty."""
    edge = load(stack.config).edge
    return [f"(d) {folder} holds {name}" for folder in (edge.spool, edge.resume) for name in os.listdir(folder)]


def plaintext(stack: Stack, since: float, *, whole_disk: bool = False) -> list[str]:
    """Files on disks, written since, that hold a caller's voice.

    Below the stack's folder anybody's; elsewhere those of Asterisk, edge and central (as root they have ids of their own).
    """
    search = VoiceSearch()
    holding = search.in_files(written_since(since, [stack.state]))
    owners = (ASTERISK_UID, EDGE_UID, CENTRAL_UID) if os.geteuid() == 0 else None
    roots = disk_roots() if whole_disk else [Path("/tmp"), Path("/var/tmp")]
    elsewhere = (
        path
        for path in written_since(since, roots, owners)
        # Exports of tests that run beside this one lie in pytest's own folder.
        if not path.is_relative_to(stack.state.parent) and not any(p.startswith("pytest-of-") for p in path.parts)
    )
    return [f"(d) {path} holds a caller's voice" for path in [*holding, *search.in_files(elsewhere)]]


# ---------------------------------------------------------------- (f) central


def _central(stack: Stack, facts: Facts, within: float) -> list[str]:
    client = CentralClient(stack.central_url, stack.token(), stack.etc / "central-ca.pem")
    end = time.monotonic() + within
    while True:
        differences = _differences(client, facts)
        if not differences:
            break
        if time.monotonic() > end:
            return [f"(f) {difference}" for difference in differences]
        time.sleep(0.3)
    with contextlib.closing(snapshot(stack.state / "var" / "central" / "central.db")) as conn:
        return [f"central: {row[0]}" for row in conn.execute("PRAGMA integrity_check") if row[0] != "ok"]


def _differences(client: CentralClient, facts: Facts) -> list[str]:
    calls = {c["call_id"]: c["outcome"] for c in client.pages("/v1/calls", "calls", purpose=_ANY)}
    recordings = {r["recording_id"]: r for r in client.pages("/v1/recordings", "recordings", purpose=_ANY)}
    found = []
    here = {c["call_id"]: c["outcome"] for c in facts.calls.values()}
    if calls != here:
        found.append(f"calls differ: {sorted(set(calls.items()) ^ set(here.items()), key=repr)[:4]}")
    if set(recordings) != set(facts.recordings):
        found.append(f"recordings differ: {sorted(set(recordings) ^ set(facts.recordings))[:4]}")
    for recording_id, there in recordings.items():
        state = facts.recordings.get(recording_id, {}).get("state")
        expected = {"sealed": "sealed", "no_audio": "sealed", "erased": "erased"}.get(str(state), "opened")
        if there["state"] != expected or bool(there["tombstone"]) != (recording_id in facts.tombstones):
            found.append(f"recording {recording_id} is {state}, central says {there['state']} {there['tombstone']}")
        kept = {h["segment_id"] for h in there["headers"] if h["kept"]}
        if state == "erased" and kept:
            found.append(f"central's keeper still has keys of {recording_id}")
        segments = [s for s in facts.segments if s["recording_id"] == recording_id]
        own = {s["segment_id"] for s in segments if s["state"] != "shredded"}
        if state == "sealed" and kept != own:
            found.append(f"central's keeper has {len(kept)} of {len(own)} keys of {recording_id}")
    return found
