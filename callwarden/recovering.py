"""Audio without a journal: headers from central's keeper, payloads from the vault's folder, the identity here.

A door like the daemon's stands over both, so that everything read through it is verified as it always is: the edge's signed
manifest (which central was told), each file key against its `key_id`, each payload against its hash.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from callwarden.centralclient import CentralClient
from callwarden.door import Door, Reading, Source
from callwarden.exporting import Export, Exported
from edge.errors import CallwardenError
from formats.age import Identity
from formats.errors import FormatError
from formats.ids import is_id
from formats.keys import unb64url
from formats.keyset import KeySet
from formats.manifest import frame_bytes, verify_manifest
from formats.suites import Suite, suite_of

Row = dict[str, Any]


@dataclass
class Recovered:
    """files: what was written; failed: recording to why it is not there; erased: left alone, as they should be; unknown:
    recordings that have payloads here and that central never heard of."""

    files: list[Exported] = field(default_factory=list)
    failed: dict[str, CallwardenError] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class RecoveryDoor:
    """The part of `callwarden.door.Door` that reading a recording needs, over central and a vault's folder (None: there is none)."""

    def __init__(
        self, client: CentralClient, vault: Path | None, trust: KeySet, reason: str, purpose: str = "", case: str = ""
    ) -> None:
        self._client, self._vault, self._trust, self._reason = client, vault, trust, reason
        self._wanted = {name: text for name, text in (("purpose", purpose), ("case", case)) if text}
        self._headers: dict[str, dict[str, Row]] = {}
        self._bundles: dict[str, Row] = {}

    def bundle(self, recording: str) -> Row:
        """As the daemon's, from what central was told; without a manifest as of a recording that still runs.

        Raises vault.manifest, sync.answer for words of central that make no recording.
        """
        try:
            return self._bundle(recording)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CallwardenError(
                "sync.answer", "central's words about it make no recording", where=recording
            ) from error

    def _bundle(self, recording: str) -> Row:
        found = self._client.get(f"/v1/recordings/{recording}", **self._wanted)
        sealed, opened = found["sealed"] or {}, found["opened"] or {}
        erased = found["erased"] or found["tombstone"]
        segments: list[Row] = []
        if not erased:  # nor are its headers asked for: they are gone
            headers = self._headers_of(recording)
            segments = (
                self._signed(sealed["manifest"], headers)
                if sealed.get("manifest")
                else self._told(recording, found["segments"], opened, headers)
            )
        state = "no_audio" if sealed.get("state") == "no_audio" else "sealed" if sealed.get("manifest") else "recording"
        first: Mapping[str, Any] = segments[0] if segments else opened
        self._bundles[recording] = made = {
            "edge_id": found["edge_id"],
            "edge_jwk": {},
            "recording_id": recording,  # as asked for: another one's manifest says another
            "call_id": found["call_id"],
            "state": "erased" if erased else state,
            "ending": sealed.get("ending"),
            "suite": opened.get("suite") or first.get("suite") or "age1",
            "codec": opened.get("codec") or first.get("codec"),
            "rate": opened.get("rate") or first.get("rate"),
            "channels": opened.get("channels") or first.get("channels"),
            "started_at": opened.get("started_at", ""),
            "ended_at": sealed.get("ended_at"),
            "held": False,
            "manifest": sealed.get("manifest"),
            "segments": segments,
            "tombstone": erased and {"erased_at": erased.get("at"), **erased},
            "purposes": [str(one) for one in opened.get("purposes") or ()],
            "revoked_at": None,
            "pauses": [],
            "flags": [],
            "others": [],
        }
        return made

    def header(self, recording_id: str, number: int, reading: Reading) -> bytes:
        """The header that the keeper has. Raises vault.missing_keys."""
        segment = self._segment(recording_id, number)
        text = self._headers_of(recording_id).get(segment["segment_id"], {}).get("header")
        if not isinstance(text, str):
            raise CallwardenError(
                "vault.missing_keys", f"the keeper has no key of segment {number}", where=recording_id,
                hint="it was destroyed, or the edge could not report the segment before it was lost",
            )  # fmt: skip
        return unb64url(text)

    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]:
        """The file in the vault's folder, as far as it counts, or a part of it. Raises vault.missing."""
        segment = self._segment(recording_id, number)
        assert self._vault is not None
        path = payload_path(self._vault, recording_id, segment["segment_id"])
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise CallwardenError(
                "vault.missing", f"a payload cannot be read: {error.strerror}", where=str(path)
            ) from error
        with os.fdopen(handle, "rb") as file:
            first, behind = part or (0, segment["payload_bytes"])
            file.seek(first)
            yield _Bounded(file, min(behind, segment["payload_bytes"]) - first)

    def exported(self, recording_id: str, reading: Reading) -> None:
        """Central noted it when it gave the headers out."""

    # ------------------------------------------------------------ parts

    def _segment(self, recording_id: str, number: int) -> Row:
        segments: list[Row] = self._bundles[recording_id]["segments"]
        return next(one for one in segments if one["number"] == number)

    def _headers_of(self, recording_id: str) -> dict[str, Row]:
        if recording_id not in self._headers:
            body = {"reason": self._reason, **self._wanted}
            answer = self._client.post(f"/v1/recordings/{recording_id}/headers", body)
            self._headers[recording_id] = {one["segment_id"]: one for one in answer["headers"]}
        return self._headers[recording_id]

    def _signed(self, manifest: str, headers: Mapping[str, Row]) -> list[Row]:
        try:
            verified = verify_manifest(manifest, self._trust)
        except FormatError as error:
            hint = "--trust names the key set with the lost edge's key"
            raise CallwardenError(
                "vault.manifest", f"the manifest does not verify: {error.message}", hint=hint
            ) from error
        kept = (
            "segment_id", "number", "state", "chunks", "plain_bytes", "payload_bytes", "payload_sha512", "tags_hash",
            "end_reason", "key_id", "codec", "rate", "channels", "suite", "encoding", "frames",
        )  # fmt: skip
        return [
            {name: getattr(one, name) for name in kept} | _of_header(headers.get(one.segment_id, {}))
            for one in verified.segments
        ]

    def _told(self, recording_id: str, closed: Sequence[Row], opened: Row, headers: Mapping[str, Row]) -> list[Row]:
        """Segments of a recording that was never sealed: those central heard the end of, and the open ones as far as the
        vault has whole chunks of them."""
        found = {one["segment_id"]: one for one in closed}
        if opened.get("segment_id") and opened["segment_id"] not in found:
            suite = suite_of(str(opened.get("suite", "age1")))
            path = self._vault and payload_path(self._vault, recording_id, opened["segment_id"])
            chunks = _whole_chunks(path, suite) if path else 0
            found[opened["segment_id"]] = {
                "segment_id": opened["segment_id"], "number": opened["number"], "state": "truncated", "chunks": chunks,
                "plain_bytes": chunks * suite.chunk, "payload_bytes": suite.truncated_size(chunks) if chunks else 0,
                "payload_sha512": None, "tags_hash": "", "end_reason": "power_cut",
            }  # fmt: skip
        rows = sorted(found.values(), key=lambda one: int(one["number"]))
        width = frame_bytes(str(opened.get("codec", "sln")), int(opened.get("channels", 2)))
        return [
            {"encoding": "none", "frames": one["plain_bytes"] // width, **one}
            | {name: headers.get(one["segment_id"], {}).get(name, "") for name in ("key_id", "suite")}
            | _of_header(headers.get(one["segment_id"], {}))
            for one in rows
        ]


def recover(
    client: CentralClient, vault: Path, out: Path, identities: Sequence[Identity], trust: KeySet, reason: str,
    edge_id: str | None, only: Sequence[str] = (), *, purpose: str = "", case: str = "",
) -> Recovered:  # fmt: skip
    """Every recording that central knows of (of one edge, where it is named), as WAV files in `out`; what exists there is
    left alone. `purpose`, `case`: what they are read for (default: the first purpose of each answer). Raises what stops
    everything (central is away, the folder cannot be written)."""
    told, known = Recovered(), set()
    door = RecoveryDoor(client, vault, trust, reason, purpose, case)
    for row in client.pages("/v1/recordings", "recordings"):
        recording_id = str(row["recording_id"])
        if not is_id(recording_id):  # it becomes the name of a file
            raise CallwardenError("sync.answer", "central names a recording by what is no id", where=recording_id[:80])
        known.add(recording_id)
        if (edge_id and row["edge_id"] != edge_id) or (only and recording_id not in only):
            continue
        if row["state"] == "erased" or row["tombstone"]:
            told.erased.append(recording_id)
            continue
        if (row["sealed"] or {}).get("state") == "no_audio":
            continue  # nothing was heard
        try:
            partial = not (row["sealed"] or {}).get("manifest")
            export = Export(cast(Door, door), recording_id, trust, Reading(purpose, "recover"), partial=partial)
            told.files.append(export.to_audio(out / f"{recording_id}.wav", identities))
        except CallwardenError as error:
            if error.code in ("sync.unreachable", "sync.certificate", "environment.file", "auth.token"):
                raise
            told.failed[recording_id] = error
    told.unknown = [] if only else sorted(set(_in_vault(vault)) - known)
    return told


def payload_path(vault: Path, recording_id: str, segment_id: str) -> Path:
    """Where a payload lies (docs/spec/journal.md). Raises vault.name."""
    if not (is_id(recording_id) and is_id(segment_id)):
        raise CallwardenError("vault.name", "a payload is named by ids of 32 hex digits")
    return vault / recording_id[:2] / recording_id / f"{segment_id}.payload"


def _in_vault(vault: Path) -> Iterator[str]:
    for path in vault.glob("??/*"):
        if is_id(path.name) and path.is_dir() and any(path.iterdir()):
            yield path.name


def _whole_chunks(path: Path, suite: Suite) -> int:
    try:
        return max(0, path.lstat().st_size - suite.prefix) // suite.enc_chunk
    except OSError:
        return 0


def _of_header(header: Mapping[str, Any]) -> Row:
    return {"header_version": header.get("version", 0), "recipients": [], "made_by": ""}


class _Bounded:
    """A file up to the length that counts."""

    def __init__(self, file: Source, length: int) -> None:
        self._file, self._left = file, length

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece
