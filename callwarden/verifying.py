"""Verifying what an edge stores: the daemon holds rows against files, and who has an identity opens every plaintext here.

The walk goes recording by recording, so that it can be interrupted; the same command goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from callwarden.door import Door, Reading
from callwarden.reading.bundle import Opened
from callwarden.reading.segments import file_key, plaintext
from edge.errors import CallwardenError, Exit
from formats.age import Identity
from formats.keyset import KeySet

Json = dict[str, Any]
#: Seconds between two lines of progress.
_EVERY_S = 2.0


@dataclass
class Verdict:
    """recordings: looked at now; before: by the run that was interrupted; opened: whose plaintext was read to its end;
    unopened: sealed to other identities; restricted: looked at without their plaintext, which nobody may read; findings: of
    the whole run; keys_on_their_way: see `Inspector.rest`."""

    recordings: int = 0
    before: int = 0
    opened: int = 0
    unopened: list[str] = field(default_factory=list)
    restricted: list[str] = field(default_factory=list)
    findings: list[Json] = field(default_factory=list)
    keys_on_their_way: int = 0

    @property
    def wrong(self) -> bool:
        """Whether anything is still wrong."""
        return any(f["wrong"] for f in self.findings)


@dataclass(frozen=True)
class Verifier:
    """door: the edge; identities: empty for a walk without keys; tell: takes a finding or a line of progress for people."""

    door: Door
    trust: KeySet
    identities: Sequence[Identity]
    case: str
    repair: bool
    tell: Callable[[str], None]

    def one(self, recording: str) -> Verdict:
        """One recording (id or prefix). Raises not_found.recording, usage.ambiguous."""
        verdict = Verdict()
        recording_id = self.door.bundle(recording)["recording_id"]
        verdict.findings = self._look(recording_id, "", verdict)
        return verdict

    def everything(self, *, anew: bool) -> Verdict:
        """All recordings, then what none of them owns."""
        begun = self.door.verify_begin(deep=bool(self.identities), anew=anew)
        verdict, run, todo = Verdict(before=begun["done"]), begun["run"], begun["todo"]
        total = verdict.before + len(todo)
        if begun["resumed"]:
            self.tell(f"the run of {begun['begun_at']} goes on: {verdict.before} of {total} recordings are done")
        told = time.monotonic()
        try:
            for recording_id in todo:
                self._look(recording_id, run, verdict)
                if time.monotonic() - told >= _EVERY_S:
                    told = time.monotonic()
                    self.tell(f"{verdict.before + verdict.recordings} of {total} recordings")
        except KeyboardInterrupt:
            done = verdict.before + verdict.recordings
            self.tell(f"interrupted after {done} of {total} recordings: the same command goes on from there")
            raise
        rest = self.door.verify_rest(run=run, repair=self.repair)
        for finding in rest["findings"]:
            self.tell(sentence(finding))
        verdict.findings = [*rest["earlier"], *rest["findings"]]
        verdict.keys_on_their_way = rest["keys_on_their_way"]
        return verdict

    def _look(self, recording_id: str, run: str, verdict: Verdict) -> list[Json]:
        failed = self._plaintext(recording_id, verdict) if self.identities else None
        try:
            answer = self.door.verify_recording(recording_id, run=run, repair=self.repair, plaintext=failed)
        except CallwardenError as error:
            if error.exit_code is not Exit.NOT_FOUND:
                raise
            return []  # it went while we walked
        verdict.recordings += 1
        for finding in answer["findings"]:
            self.tell(sentence(finding))
        found: list[Json] = answer["findings"]
        return found

    def _plaintext(self, recording_id: str, verdict: Verdict) -> str | None:
        """Read every segment to its end, keep nothing; the code of what failed, None where it is not for us to open."""
        reading = Reading(case=self.case, form="verify")
        try:
            opened = Opened(self.door, recording_id, self.trust, reading, partial=True)
            for segment in opened.segments():
                for _ in plaintext(opened, segment, file_key(opened, segment, self.identities)):
                    pass
        except CallwardenError as error:
            if error.code == "vault.no_match":
                verdict.unopened.append(recording_id)
                return None
            if error.code == "command.restricted":
                verdict.restricted.append(recording_id)
                return None
            if error.exit_code is Exit.UNVERIFIED:
                return error.code
            if error.exit_code in (Exit.NOT_FOUND, Exit.REFUSED):
                return None  # erased, silent, or not for us: the daemon's own look says what there is to say
            raise
        verdict.opened += 1
        return ""


_DONE = {
    "cut": "cut off", "unlink": "removed", "remove": "removed", "shred": "destroyed", "quarantine": "quarantined",
    "release": "back to sealed",
}  # fmt: skip


def sentence(finding: Json) -> str:
    """A finding for people."""
    if finding["done"]:
        after = f" ({_DONE[finding['remedy']]})"
    else:
        after = "" if finding["remedy"] == "none" else f" (--repair: {finding['remedy']})"
    return f"{finding['where']}: {finding['message']} [{finding['code']}]{after}"
