"""Which keys a rewrap destroys when its commit fails: only one that certainly got no row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.errors import CallwardenError
from tests.crash import keys_child
from tests.unit.retention.retention_kit import Place


@pytest.mark.parametrize(
    ("code", "there", "opens"), [("journal.io", True, ["new"]), ("command.version", False, ["old"])]
)
async def test_a_commit_that_may_have_happened_keeps_its_new_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, there: bool, opens: list[str]
) -> None:
    """A COMMIT whose sync failed stands in the WAL all the same: the header it made must open."""
    place = await Place.open(tmp_path)
    try:
        recording_id = await keys_child.prepare(place)
        before = set(await place.slots.live())
        commit = place.journal.add_header

        async def failing(*args: Any) -> int:
            if there:
                await commit(*args)
            raise CallwardenError(code, "the disk said no")

        monkeypatch.setattr(place.journal, "add_header", failing)
        with pytest.raises(CallwardenError, match="the disk said no"):
            await keys_child.rewrap(place, recording_id)
        assert await keys_child.openers(place, tmp_path, recording_id) == opens
        assert len(set(await place.slots.live()) - before) == there, "the new key, or nothing"
    finally:
        await place.close()
