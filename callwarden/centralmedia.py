"""Payloads out of central's store, each compared with the manifest its edge signed before it has a name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from callwarden.centralclient import CentralClient
from callwarden.recovering import payload_path
from edge.errors import CallwardenError
from formats.errors import FormatError
from formats.ids import is_id
from formats.keyset import KeySet
from formats.manifest import SegmentEntry, verify_manifest

#: What stops everything; the rest is about one payload.
_STOPS: Final = ("sync.unreachable", "sync.certificate", "environment.file", "auth.token", "auth.forbidden")


@dataclass
class Fetched:
    """files: what was written, or would be; failed: "recording segment" to why not; absent: segments that central has no
    payload of."""

    files: list[Path] = field(default_factory=list)
    failed: dict[str, CallwardenError] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def fetch(
    client: CentralClient, vault: Path | None, trust: KeySet, reason: str, recordings: Sequence[str] = (),
    edge_id: str | None = None, *, purpose: str, case: str = "",
) -> Fetched:  # fmt: skip
    """Every payload that central has (of these recordings) into a folder laid out as a vault; None: only look whether each is what
    the manifest says. What is there already and right is left alone. purpose: what they are read for; a recording that central refuses
    for it is among the failed. Raises usage.purpose, and what stops everything."""
    for_a_purpose(purpose)
    told = Fetched()
    wanted = {"purpose": purpose} | ({"case": case} if case else {})
    words = {"reason": reason, **wanted}
    for row in client.pages("/v1/recordings", "recordings", **wanted):
        recording_id = str(row["recording_id"])
        if not is_id(recording_id):
            raise CallwardenError("sync.answer", "central names a recording by what is no id", where=recording_id[:80])
        if (edge_id and row["edge_id"] != edge_id) or (recordings and recording_id not in recordings):
            continue
        if row.get("refused") and row["state"] != "erased":
            told.failed[recording_id] = _refused(str(row["refused"]), recording_id, purpose)
            continue
        manifest = (row["sealed"] or {}).get("manifest")
        if row["tombstone"] or not manifest:
            continue
        try:
            entries = _entries(str(manifest), recording_id, trust)
        except CallwardenError as error:
            told.failed[recording_id] = error
            continue
        there = {one["segment_id"] for one in _listed(client, recording_id) if one["state"] == "stored"}
        for entry in entries:
            if entry.segment_id not in there:
                told.absent.append(f"{recording_id} {entry.number}")
                continue
            try:
                told.files.append(_one(client, vault, recording_id, entry, words))
            except CallwardenError as error:
                if error.code in _STOPS:
                    raise
                told.failed[f"{recording_id} {entry.number}"] = error
    return told


def for_a_purpose(purpose: str) -> None:
    """Raises usage.purpose where there is none."""
    if not purpose:
        message = "central gives payloads out for a purpose only"
        raise CallwardenError("usage.purpose", message, where="--purpose", hint="--purpose PURPOSE")


def path_of(recording_id: str, number: int, words: Mapping[str, str]) -> str:
    """Where central gives a payload out; words: what it is read for."""
    return f"/v1/recordings/{recording_id}/segments/{number}/media?{urlencode(words)}"


def _refused(why: str, recording_id: str, purpose: str) -> CallwardenError:
    if why == "restricted":
        hint = "for a claim: --purpose legal_claims --case NUMBER"
        return CallwardenError(
            "command.restricted",
            "it is restricted: nobody may read it but for legal claims",
            where=recording_id,
            hint=hint,
        )
    return CallwardenError("command.purpose", f"its answer does not cover the purpose {purpose!r}", where=recording_id)


def _listed(client: CentralClient, recording_id: str) -> Iterable[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.pages("/v1/media", "media", recording_id=recording_id)
    return rows


def _entries(manifest: str, recording_id: str, trust: KeySet) -> list[SegmentEntry]:
    try:
        verified = verify_manifest(manifest, trust)
    except FormatError as error:
        raise CallwardenError(
            "vault.manifest", f"the manifest does not verify: {error.message}", where=recording_id,
            hint="--trust names the key set with the edge's key",
        ) from error  # fmt: skip
    if verified.recording_id != recording_id:
        raise CallwardenError("vault.differs", "the manifest is of another recording", where=recording_id)
    return [one for one in verified.segments if one.state != "shredded" and one.payload_bytes]


def _one(
    client: CentralClient, vault: Path | None, recording_id: str, entry: SegmentEntry, words: Mapping[str, str]
) -> Path:
    """Under its name once it is whole and right. Raises vault.payload."""
    target = payload_path(vault or Path(), recording_id, entry.segment_id)
    path = path_of(recording_id, entry.number, words)
    if vault is None:
        _check(entry, client.download(path, None, entry.payload_bytes), recording_id)
        return target
    if target.exists() and _digest(target) == entry.payload_sha512:
        return target
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    try:
        with open(new, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
            _check(entry, client.download(path, file, entry.payload_bytes), recording_id)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(target)) from error
    finally:
        new.unlink(missing_ok=True)
    return target


def _check(entry: SegmentEntry, sha512: str, recording_id: str) -> None:
    if sha512 != entry.payload_sha512:
        message = f"central's payload of segment {entry.number} is not what the manifest says"
        raise CallwardenError("vault.payload", message, where=recording_id, hint="the edge may have it: fetch it again")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
