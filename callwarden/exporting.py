"""Taking a recording out of the vault: into one audio file, whole or in part, into age files or a folder of what is stored,
or span by span into another document.

Nothing is released before it is verified: the manifest's signature, each segment's file key against its `key_id`, each
payload against its hash, and only then chunk by chunk into a file that gets its name when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from callwarden.door import Door, Reading
from callwarden.gaps import gaps
from callwarden.reading.bundle import Opened
from callwarden.reading.files import copy, new_file, new_folder
from callwarden.reading.segments import file_key, part_samples, payload, samples, sound_of
from callwarden.reading.spans import Part, parts
from callwarden.reading.writers import check_form, writer
from edge.errors import CallwardenError
from formats.age import Identity
from formats.keyset import KeySet
from formats.wav import wav_header


@dataclass
class Exported:
    """files: what was written; seconds of audio; verified: the edge's signed manifest was held against everything;
    purpose: what it was read for; gaps: what is not in the audio (`callwarden.gaps`); warnings: what the listener must
    know; span: (from, to) in ms where only a part was read, and then chunk by chunk, not held against the payloads'
    hashes."""

    recording_id: str
    files: list[Path]
    seconds: float
    segments: int
    verified: bool
    purpose: str
    gaps: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    span: tuple[int, int] | None = None


class Export:
    """One recording on its way out. Raises CallwardenError."""

    def __init__(self, door: Door, recording: str, trust: KeySet, reading: Reading, *, partial: bool = False) -> None:
        self._opened = Opened(door, recording, trust, reading, partial=partial)

    @property
    def warnings(self) -> list[str]:
        """What the listener must know; complete once the audio is out."""
        return self._opened.warnings

    def to_audio(self, target: Path, identities: Sequence[Identity]) -> Exported:
        """Decrypt into one file of the form and the part that the reading names; segments follow each other without the
        pauses between them."""
        opened, sound = self._opened, sound_of(self._opened)
        form, span = opened.reading.form or "wav", opened.reading.span
        check_form(form, sound.rate)
        if span is None:
            pieces = [(s, s["frames"], partial(samples, opened, s)) for s in opened.segments()]
        else:
            pieces = [(p.segment, p.end - p.first, partial(part_samples, opened, p)) for p in self._parts()]
        keys = [file_key(opened, segment, identities) for segment, _, _ in pieces]
        size = 0
        with new_file(target) as file:
            with writer(form, file, sound.rate, sound.channels) as out:
                for (_, _, read), key in zip(pieces, keys, strict=True):
                    for piece in read(key):
                        out.write(piece)
                        size += len(piece)
            if size != sum(frames for _, frames, _ in pieces) * sound.decoded_frame:
                raise opened.differs("the audio has another length than its segments' facts say")
            opened.door.exported(opened.recording_id, opened.reading)
        done = self._done([target], size / (sound.rate * sound.decoded_frame), len(pieces))
        done.span = span
        return done

    def _parts(self) -> list[Part]:
        """What there is of the span that was asked for. Raises usage.span, not_found.no_audio."""
        opened, span = self._opened, self._opened.reading.span
        assert span is not None
        found = parts(opened.bundle["segments"], opened.bundle["rate"], span)
        for part in found:
            if part.removed:
                number = part.segment["number"]
                opened.warnings.append(f"segment {number}, which lies in this part, was removed: its time is missing")
        there = [part for part in found if not part.removed]
        if not there:
            raise CallwardenError("not_found.no_audio", "all of this part was removed", where=opened.recording_id)
        return there

    def to_age(self, target: Path) -> Exported:
        """One age file a segment, still encrypted: what `age -d -i IDENTITY` opens.

        Raises CallwardenError command.suite where a segment is not sealed with age.
        """
        opened = self._opened
        segments = opened.segments()
        if other := next((s["suite"] for s in segments if s["suite"] != "age1"), None):
            raise CallwardenError(
                "command.suite",
                f"the recording is sealed with {other}, which no age tool reads",
                hint="decrypt it with --identity FILE; to hand it on encrypted, take it out with --raw",
                where=opened.recording_id,
            )
        files = [target if n == 0 else target.with_suffix(f".{n + 1}{target.suffix}") for n in range(len(segments))]
        for segment, path in zip(segments, files, strict=True):
            with new_file(path) as file:
                file.write(opened.door.header(opened.recording_id, segment["number"], opened.reading))
                with payload(opened, segment) as held:
                    copy(held, file)
                opened.door.exported(opened.recording_id, opened.reading)
            if segment["state"] != "closed":
                opened.warnings.append(
                    f"{path}: no last chunk; `age -d` prints all that is there and then says it was cut"
                )
        return self._done(files, sum(s["frames"] for s in segments) / opened.bundle["rate"], len(segments))

    def to_raw(self, target: Path) -> Exported:
        """A folder with what is stored of either suite, still sealed: `manifest.jws`, and per segment that has audio `N.header`
        and `N.payload`. How another reader opens it: docs/spec/reading.md.

        Raises CallwardenError environment.exists, and whatever contradicts the manifest.
        """
        opened = self._opened
        segments = opened.segments()
        with new_folder(target) as folder:
            with new_file(folder / "manifest.jws") as file:
                file.write(opened.bundle["manifest"].encode())
            for segment in segments:
                with new_file(folder / f"{segment['number']}.header") as file:
                    file.write(opened.door.header(opened.recording_id, segment["number"], opened.reading))
                with new_file(folder / f"{segment['number']}.payload") as file, payload(opened, segment) as held:
                    copy(held, file)
            opened.door.exported(opened.recording_id, opened.reading)
        numbers = [segment["number"] for segment in segments]
        files = [target / "manifest.jws"]
        files += [target / f"{number}.{part}" for number in numbers for part in ("header", "payload")]
        return self._done(files, sum(s["frames"] for s in segments) / opened.bundle["rate"], len(segments))

    def spans(self, identities: Sequence[Identity]) -> Iterator[tuple[int, bytes]]:
        """(number, whole WAV file) of each segment, for who puts audio into another document."""
        opened, sound = self._opened, sound_of(self._opened)
        for segment in opened.segments():
            audio = b"".join(samples(opened, segment, file_key(opened, segment, identities)))
            yield segment["number"], wav_header(len(audio), sound.rate, sound.channels) + audio
        opened.door.exported(opened.recording_id, opened.reading)

    def _done(self, files: list[Path], seconds: float, segments: int) -> Exported:
        opened = self._opened
        verified, purpose = opened.manifest is not None, opened.reading.purpose or "unstated"
        return Exported(
            opened.recording_id, files, round(seconds, 3), segments, verified, purpose, gaps(opened.bundle),
            opened.warnings,
        )  # fmt: skip
