"""Taking a recording out of the vault, in the command's own process: an identity never enters the daemon.

Nothing is released before it is verified: the manifest's signature, each segment's file key against its `key_id`, each
payload against its hash, and only then chunk by chunk into a file that gets its name when it is whole.
"""

from __future__ import annotations

import io
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from callwarden.door import Door, Reading, Source
from callwarden.gaps import gap_warnings, gaps
from edge.errors import CallwardenError
from edge.model.lifecycle import LIVE
from formats.age import Identity, decrypt_stream, decrypt_truncated, open_header
from formats.errors import FormatError, NoMatchError
from formats.keyset import KeySet
from formats.manifest import Manifest, check_key, check_payload, key_id, verify_manifest
from formats.wav import wav_header

_PIECE = 256 * 1024


@dataclass
class Exported:
    """files: what was written; seconds of audio; verified: the edge's signed manifest was held against everything;
    purpose: what it was read for; gaps: what is not in the audio (`callwarden.gaps`); warnings: what the listener must
    know."""

    recording_id: str
    files: list[Path]
    seconds: float
    segments: int
    verified: bool
    purpose: str
    gaps: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)


class Export:
    """One recording on its way out. Raises CallwardenError."""

    def __init__(self, door: Door, recording: str, trust: KeySet, reading: Reading, *, partial: bool = False) -> None:
        self._door = door
        self._reading = reading
        self.bundle: dict[str, Any] = door.bundle(recording)
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

    def to_wav(self, target: Path, identities: Sequence[Identity]) -> Exported:
        """Decrypt into one WAV file; spans follow each other without the pauses between them."""
        segments = self._segments()
        keys = [self._file_key(s, identities) for s in segments]
        size = sum(s["plain_bytes"] for s in segments)
        rate, channels = self.bundle["rate"], self.bundle["channels"]
        with new_file(target) as file:
            file.write(wav_header(size, rate, channels))
            for segment, key in zip(segments, keys, strict=True):
                self._decrypt(segment, key, file)
            if file.tell() != size + 44:
                raise self._differs("the audio has another length than its segments' facts say")
            self._door.exported(self.recording_id, "wav", self._reading)
        return self._done([target], size / (rate * channels * 2), len(segments))

    def to_age(self, target: Path) -> Exported:
        """One age file a segment, still encrypted: what `age -d -i IDENTITY` opens."""
        segments = self._segments()
        files = [target if n == 0 else target.with_suffix(f".{n + 1}{target.suffix}") for n in range(len(segments))]
        for segment, path in zip(segments, files, strict=True):
            with new_file(path) as file:
                file.write(self._door.header(self.recording_id, segment["number"], self._reading))
                with self._payload(segment) as payload:
                    _copy(payload, file)
                self._door.exported(self.recording_id, "age", self._reading)
            if segment["state"] != "closed":
                self.warnings.append(
                    f"{path}: no last chunk; `age -d` prints all that is there and then says it was cut"
                )
        size = sum(s["plain_bytes"] for s in segments)
        rate = self.bundle["rate"] * self.bundle["channels"] * 2
        return self._done(files, size / rate, len(segments))

    def spans(self, identities: Sequence[Identity]) -> Iterator[tuple[int, bytes]]:
        """(number, whole WAV file) of each segment, for who puts audio into another document."""
        rate, channels = self.bundle["rate"], self.bundle["channels"]
        for segment in self._segments():
            key, audio = self._file_key(segment, identities), io.BytesIO()
            self._decrypt(segment, key, audio)
            yield segment["number"], wav_header(segment["plain_bytes"], rate, channels) + audio.getvalue()
        self._door.exported(self.recording_id, "wav", self._reading)

    # -- checks before anything is written

    def _segments(self) -> list[dict[str, Any]]:
        """Those that have audio. Raises not_found.no_audio where none has."""
        found = [s for s in self.bundle["segments"] if s["payload_bytes"] > 0 and s["state"] != "shredded"]
        if not found:
            raise CallwardenError("not_found.no_audio", "no whole chunk is sealed", where=self.recording_id)
        return found

    def _name_purpose(self) -> None:
        """Without a purpose the first that the answer grants is taken, and said. The daemon holds every reading to it."""
        granted = list(self.bundle["purposes"])
        if not self._reading.purpose and granted:
            self._reading = replace(self._reading, purpose=granted[0])
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
                self._door.header(self.recording_id, self.bundle["segments"][0]["number"], self._reading)
            tombstone = self.bundle["tombstone"] or {}
            at, cause = tombstone.get("erased_at", "an unknown time"), tombstone.get("cause", "unknown")
            message = f"the recording was erased at {at} (cause: {cause})"
            raise CallwardenError("not_found.erased", message, where=self.recording_id)
        if state == "quarantined":
            raise CallwardenError(
                "command.quarantined",
                "the recording is quarantined: its rows and its files disagree",
                hint="see the alarm in `callwarden status`; --raw-age is refused too",
                where=self.recording_id,
            )
        if state == "no_audio":
            raise CallwardenError(
                "not_found.no_audio", "nothing was heard: the recording has no audio", where=self.recording_id
            )

    def _manifest(self, trust: KeySet) -> Manifest | None:
        if self.bundle["manifest"] is None:
            if self.bundle["state"] in LIVE:
                self.warnings.append("the recording still runs: this is what was sealed so far, without a manifest")
                return None
            raise self._differs("a sealed recording has no manifest")
        try:
            manifest = verify_manifest(self.bundle["manifest"], trust)
        except FormatError as error:
            hint = "--trust names the key set with this edge's key"
            raise CallwardenError(
                "vault.manifest", f"the manifest does not verify: {error.message}", hint=hint, where=self.recording_id
            ) from error
        facts = ("segment_id", "number", "state", "plain_bytes", "payload_bytes", "key_id", "codec", "rate", "channels")
        if len(self.bundle["segments"]) != len(manifest.segments):
            raise self._differs("the journal has another number of segments than the edge signed")
        shared = {name: self.bundle[name] for name in ("codec", "rate", "channels")}
        # Of a segment that was removed after an incident only the name is left to compare.
        named = [("segment_id", "number") if s["state"] == "shredded" else facts for s in self.bundle["segments"]]
        stored = [
            tuple(({**s, **shared})[name] for name in names)
            for s, names in zip(self.bundle["segments"], named, strict=True)
        ]
        signed = [tuple(getattr(s, name) for name in names) for s, names in zip(manifest.segments, named, strict=True)]
        if manifest.recording_id != self.recording_id or stored != signed:
            raise self._differs("the journal's rows are not what the edge signed")
        if manifest.ending == "truncated":
            self.warnings.append("the recording ends early (truncated): what is there is whole and genuine")
        return manifest

    def _file_key(self, segment: dict[str, Any], identities: Sequence[Identity]) -> bytes:
        header = self._door.header(self.recording_id, segment["number"], self._reading)
        try:
            key = open_header(header, identities)
            if self.manifest is not None:
                check_key(self.manifest.segments[segment["number"]], key)
            elif key_id(key).hex() != segment["key_id"]:
                raise self._differs(f"segment {segment['number']}: this key is not the one it was sealed with")
        except NoMatchError as error:
            raise CallwardenError(
                "vault.no_match",
                "this identity does not open the recording",
                hint="it was sealed to other recipients: " + " ".join(segment["recipients"]),
                where=self.recording_id,
            ) from error
        except FormatError as error:
            raise CallwardenError(error.code, error.message, where=self.recording_id) from error
        return key

    # -- audio

    @contextmanager
    def _payload(self, segment: dict[str, Any]) -> Iterator[IO[bytes]]:
        """The payload in an unnamed file, verified as a whole against the manifest. It is ciphertext."""
        with tempfile.TemporaryFile() as held:
            with self._door.payload(self.recording_id, segment["number"]) as source:
                size = _copy(source, held)
            if size != segment["payload_bytes"]:
                raise self._differs(
                    f"segment {segment['number']}: {size} bytes came, {segment['payload_bytes']} are on file"
                )
            if self.manifest is not None:
                held.seek(0)
                try:
                    check_payload(self.manifest.segments[segment["number"]], held)
                except FormatError as error:
                    raise CallwardenError(error.code, error.message, where=self.recording_id) from error
            held.seek(0)
            yield held

    def _decrypt(self, segment: dict[str, Any], key: bytes, file: IO[bytes]) -> None:
        closed = segment["state"] == "closed"
        if segment["state"] == "truncated":
            self.warnings.append(f"segment {segment['number']} was cut off: its whole chunks are in the file")
        with self._payload(segment) as payload:
            try:
                for chunk in decrypt_stream(key, payload) if closed else decrypt_truncated(key, payload):
                    file.write(chunk)
            except FormatError as error:
                raise CallwardenError(error.code, error.message, where=self.recording_id) from error

    def _differs(self, message: str) -> CallwardenError:
        return CallwardenError(
            "vault.differs",
            message,
            hint="keep everything as it is and look at `callwarden audit verify`",
            where=self.recording_id,
        )

    def _done(self, files: list[Path], seconds: float, segments: int) -> Exported:
        verified = self.manifest is not None
        return Exported(
            self.recording_id, files, round(seconds, 3), segments, verified, self._reading.purpose or "unstated",
            gaps(self.bundle), self.warnings,
        )  # fmt: skip


def _copy(source: Source, target: IO[bytes]) -> int:
    size = 0
    while piece := source.read(_PIECE):
        size += target.write(piece)
    return size


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file of mode 0600 that gets the name `target` when the block ends well, and leaves nothing when not.

    Raises environment.exists where there is a file, environment.file where none can be made.
    """
    taken = CallwardenError(
        "environment.exists",
        "there is a file already",
        hint="take another name, or move the file away",
        where=str(target),
    )
    if target.exists():
        raise taken
    temp = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CallwardenError("environment.file", f"cannot be written: {error.strerror}", where=str(target)) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temp, target)  # unlike rename, link refuses a name that was taken meanwhile
        except FileExistsError as error:
            raise taken from error
    finally:
        temp.unlink(missing_ok=True)
