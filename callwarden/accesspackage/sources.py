"""Where the audio of a recording comes from: the edge's door on this host, or central; what another gives is read alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, cast

from callwarden.centralclient import CentralClient
from callwarden.centraldoor import CentralDoor
from callwarden.door import Door, Reading
from callwarden.reading.bundle import Opened, Row
from callwarden.reading.segments import file_key, samples, sound_of
from edge.errors import CallwardenError
from formats.age import Identity
from formats.keyset import KeySet

#: What a package's audio is read for at central: the person's own request (docs/spec/reading.md).
ACCESS: Final = "data_subject_request"
#: Why, in central's log.
REASON: Final = "package"
#: What is of one recording, rather than a failure of the whole: families of codes, and single ones of families that are not.
_FAMILIES: Final = ("not_found", "command", "vault")
_CODES: Final = ("central.media", "keeper.damaged")


@dataclass(frozen=True)
class Piece:
    """Audio of one segment. name: `RECORDING.NUMBER`, as its vCon calls it; frames: samples of each channel; samples: 16-bit PCM,
    channels interleaved, verified before the first byte comes."""

    name: str
    rate: int
    channels: int
    frames: int
    samples: Callable[[], Iterator[bytes]]


@dataclass
class Audio:
    """A recording that can be given out. warnings: what a listener must know, complete once it was read; given: to be called
    before the copy leaves, so that the copy is on file where the audio lies."""

    pieces: list[Piece]
    given: Callable[[], None]
    warnings: list[str] = field(default_factory=list)


class AudioSource(Protocol):
    """A place that may have recordings."""

    def audio(self, recording_id: str) -> Audio:
        """Raises CallwardenError: not_found.* where it is not here, command.* where nobody may have it, vault.* where it does
        not open or is not what was signed, keeper.damaged; and what stops everything."""
        ...


@dataclass(frozen=True)
class EdgeSource:
    """The edge on this host. `reading`: its case is what the audit log and certificates name the package by."""

    door: Door
    trust: KeySet
    identities: Sequence[Identity]
    reading: Reading

    def audio(self, recording_id: str) -> Audio:
        """See `AudioSource`. Each segment's key is opened here, which the edge audits; nothing is decrypted yet."""
        opened = Opened(self.door, recording_id, self.trust, self.reading)
        sound = sound_of(opened)
        pieces = []
        for segment in opened.segments():
            key = file_key(opened, segment, self.identities)
            name = f"{opened.recording_id}.{segment['number']}"
            read = partial(samples, opened, segment, key)
            pieces.append(Piece(name, sound.rate, sound.channels, segment["frames"], read))
        return Audio(pieces, lambda: self.door.exported(opened.recording_id, opened.reading), opened.warnings)


@dataclass(frozen=True)
class CentralSource:
    """Central, for calls whose edge is another than this host's, or is gone: headers from the keeper, payloads from its media. An
    administrator's token is needed; ref: the case."""

    client: CentralClient
    trust: KeySet
    identities: Sequence[Identity]
    ref: str

    def audio(self, recording_id: str) -> Audio:
        """See `AudioSource`. Central notes the giving out of the keys, and of each payload before its first byte."""
        door = CentralDoor(self.client, self.trust, REASON, ACCESS, self.ref)
        reading = Reading(ACCESS, self.ref, "package")
        return EdgeSource(cast(Door, door), self.trust, self.identities, reading).audio(recording_id)

    def recordings(self, calls: Collection[tuple[str, str]]) -> dict[str, list[Row]]:
        """What central was told of the recordings of these calls (edge, call), by call."""
        found: dict[str, list[Row]] = {}
        for row in self.client.pages("/v1/recordings", "recordings", purpose=ACCESS, case=self.ref):
            if (row["edge_id"], row["call_id"]) in calls:
                found.setdefault(row["call_id"], []).append(row)
        return found


def of_one(error: CallwardenError) -> bool:
    """Whether one recording cannot be given out, and others may: the rest of a package is made without it. Where central or its keeper
    cannot be reached at all, nothing is."""
    return error.code.partition(".")[0] in _FAMILIES or error.code in _CODES


def first_that_has(sources: Sequence[AudioSource], recording_id: str) -> Audio:
    """From the first source that can give it. Raises what the first one said where none can."""
    refused: CallwardenError | None = None
    for source in sources:
        try:
            return source.audio(recording_id)
        except CallwardenError as error:
            if not of_one(error):
                raise
            refused = refused or error
    raise refused or CallwardenError("not_found.recording", "there is no source of audio here", where=recording_id)
