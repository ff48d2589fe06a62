"""Taking everything under a policy out of one edge: the recordings as they are sealed, their manifests, evidence and vCons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from callwarden.contractend.folder import Place, Taken, named, write
from callwarden.door import Door, Reading
from callwarden.reading.bundle import Opened
from callwarden.reading.files import copy
from callwarden.reading.segments import payload
from edge.errors import CallwardenError
from edge.model.lifecycle import LIVE
from formats.ids import format_time
from formats.keys import SigningKey
from formats.keyset import KeySet

Said = Callable[[str], None]
#: States of a recording that never had audio, or has none any more.
_EMPTY = ("no_audio", "erased", "erasing")


def export(
    door: Door, policy: str, folder: Path, trust: KeySet, key: SigningKey, reading: Reading, said: Said
) -> Place:
    """Everything of `policy` at this edge into `folder`/EDGE, signed with `key`. Goes on where an earlier run ended.

    Raises CallwardenError command.live while a call under it goes on, command.restricted, command.quarantined and
    vault.differs for a recording that cannot be taken out: then nothing is signed, and nothing may be erased.
    """
    place = Place(folder / named(str(door.status()["edge_id"]), "edge"))
    if place.complete:
        said(f"{place.path}: complete since an earlier run")
        return place
    as_of = format_time(datetime.now(UTC))  # before the calls are listed: none that is not here can be covered later
    calls = [one for one in door.calls() if one["policy"] == policy and one["started_at"] <= as_of]
    wanted = {one["call_id"] for one in calls}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in door.recordings():
        if row["call_id"] in wanted:
            rows.setdefault(row["call_id"], []).append(row)
    live = [row["recording_id"] for found in rows.values() for row in found if row["state"] in LIVE]
    if live or any(one["state"] != "ended" and one["ended_at"] is None and one["outcome"] is None for one in calls):
        raise CallwardenError(
            "command.live", f"calls under the policy go on ({len(live)} are recorded)",
            hint="take its lines away from the policy, reload, and run this again when they are over", retryable=True,
            where=policy,
        )  # fmt: skip
    place.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, call in enumerate(calls, 1):
        found = rows.get(call["call_id"], [])
        place.put_call(call["call_id"], _filler(door, call["call_id"], found, trust, reading))
        said(f"call {number} of {len(calls)}")
    every = [row for found in rows.values() for row in found]
    taken = Taken(
        edge_id=place.path.name, policy=policy, as_of=as_of, calls=tuple(sorted(wanted)),
        recordings=tuple(sorted(row["recording_id"] for row in every if row["state"] not in _EMPTY)),
        without_audio=tuple(sorted(row["recording_id"] for row in every if row["state"] in _EMPTY)),
        files=place.facts(),
    )  # fmt: skip
    place.finish(taken, key)
    return place


def _filler(
    door: Door, call_id: str, rows: list[dict[str, Any]], trust: KeySet, reading: Reading
) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        write(folder / "evidence.json", door.evidence(call_id, "json", reading))
        write(folder / "vcon.json", door.evidence(call_id, "vcon", reading))
        for row in rows:
            if row["state"] not in _EMPTY:
                _recording(door, row["recording_id"], folder, trust, reading)

    return fill


def _recording(door: Door, recording_id: str, folder: Path, trust: KeySet, reading: Reading) -> None:
    """`<recording>.<segment>.age` (or the suite's name): header and payload as one file; and what the edge signed of it."""
    opened = Opened(door, recording_id, trust, Reading(reading.purpose, reading.case, "age"))
    write(folder / f"{recording_id}.json", opened.bundle)
    there = any(one["payload_bytes"] for one in opened.bundle["segments"])
    for segment in opened.segments() if there else ():
        ending = "age" if segment["suite"] == "age1" else str(segment["suite"])
        with (folder / f"{recording_id}.{segment['number']}.{ending}").open("xb") as file:
            file.write(door.header(recording_id, segment["number"], opened.reading))
            with payload(opened, segment) as held:
                copy(held, file)
    door.exported(recording_id, opened.reading)
