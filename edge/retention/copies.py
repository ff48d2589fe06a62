"""Copies that an erasure here does not reach, as its receipt names them: what was given out, backups, and files that were
taken over.

A backup has ciphertext and rows, never a shred key (docs/spec/journal.md); it is named all the same, with the day it expires.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    original = await journal.original_of(recording.recording_id)
    return [*given, *kept, *([_original(original)] if original else [])]


def _original(file: Mapping[str, Any]) -> dict[str, Any]:
    """The file that a recording was before it was taken over: what a disk has of it nobody can say."""
    became = (
        "it was removed" if file["removed_at"] else "it was to be kept" if file["kept"] else "it was not removed yet"
    )
    return {
        "place": "original", "state": "unknown", "at": file["removed_at"],
        "detail": f"a file in the clear, outside the vault, before it was taken over; {became}, and not overwritten",
    }  # fmt: skip
