"""Copies that an erasure here does not reach, as its receipt names them: what was given out, and backups.

A backup has ciphertext and rows, never a shred key (docs/spec/journal.md); it is named all the same, with the day it expires.
"""

from __future__ import annotations

from typing import Any

from edge.model.entities import RecordingRow
from edge.ports import Journal


async def copies_elsewhere(journal: Journal, recording: RecordingRow) -> list[dict[str, Any]]:
    """place state at detail of each. Raises CallwardenError journal.*."""
    given = [
        {"place": f"export/{one['form']}", "state": "exported", "at": one["at"], "detail": f"purpose: {one['purpose']}"}
        for one in await journal.exports_of(recording.recording_id)
    ]
    kept = [
        {
            "place": f"backup/{one.backup_id}",
            "state": "unknown" if one.expires_at is None else "expires",
            "at": one.expires_at,
            "detail": "ciphertext and rows, no key" + ("" if one.finished_at else "; not finished"),
        }
        for one in await journal.backups()
        if one.finished_at is None or one.finished_at >= recording.started_at
    ]
    return [*given, *kept]
