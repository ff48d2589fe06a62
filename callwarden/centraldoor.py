"""Audio for one reading out of central's media: of a recording whose edge has the payload no more, or whose edge is not here at all.

What comes is ciphertext and is verified like an edge's: against the manifest that the edge signed (callwarden/reading/).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from callwarden.centralclient import CentralClient
from callwarden.centralmedia import for_a_purpose, path_of
from callwarden.door import Door, Reading, Source
from callwarden.recovering import RecoveryDoor, Row
from edge.errors import CallwardenError
from formats.keyset import KeySet


@dataclass(frozen=True)
class CentralPayloads:
    """Payloads of one reading. connect: asked at need, since mostly nothing is missing; reason, case: for central's log, which has the
    entry before the first byte is out; purpose: what they are read for, "" for the one of the reading itself."""

    connect: Callable[[], CentralClient]
    reason: str
    purpose: str = ""
    case: str = ""

    def fetch(
        self, recording_id: str, number: int, size: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> IO[bytes]:
        """`size` bytes or a part of them, in an unnamed file that the caller closes. Raises usage.purpose, vault.missing,
        not_found.erased, command.*, auth.*, sync.*, central.*"""
        purpose = self.purpose or reading.purpose
        for_a_purpose(purpose)
        words = {"purpose": purpose, "reason": self.reason} | ({"case": self.case} if self.case else {})
        most = size if part is None else part[1] - part[0]
        with ExitStack() as stack:
            held = stack.enter_context(tempfile.TemporaryFile())
            try:
                self.connect().download(path_of(recording_id, number, words), held, most, part)
            except CallwardenError as error:
                raise _translated(error, recording_id, number) from error
            held.seek(0)
            stack.pop_all()
        return held


def _translated(error: CallwardenError, recording_id: str, number: int) -> CallwardenError:
    family, _, what = error.code.partition(".")
    if family != "media":
        return error
    if what == "erased":
        return CallwardenError("not_found.erased", "the payload was erased at central", where=recording_id)
    if what == "missing" or what == "none":
        return CallwardenError(
            "vault.missing", f"central has no payload of segment {number}: {error.message}", where=recording_id,
            hint=f"if its edge has it: callwarden central order fetch --recording {recording_id} --reason WHY",
        )  # fmt: skip
    return CallwardenError(
        "central.media", f"central cannot give the payload of segment {number}: {error.message}", hint=error.hint,
        where=recording_id, retryable=True,
    )  # fmt: skip


class CentralDoor(RecoveryDoor):
    """Everything from central: what the edge told it, headers out of the keeper, payloads out of its media."""

    def __init__(self, client: CentralClient, trust: KeySet, reason: str, purpose: str = "", case: str = "") -> None:
        super().__init__(client, None, trust, reason, purpose, case)
        self._payloads = CentralPayloads(lambda: client, reason, purpose, case)

    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]:
        """See `CentralPayloads.fetch`."""
        size = self._segment(recording_id, number)["payload_bytes"]
        with self._payloads.fetch(recording_id, number, size, reading, part) as source:
            yield source


@dataclass
class EdgeThenCentral:
    """An edge's door, and central's media behind it for payloads that the edge's vault has not. Whatever the edge refuses stays
    refused; keys and audit entries are its own. taken: (recording, segment) that came from central."""

    door: Door
    payloads: CentralPayloads
    taken: set[tuple[str, int]] = field(default_factory=set)
    _sizes: dict[tuple[str, int], int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.door, name)

    def bundle(self, recording: str) -> Row:
        """See `callwarden.door.Door`."""
        found: Row = self.door.bundle(recording)
        self._sizes |= {(found["recording_id"], one["number"]): one["payload_bytes"] for one in found["segments"]}
        return found

    @contextmanager
    def payload(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None = None
    ) -> Iterator[Source]:
        """See `callwarden.door.Door`. Raises vault.missing where neither has it."""
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self.door.payload(recording_id, number, reading, part))
            except CallwardenError as error:
                if error.code != "vault.missing":
                    raise
                source = stack.enter_context(self._from_central(recording_id, number, reading, part))
            yield source

    def _from_central(
        self, recording_id: str, number: int, reading: Reading, part: tuple[int, int] | None
    ) -> IO[bytes]:
        try:
            found = self.payloads.fetch(recording_id, number, self._sizes[recording_id, number], reading, part)
        except CallwardenError as error:
            if error.code != "vault.missing":
                raise
            message = f"neither this edge nor central has the payload of segment {number}"
            hint = "`callwarden verify` says what else is not there; a backup of the vault may have it"
            raise CallwardenError("vault.missing", message, where=recording_id, hint=hint) from error
        self.taken.add((recording_id, number))
        return found
