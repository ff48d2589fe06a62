"""May the call be recorded now: every single case, and properties over all mixtures."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.consent.permit import PERMITTING
from edge.consent.policy import Basis
from edge.consent.standing import SATISFIED, Present, Wanted, judge
from edge.model.lifecycle import OUTCOMES
from edge.model.live import OUTSIDE, PAUSE_REASONS

STANDINGS = ("given", "notified", "not_required", "standing", "none", "refused")
BASE: dict[str, Any] = {
    "outcome": "given", "basis": "consent", "hold": "pause", "standing_agents": False, "present": (), "asked": False,
    "held": False,
}  # fmt: skip


def wanted(**changes: Any) -> Wanted:
    return judge(**{**BASE, **changes})


@pytest.mark.parametrize(
    ("changes", "state", "why"),
    [
        ({}, "record", ""),
        ({"present": (Present("agent", "none"),)}, "record", ""),
        ({"present": (Present("agent", "none"),), "standing_agents": True}, "pause", "agent_unasked"),
        ({"present": (Present("agent", "standing"),), "standing_agents": True}, "record", ""),
        ({"present": (Present("agent", "refused"),)}, "pause", "agent_revoked"),
        ({"present": (Present("third", "none"),)}, "pause", "party_unasked"),
        ({"present": (Present("third", "given"),)}, "record", ""),
        ({"present": (Present("third", "notified"), Present("third", "none"))}, "pause", "party_unasked"),
        ({"present": (Present("third", "refused"),)}, "stop", "party_refused"),
        ({"present": (Present("third", "refused"), Present("third", "none"))}, "stop", "party_refused"),
        ({"present": (Present("third", "none"),), "basis": "legal_obligation"}, "record", ""),
        ({"present": (Present("third", "refused"),), "basis": "vital_interests"}, "record", ""),
        ({"present": (Present("third", "given", never=True),)}, "pause", "never_number"),
        (
            {"present": (Present("agent", "standing", never=True),), "basis": "legal_obligation"},
            "pause",
            "never_number",
        ),
        ({"held": True}, "pause", "hold"),
        ({"held": True, "hold": "record"}, "record", ""),
        ({"asked": True}, "pause", "asked"),
        ({"asked": True, "basis": "legal_obligation"}, "pause", "asked"),
        ({"outcome": "withdrawn"}, "stop", "answered_no"),
        ({"outcome": None}, "stop", "answered_no"),
    ],
)
def test_one_thing_at_a_time(changes: dict[str, Any], state: str, why: str) -> None:
    found = wanted(**changes)
    assert (found.state, found.why) == (state, why)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_only_a_permitting_outcome_records(outcome: str) -> None:
    assert (wanted(outcome=outcome).state == "record") is (outcome in PERMITTING)


PRESENT = st.builds(
    Present, st.sampled_from(("caller", "callee", "third", "agent")), st.sampled_from(STANDINGS), st.booleans()
)
CASES = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from((None, *OUTCOMES)),
        "basis": st.sampled_from(get_args(Basis)),
        "hold": st.sampled_from(("pause", "record")),
        "standing_agents": st.booleans(),
        "present": st.lists(PRESENT, max_size=4).map(tuple),
        "asked": st.booleans(),
        "held": st.booleans(),
    }
)
STRICTNESS = {"record": 0, "pause": 1, "stop": 2}


@given(CASES, PRESENT)
def test_one_more_party_never_loosens(case: dict[str, Any], more: Present) -> None:
    before = judge(**case)
    after = judge(**{**case, "present": (*case["present"], more)})
    assert STRICTNESS[after.state] >= STRICTNESS[before.state]


@given(CASES)
def test_pauses_have_reasons_and_recording_has_leave(case: dict[str, Any]) -> None:
    found = judge(**case)
    assert bool(found.reasons) is (found.state == "pause")
    assert [r for r in PAUSE_REASONS if r in found.reasons] == list(found.reasons)
    if found.state == "record":
        assert case["outcome"] in PERMITTING
        assert not case["asked"]
        assert not any(p.never for p in case["present"])
        if case["basis"] not in ("legal_obligation", "vital_interests"):
            assert all(p.standing in SATISFIED for p in case["present"] if p.role in OUTSIDE)


@given(CASES)
def test_asking_or_holding_only_ever_pauses_more(case: dict[str, Any]) -> None:
    found = judge(**{**case, "asked": True, "held": True})
    assert STRICTNESS[found.state] >= STRICTNESS[judge(**case).state]
