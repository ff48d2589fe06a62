"""One access package: collected call by call, streamed into an age file, which gets its name when everybody who must know of the
copy does.

Order: each segment's key (audited at the edge) → its audio into the sealed file → the copy of each recording on file at
the edge → the case at central told → the file named. Killed before the last step there is no package, and perhaps a copy on
file that nobody has: the safe side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from callwarden.accesspackage import audio as sound
from callwarden.accesspackage import cover, csvtable, tables, xlsx
from callwarden.accesspackage.archive import Archive, sealed_archive
from callwarden.accesspackage.cover_words import why
from callwarden.accesspackage.reduced import audible_alone, reduced
from callwarden.accesspackage.sources import Audio, AudioSource, CentralSource, first_that_has, of_one
from callwarden.door import Door, Reading
from callwarden.reading.files import PIECE, new_file
from edge.consent.numbers import country_of, same
from edge.errors import CallwardenError
from formats import callrows, consent_receipt, vcon
from formats.age.scrypt import WORK_FACTOR
from formats.callrows import Row


@dataclass(frozen=True)
class Asked:
    """ref: the case; calls: (edge, call) that were reviewed and included; numbers: the person's, to tell them from other parties;
    received, made: times; form: of the audio; mask: silence the other party; named: name who listened; language: of the words."""

    ref: str
    calls: Sequence[tuple[str, str]]
    numbers: Sequence[str]
    received: str
    made: str
    language: str = "en"
    controller: str = ""
    form: str = "wav"
    mask: bool = False
    named: bool = False


@dataclass
class Made:
    """What became of it. sha256, size: of the age file. missing: what was found and is not in there."""

    calls: int = 0
    recordings: list[str] = field(default_factory=list)
    missing: list[cover.Missing] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sha256: str = ""
    size: int = 0


class Package:
    """Collects one. door: of the edge on this host, None where there is none; central: for the audio of calls of other edges. Raises
    CallwardenError."""

    def __init__(
        self, door: Door | None, sources: Sequence[AudioSource], asked: Asked, central: CentralSource | None = None
    ) -> None:
        self._door, self._sources, self._asked, self._central = door, sources, asked, central
        self._edge_id = "" if door is None else str(door.status()["edge_id"])
        away = {(edge_id, call_id) for edge_id, call_id in asked.calls if edge_id != self._edge_id}
        self._told = central.recordings(away) if central is not None and away and not asked.mask else {}
        self._tables = tables.Tables(self._is_own, asked.ref, asked.named)
        self._lines: list[cover.CallLine] = []
        self._given: list[Audio] = []
        self._words: tuple[dict[str, None], dict[str, None], dict[str, None]] = ({}, {}, {})
        self._made = Made()
        self._reading = Reading(case=asked.ref)

    def write(
        self, target: Path, passphrase: str, noted: Callable[[Made], None], *, work_factor: int = WORK_FACTOR
    ) -> Made:
        """Make the file `target`. `noted` is told of the copy before the file gets its name, and may refuse by raising."""
        with new_file(target) as file:
            with sealed_archive(file, passphrase, work_factor=work_factor) as archive:
                for edge_id, call_id in self._asked.calls:
                    self._call(archive, edge_id, call_id)
                self._papers(archive)
            self._made.names = archive.names
            self._made.sha256, self._made.size = _digest(file)
            for given in self._given:
                given.given()
            noted(self._made)
        return self._made

    def _call(self, archive: Archive, edge_id: str, call_id: str) -> None:
        door = self._door
        if door is None or edge_id != self._edge_id:
            self._elsewhere(archive, edge_id, call_id)
            return
        try:
            row = door.why(call_id)
        except CallwardenError as error:
            self._left_out(call_id, error)
            return
        if row["call"] is None:  # a time at which the daemon was away
            self._miss(call_id, "not_found.call")
            return
        self._made.calls += 1
        self._remember(row)
        self._documents(archive, door, call_id, row)
        files: list[str] = []
        recordings = callrows.kept(row)
        for recording in recordings:
            told, why_not = self._recording(archive, door, row, recording)
            self._tables.add_call(edge_id, row, recording, told, why_not)
            files += told
        if not recordings:
            self._tables.add_call(edge_id, row, None, (), "")
        self._tables.add_consent(row)
        call = row["call"]
        seconds = sum(callrows.seconds(one) for one in recordings)
        self._lines.append(cover.CallLine(call["started_at"], call["policy"], call["outcome"] or "", seconds, files))

    def _elsewhere(self, archive: Archive, edge_id: str, call_id: str) -> None:
        """A call of another edge: the audio that central has of it. What was asked and answered lies there alone, so who is on which
        channel is not known here: nothing of it is in a package with a mask."""
        files: list[str] = []
        seconds, began = 0.0, ""
        for told in self._told.get(call_id, ()):
            assert self._central is not None
            recording_id = str(told["recording_id"])
            names, why_not, lasts = self._audio(archive, [self._central], recording_id)
            began = began or str((told["opened"] or {}).get("started_at") or "")
            self._tables.add_elsewhere(edge_id, call_id, recording_id, lasts, names, why_not)
            files, seconds = files + names, seconds + lasts
        self._miss(call_id, "elsewhere_audio" if files else "elsewhere", edge_id)
        if files:
            self._made.calls += 1
            self._lines.append(cover.CallLine(began, "", "", seconds, files))

    def _documents(self, archive: Archive, door: Door, call_id: str, row: Row) -> None:
        """The vCon, signed by the edge unless something had to be taken out of it, and the history of consent in words."""
        told = reduced(row, self._is_own, named=self._asked.named)
        try:
            document = door.evidence(call_id, "vcon", self._reading, signed=told is row)
        except CallwardenError as error:
            self._left_out(call_id, error)
            return
        if told is not row:  # the edge noted that it went out; what goes out is made of less
            document = vcon.vcon(told, edge_id=self._edge_id, at=document["created_at"])
        archive.add(f"vcon/{call_id}.vcon.json", (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())
        words = consent_receipt.receipt(told, edge_id=self._edge_id, at=self._asked.made, language=self._asked.language)
        if self._is_own(callrows.parties(row)[0]):  # it tells the first party's number and answer
            archive.add(f"consent/{call_id}.txt", words["text"].encode())

    def _recording(self, archive: Archive, door: Door, row: Row, recording: Row) -> tuple[list[str], str]:
        """Names of its files, and why there are none."""
        recording_id, asked = recording["recording_id"], self._asked
        self._tables.add_listened(recording_id, door.reads(recording_id))
        if asked.mask and not audible_alone(row, self._is_own):
            error = CallwardenError("command.mask_party", "the person is not on the channel that a mask leaves")
            return [], self._left_out(recording_id, error)
        names, why_not, _ = self._audio(archive, self._sources, recording_id)
        return names, why_not

    def _audio(
        self, archive: Archive, sources: Sequence[AudioSource], recording_id: str
    ) -> tuple[list[str], str, float]:
        """Names of its files, why one is missing, and seconds of what is there."""
        asked, names, why_not, seconds = self._asked, [], "", 0.0
        try:
            found = first_that_has(sources, recording_id)
            for piece in found.pieces:
                sound.check(piece, asked.form, mask=asked.mask)
        except CallwardenError as error:
            return [], self._left_out(recording_id, error), 0.0
        for piece in found.pieces:
            try:
                names.append(sound.put(archive, piece, asked.form, mask=asked.mask))
                seconds += piece.frames / piece.rate
            except CallwardenError as error:
                if archive.broken:
                    raise
                why_not = self._left_out(piece.name, error)
        if names:
            self._given.append(found)
            self._made.recordings.append(recording_id)
        return names, why_not, round(seconds, 3)

    def _papers(self, archive: Archive) -> None:
        made, asked = self._tables, self._asked
        listed = {
            "Calls": (tables.CALLS, made.calls),
            "Consent": (tables.CONSENT, made.consent),
            "Listened": (tables.LISTENED, made.listened),
        }
        for name, (headings, rows) in listed.items():
            archive.add(f"{name.lower()}.csv", csvtable.encode(headings, rows))
        archive.add("calls.xlsx", xlsx.encode(listed))
        purposes, bases, kept = (tuple(one) for one in self._words)
        facts = cover.Facts(
            asked.language, asked.ref, asked.received, asked.made, asked.controller, self._lines, self._made.missing, purposes,
            bases, kept, asked.mask, bool(self._made.recordings),
        )  # fmt: skip
        archive.add("cover.html", cover.html(facts))

    def _remember(self, row: Row) -> None:
        policy, body = callrows.policy(row), callrows.evidence(callrows.deciding(row))
        found = (
            list(callrows.granted(row)), [str(body.get("basis") or policy.get("basis") or "")], [callrows.retention(row) or ""],
        )  # fmt: skip
        for known, new in zip(self._words, found, strict=True):
            known.update(dict.fromkeys(one for one in new if one))

    def _is_own(self, party: Row) -> bool:
        """Whether a party is the person: by number, or, where none is known, by being the one the call is about."""
        number = str(party.get("number") or "")
        if not self._asked.numbers:
            return party.get("role") in ("caller", "callee", None)
        return bool(number) and any(same(number, one, country_of(one)) for one in self._asked.numbers)

    def _left_out(self, what: str, error: CallwardenError) -> str:
        if not of_one(error):
            raise error
        self._miss(what, error.code)
        return why(self._asked.language, error.code)

    def _miss(self, what: str, code: str, detail: str = "") -> None:
        self._made.missing.append(cover.Missing(what, code, detail))


def _digest(file: IO[bytes]) -> tuple[str, int]:
    file.flush()
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
