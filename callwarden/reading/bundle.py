"""A recording as the door describes it, opened for reading: refused, or held against what the edge signed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callwarden.door import Door, Reading
from callwarden.gaps import gap_warnings
from edge.errors import CallwardenError
from edge.model.lifecycle import LIVE
from formats.errors import FormatError
from formats.keyset import KeySet
from formats.manifest import Manifest, verify_manifest

Row = dict[str, Any]

#: What of a segment the journal and the manifest must say alike. Of a removed one only the name is left to compare.
_FACTS = ("segment_id", "number", "suite", "state", "plain_bytes", "payload_bytes", "key_id", "codec", "rate",
          "channels", "encoding", "frames")  # fmt: skip


class Opened:
    """One recording that may be read. `manifest` is None only where `partial` allows it; `warnings` are for the listener.

    Raises CallwardenError not_found.*, command.quarantined, command.live, vault.manifest, vault.differs.
    """

    def __init__(self, door: Door, recording: str, trust: KeySet, reading: Reading, *, partial: bool = False) -> None:
        self.door = door
        self.reading = reading
        self.bundle: Row = door.bundle(recording)
        self.recording_id: str = self.bundle["recording_id"]
        self.warnings: list[str] = []
        self._refuse()
        self._name_purpose()
        self.manifest = self._manifest(trust)
        if self.manifest is None and not partial:
            raise CallwardenError(
                "command.live",
                f"the recording is {self.bundle['state']}: it has no signed manifest yet",
                hint="--partial takes out what is sealed so far, unverified as a whole",
                where=self.recording_id,
            )

    def segments(self) -> list[Row]:
        """Those that have audio. Raises not_found.no_audio where none has."""
        found = [s for s in self.bundle["segments"] if s["payload_bytes"] > 0 and s["state"] != "shredded"]
        if not found:
            raise CallwardenError("not_found.no_audio", "no whole chunk is sealed", where=self.recording_id)
        return found

    def differs(self, message: str) -> CallwardenError:
        """What is stored contradicts itself, or what the edge signed."""
        return CallwardenError(
            "vault.differs",
            message,
            hint="keep everything as it is and look at `callwarden audit verify`",
            where=self.recording_id,
        )

    def refused(self, error: FormatError) -> CallwardenError:
        """A failed verification, with this recording named."""
        return CallwardenError(error.code, error.message, where=self.recording_id)

    def _name_purpose(self) -> None:
        """Without a purpose the first that the answer grants is taken, and said. The daemon holds every reading to it."""
        granted = list(self.bundle["purposes"])
        if not self.reading.purpose and granted:
            self.reading = replace(self.reading, purpose=granted[0])
            self.warnings.append(
                f"read for the purpose {granted[0]!r}; --purpose names another of: {', '.join(granted)}"
            )
        if self.bundle["revoked_at"]:
            self.warnings.append(f"the answer was withdrawn at {self.bundle['revoked_at']}; this was recorded before")
        self.warnings += gap_warnings(self.bundle)

    def _refuse(self) -> None:
        state = self.bundle["state"]
        if state in ("erased", "erasing"):
            if self.bundle["segments"]:  # the daemon answers, and notes that somebody asked
                self.door.header(self.recording_id, self.bundle["segments"][0]["number"], self.reading)
            tombstone = self.bundle["tombstone"] or {}
            at, cause = tombstone.get("erased_at", "an unknown time"), tombstone.get("cause", "unknown")
            message = f"the recording was erased at {at} (cause: {cause})"
            raise CallwardenError("not_found.erased", message, where=self.recording_id)
        if state == "quarantined" and self.reading.form != "verify":
            if self.bundle["segments"]:  # so it does here
                self.door.header(self.recording_id, self.bundle["segments"][0]["number"], self.reading)
            raise CallwardenError("command.quarantined", "the recording is quarantined", where=self.recording_id)
        if state == "no_audio":
            raise CallwardenError(
                "not_found.no_audio", "nothing was heard: the recording has no audio", where=self.recording_id
            )

    def _manifest(self, trust: KeySet) -> Manifest | None:
        if self.bundle["manifest"] is None:
            if self.bundle["state"] in LIVE:
                self.warnings.append("the recording still runs: this is what was sealed so far, without a manifest")
                return None
            raise self.differs("a sealed recording has no manifest")
        try:
            manifest = verify_manifest(self.bundle["manifest"], trust)
        except FormatError as error:
            hint = "--trust names the key set with this edge's key"
            raise CallwardenError(
                "vault.manifest", f"the manifest does not verify: {error.message}", hint=hint, where=self.recording_id
            ) from error
        if len(self.bundle["segments"]) != len(manifest.segments):
            raise self.differs("the journal has another number of segments than the edge signed")
        shared = {name: self.bundle[name] for name in ("codec", "rate", "channels")}
        named = [("segment_id", "number") if s["state"] == "shredded" else _FACTS for s in self.bundle["segments"]]
        stored = [
            tuple(({**s, **shared})[name] for name in names)
            for s, names in zip(self.bundle["segments"], named, strict=True)
        ]
        signed = [tuple(getattr(s, name) for name in names) for s, names in zip(manifest.segments, named, strict=True)]
        if manifest.recording_id != self.recording_id or stored != signed:
            raise self.differs("the journal's rows are not what the edge signed")
        if manifest.ending == "truncated":
            self.warnings.append("the recording ends early (truncated): what is there is whole and genuine")
        return manifest
