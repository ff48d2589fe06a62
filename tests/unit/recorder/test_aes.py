"""Pauses, incidents, restarts and wounds with the other suite: the same tests under a policy that says `aes256gcm`.

Left out are those that count chunks of 64 KiB, and the one about the resume key, which this suite does not write.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.crash import capture_child as child
from tests.unit.recorder.test_incident import (
    test_an_incident_in_a_pause,
    test_an_incident_takes_what_was_open_and_no_more,
)
from tests.unit.recorder.test_pause import (
    disk,
    patient,
    test_a_caller_who_waits_can_be_paused,
    test_a_mute_that_is_acknowledged_and_leaks_ends_the_recording,
    test_a_pause_before_the_first_byte,
    test_a_pause_is_cut_out_to_the_byte,
    test_a_restart_between_the_unmuting_and_its_row_keeps_what_was_said,
    test_a_restart_in_a_pause_goes_on_with_the_pause,
    test_hang_up_during_a_pause,
    test_hang_up_while_the_zeros_are_awaited,
    test_pause_and_resume_again_and_again,
)

__all__ = [
    "disk",
    "patient",
    "test_a_caller_who_waits_can_be_paused",
    "test_a_mute_that_is_acknowledged_and_leaks_ends_the_recording",
    "test_a_pause_before_the_first_byte",
    "test_a_pause_is_cut_out_to_the_byte",
    "test_a_restart_between_the_unmuting_and_its_row_keeps_what_was_said",
    "test_a_restart_in_a_pause_goes_on_with_the_pause",
    "test_an_incident_in_a_pause",
    "test_an_incident_takes_what_was_open_and_no_more",
    "test_hang_up_during_a_pause",
    "test_hang_up_while_the_zeros_are_awaited",
    "test_pause_and_resume_again_and_again",
]


@pytest.fixture(autouse=True)
def _aes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "POLICY", replace(child.POLICY, suite="aes256gcm"))


def test_the_policy_is_the_other_one(tmp_path: Path) -> None:
    """What is imported above runs under the fixture of this module."""
    assert child.POLICY.suite == "aes256gcm"
