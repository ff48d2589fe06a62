"""Holding rows against files, as the parts that do it see each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.model.entities import RecordingRow


@dataclass(frozen=True, slots=True)
class Run:
    """One walk over everything. `done`: ids of recordings it has looked at, perhaps before it was interrupted; `deep`: with
    an identity, so that plaintext is looked at too; `resumed`: it had been interrupted."""

    run: str
    begun_at: str
    deep: bool
    done: frozenset[str]
    resumed: bool


class IntegrityBook(Protocol):
    """The journal's part in verifying what is stored."""

    async def begin_verify(self, *, deep: bool, anew: bool, uid: int) -> Run:
        """The run that was interrupted, if it is as deep and `anew` is false, else a new one. Audit `verify.begun`, either way,
        with the uid of who asks."""
        ...

    async def note_verified(self, run: str, recording_id: str, findings: Sequence[Mapping[str, Any]]) -> None:
        """What was found about one recording, by `run` or, where that is empty, by a look at it alone; replaces what was
        found before."""
        ...

    async def last_found(self, recording_id: str) -> Sequence[str]:
        """The codes of what was found about it last."""
        ...

    async def end_verify(self, run: str) -> Sequence[Mapping[str, Any]]:
        """Audit `verify.ended`; everything the run found about recordings, oldest first. A run that is over: nothing."""
        ...

    async def quarantine(self, recording_id: str, codes: Sequence[str], uid: int) -> bool:
        """A sealed or silent recording whose rows and files disagree becomes `quarantined`; audit `recording.quarantined`
        with `codes` and who asked, alarm, in one commit. False, and nothing, in any other state: it changed meanwhile."""
        ...

    async def explained(self, recording_id: str, uid: int) -> bool:
        """A quarantined recording with a manifest is `sealed` again; audit `recording.explained`. False otherwise."""
        ...


class Leftovers(Protocol):
    """What a kill can leave behind: spool files and resume keys in memory, temporary files in the vault."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds it knows: `spool` and `resume`, or `vault`."""
        ...

    def strangers(self, live: Sequence[RecordingRow]) -> Sequence[tuple[str, str]]:
        """(kind, name) of everything that none of `live` owns. Raises OSError."""
        ...

    def remove(self, kind: str, name: str) -> None:
        """Take one away: a file unlinked, a key overwritten and unlinked. One that is gone is no error. Raises OSError."""
        ...


class InspectorPort(Protocol):
    """What the local door asks. Findings are JSON-able: code where segment message remedy done."""

    async def begin(self, *, deep: bool, anew: bool, uid: int) -> Mapping[str, Any]: ...
    async def recording(
        self, recording_id: str, *, run: str, repair: bool, plaintext: str | None, uid: int
    ) -> Mapping[str, Any]: ...
    async def rest(self, *, run: str, repair: bool, uid: int) -> Mapping[str, Any]: ...
