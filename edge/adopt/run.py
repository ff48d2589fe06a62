"""One pass over a folder: each file looked at, handed on, and removed once its sound is sealed, durable and read back.

At each moment there is one usable copy: the file until the daemon has answered `sealed`, the recording from then on.
A pass may be ended at any time; the next goes on. What goes wrong with a file is said and does not end the pass. Blocks.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from edge.adopt.beneath import Beneath, Found, Opened, written_to
from edge.adopt.facts import Records, describe
from edge.adopt.parser import Parser
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.adoption import Asked, Facts, Grounds, Known
from formats.wavscan import Sound

#: Largest file that is read unless somebody says otherwise, bytes: two channels at 16 kHz for nine hours.
LARGEST: Final = 2 << 30
#: A file that was written to this recently may still grow, seconds.
SETTLE_S: Final = 60.0
_PIECE: Final = 1 << 20
#: Sound that is not read; everything else beside the WAV files is passed over in silence.
_OTHER_SOUND: Final = (
    ".gsm", ".wav49", ".sln", ".sln16", ".raw", ".ulaw", ".alaw", ".mp3", ".ogg", ".opus", ".flac", ".g722", ".g729",
)  # fmt: skip


class Taker(Protocol):
    """The daemon, over its socket or from within. Raises CallwardenError."""

    def look(self, asked: Asked) -> Known: ...
    def take(self, asked: Asked, pieces: Iterator[bytes]) -> str:
        """The sound, sealed and verified; returns the recording's id."""
        ...

    def removing(self, recording_id: str) -> None: ...
    def gone(self, recording_id: str, *, kept: bool) -> None: ...
    def originals(self) -> Sequence[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How a pass is made. apply: False only looks; keep: originals stay; settle_s, largest: see above."""

    grounds: Grounds
    records: Records
    source: str = "command"
    apply: bool = False
    keep: bool = False
    settle_s: float = SETTLE_S
    largest: int = LARGEST


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file. state: `adopted`, `would_adopt`, `already` (adopted before; its original is gone now, or
    kept), `waiting` (still written to, or too young), `left` (something is wrong: code, message, hint)."""

    path: str
    state: str
    recording_id: str = ""
    code: str = ""
    message: str = ""
    hint: str = ""
    repaired: tuple[str, ...] = ()
    ms: int = 0
    original: str = ""
    zone_fits: bool = True
    known_call: bool = False


class Pass:
    """One pass. `results` yields as it goes."""

    def __init__(self, folder: Beneath, parser: Parser, taker: Taker, settings: Settings) -> None:
        self._folder, self._parser, self._taker, self._settings = folder, parser, taker, settings

    def files(self) -> list[Found]:
        """What there is to look at, in order of name."""
        return [found for found in self._folder.walk() if found.why or _sounds(found.path)]

    def results(self, files: Sequence[Found]) -> Iterator[Result]:
        """Each in turn. Raises CallwardenError when going on makes no sense (no daemon, no disk, no policy)."""
        if self._settings.apply:
            self._removed_before()
        for found in files:
            yield self.one(found)

    def one(self, found: Found) -> Result:
        """One file. Raises as `results`."""
        if found.why:
            return Result(found.path, "left", code="adopt.file", message=found.why, hint="it was not touched")
        try:
            return self._one(found.path)
        except CallwardenError as error:
            if not error.code.startswith("adopt.") or error.code in ("adopt.policy", "adopt.folder"):
                raise
            return Result(
                found.path,
                "left",
                code=error.code,
                message=error.message,
                hint=error.hint or _HINTS.get(error.code, ""),
            )

    def _one(self, path: str) -> Result:
        if not path.lower().endswith(".wav"):
            raise CallwardenError("adopt.format", "sound of this kind is not read", hint=_HINTS["adopt.format"])
        settings = self._settings
        with self._folder.open(path, largest=settings.largest) as file:
            if time.time() - file.mtime < settings.settle_s or written_to(file.fd):
                return Result(path, "waiting", message="it is still being written to, or was a moment ago")
            sound = self._parser.sound(file.fd, file.size)
            told = describe(
                path, self._folder.root, sound, _digest(file, sound), records=settings.records, written_at=file.mtime
            )
            asked = _asked(settings, told.facts)
            known = self._taker.look(asked)
            if known.state == "erased":
                raise CallwardenError("adopt.erased", "the recording made of this file was erased")
            if not settings.apply:
                state = "already" if known.state == "sealed" else "would_adopt"
                return Result(
                    path, state, known.recording_id, repaired=sound.repaired, ms=sound.ms, zone_fits=told.zone_fits,
                    known_call=told.facts.started_from == "cdr",
                )  # fmt: skip
            recording_id = self._taker.take(asked, _pieces(file, sound))
            hit("adopt.answered")
            original = self._original(path, file, sound, recording_id)
            return Result(
                path, "already" if known.state == "sealed" else "adopted", recording_id, repaired=sound.repaired,
                ms=sound.ms, original=original, zone_fits=told.zone_fits, known_call=told.facts.started_from == "cdr",
            )  # fmt: skip

    def _original(self, path: str, file: Opened, sound: Sound, recording_id: str) -> str:
        """Remove it, or leave it where that was asked for or somebody has to look at it."""
        if self._settings.keep:
            self._taker.gone(recording_id, kept=True)
            return "kept"
        if sound.tail:
            self._taker.gone(recording_id, kept=True)
            raise CallwardenError(
                "adopt.tail",
                f"its sound is taken over; {sound.tail} bytes behind it are not counted by its header, so the file stays",
                hint="listen to the file's end; delete it when nothing is missing from the recording",
                where=recording_id,
            )
        self._taker.removing(recording_id)
        hit("adopt.removing")
        self._folder.unlink(path, file.mark)
        hit("adopt.unlinked")
        self._taker.gone(recording_id, kept=False)
        hit("adopt.noted")
        return "removed"

    def _removed_before(self) -> None:
        """Originals that an earlier pass unlinked without coming to say so."""
        prefix = f"{self._folder.root}/"
        for one in self._taker.originals():
            place = str(one["place"] or "")
            if one["removing_at"] and place.startswith(prefix) and not self._folder.there(place.removeprefix(prefix)):
                self._taker.gone(str(one["recording_id"]), kept=False)


#: What to do about it, where the error does not say.
_HINTS: Final = {
    "adopt.not_wav": "look at what it is; move it out of the folder",
    "adopt.format": "convert it to 16-bit PCM WAV (sox FILE NEW.wav) beside it, keeping its name, and run again",
    "adopt.damaged": "no sound could be found in it; repair it with a tool that knows its writer, or delete it",
    "adopt.empty": "delete it: there is nothing to keep",
    "adopt.handled": "what the people on this call answered to Callwarden counts; delete the file if it may not be kept",
    "adopt.past_retention": "delete it, or take it over under a policy that keeps recordings for longer",
    "adopt.erased": "delete it: it is a copy of what was to be erased",
    "adopt.time": "compare --timezone and the call records with the file",
    "adopt.short": "the file became shorter meanwhile; see what writes to it, and run again",
    "adopt.not_sealed": "run again",
}


def _asked(settings: Settings, facts: Facts) -> Asked:
    """Through the same gate as at the daemon's door. Raises CallwardenError adopt.name."""
    try:
        plain = msgspec.to_builtins(Asked(grounds=settings.grounds, facts=facts, source=settings.source))
        return msgspec.convert(plain, Asked)
    except msgspec.ValidationError as error:
        raise CallwardenError("adopt.name", f"it cannot be described: {error}", hint="look at its name") from error


def _sounds(path: str) -> bool:
    return path.lower().endswith((".wav", *_OTHER_SOUND))


def _pieces(file: Opened, sound: Sound) -> Iterator[bytes]:
    at, end = sound.data_at, sound.data_at + sound.data_bytes
    while at < end:
        piece = os.pread(file.fd, min(_PIECE, end - at), at)
        if not piece:
            return
        at += len(piece)
        yield piece


def _digest(file: Opened, sound: Sound) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(file, sound):
        digest.update(piece)
    return digest.hexdigest()
