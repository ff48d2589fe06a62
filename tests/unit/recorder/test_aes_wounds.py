"""A recorder that is hurt, with the other suite: the same tests under a policy that says `aes256gcm`, and its own ends."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from edge.recorder import rounds as stage
from tests.crash import capture_child as child
from tests.unit.recorder.test_wounds import (
    Patient,
    patient,
    test_a_call_that_ends_in_silence_has_no_empty_segment,
    test_a_full_disk_is_alarmed_once_not_every_tick,
    test_a_journal_that_fails_for_a_while_ends_no_capture,
    test_a_last_chunk_that_was_not_committed_is_no_last_chunk,
    test_a_recording_that_cannot_be_taken_up_does_not_go_on_unseen,
    test_bytes_flushed_between_the_last_look_and_the_close_are_kept,
    test_one_failure_late_in_a_call_does_not_stop_it,
    test_rotation_survives_a_journal_that_fails_between_its_rows,
    test_the_age_of_the_oldest_byte_does_not_grow_with_the_call,
    test_what_lies_in_the_spool_while_nothing_comes_is_sealed,
)

__all__ = [
    "patient",
    "test_a_call_that_ends_in_silence_has_no_empty_segment",
    "test_a_full_disk_is_alarmed_once_not_every_tick",
    "test_a_journal_that_fails_for_a_while_ends_no_capture",
    "test_a_last_chunk_that_was_not_committed_is_no_last_chunk",
    "test_a_recording_that_cannot_be_taken_up_does_not_go_on_unseen",
    "test_bytes_flushed_between_the_last_look_and_the_close_are_kept",
    "test_one_failure_late_in_a_call_does_not_stop_it",
    "test_rotation_survives_a_journal_that_fails_between_its_rows",
    "test_the_age_of_the_oldest_byte_does_not_grow_with_the_call",
    "test_what_lies_in_the_spool_while_nothing_comes_is_sealed",
]
CHUNK = 16384


@pytest.fixture(autouse=True)
def _aes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "POLICY", replace(child.POLICY, suite="aes256gcm"))


async def test_a_whole_chunk_is_sealed_at_once_and_nothing_waits_in_the_spool(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte behind it has to come first; while nothing waits the segment stays open, and a hang-up ends it empty."""
    capture = await patient.begin()
    patient.open()
    patient.write(4 * CHUNK)
    await patient.look()
    await patient.tick()
    monkeypatch.setattr(stage, "SETTLE_NS", 0)
    assert patient.tools.spool.resident(capture.spool_name) == 0
    for _ in range(3):
        await patient.look()
        await patient.tick()
    assert not capture.segment.ended
    assert os.listdir(patient.state.parent / "resume") == []
    audio, segments, state = await patient.end()
    assert audio == patient.written
    assert (segments, state) == ([("closed", "hangup", 4 * CHUNK)], "sealed")


async def test_bytes_freed_behind_the_journals_back_are_stepped_over(patient: Patient) -> None:
    """A journal put back under a live call: it does not know what was sealed and freed since."""
    capture = await patient.begin()
    patient.open()
    patient.write(12 * CHUNK)
    await patient.look()
    await patient.tick()
    patient.write(8 * CHUNK)
    patient.tools.spool.punch(capture.spool_name, 16 * CHUNK)
    patient.write(12 * CHUNK)
    for _ in range(3):
        await patient.look()
        await patient.tick()
    audio, segments, state = await patient.end()
    assert audio == patient.written[: 12 * CHUNK] + patient.written[16 * CHUNK :]
    assert [s[:2] for s in segments] == [("truncated", "power_cut"), ("closed", "hangup")]
    assert state == "sealed"
