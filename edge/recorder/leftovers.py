"""What captures leave in memory, for who verifies: spool files and resume keys that no live recording owns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.model.entities import RecordingRow
from edge.recorder.files import Files
from edge.recorder.resume import ResumeFolder
from edge.recorder.spool import Spool, files_of


class CaptureLeftovers:
    """Implements `edge.ports.Leftovers` over the spool and the folder of resume keys."""

    kinds = frozenset({"spool", "resume"})

    def __init__(self, spool: Spool, resume: ResumeFolder) -> None:
        self._spool, self._resume = spool, resume

    def strangers(self, live: Sequence[RecordingRow]) -> Sequence[tuple[str, str]]:
        """See `edge.ports.Leftovers`."""
        owned = {file for row in live for file in files_of(row.spool_name)}
        # Open, or closed with work to be done (`edge.recorder.afterwork`).
        open_ = {s.segment_id for row in live for s in row.segments if s.state != "shredded"}
        return [
            *(("spool", name) for name in _there(self._spool.names) if name not in owned),
            *(("resume", name) for name in _there(self._resume.segments) if name not in open_),
        ]

    def remove(self, kind: str, name: str) -> None:
        """See `edge.ports.Leftovers`."""
        if kind == "resume":
            self._resume.destroy(name)
        else:
            Files.unlink(self._spool, name)  # one file, also where its name looks like a pair's


def _there(names: Callable[[], list[str]]) -> list[str]:
    """Names of a folder in memory, which need not be there while the daemon is stopped."""
    try:
        return names()
    except FileNotFoundError:
        return []
