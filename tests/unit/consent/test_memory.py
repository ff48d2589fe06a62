"""What a remembered answer still counts for: every rule, and that no row ever grants what nobody said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.consent.memory import Caller, answers_to_keep, recall, valid_until
from edge.consent.policy import Policy, Question
from edge.consent.units import Period
from edge.model.live import AnswerRow

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ASK = Policy(name="support", mode="opt_in", purposes=("quality", "evidence"), remember=Period("P90D"))
PRIOR = msgspec.structs.replace(ASK, mode="prior")
PLAIN, VERIFIED = Caller("plain"), Caller("plain", verified=True)


def kept(policy: Policy, caller: Caller, outcome: str, when: datetime = NOW, **more: object) -> tuple[AnswerRow, ...]:
    values: dict[str, object] = {
        "number_hmac": "aa", "granted": policy.purposes, "prompt_version": "2.1", "event_seq": 7, "answered": when,
    }  # fmt: skip
    return answers_to_keep(policy, caller, outcome=outcome, **{**values, **more})  # type: ignore[arg-type]


def what(rows: tuple[AnswerRow, ...], policy: Policy, caller: Caller, *, days: float = 0, version: str = "2.9") -> str:
    return recall(rows, policy, version, caller, NOW + timedelta(days=days)).what


def test_a_yes_shortens_the_question() -> None:
    rows = kept(ASK, PLAIN, "given")
    assert {r.purpose for r in rows} == {"quality", "evidence"}
    found = recall(rows, ASK, "2.9", PLAIN, NOW)
    assert (found.what, found.outcome, found.event_seq) == ("short", "given", 7)


def test_on_file_in_prior_with_what_was_granted() -> None:
    policy = msgspec.structs.replace(PRIOR, further=(Question(purposes=("training",), prompt="ask_training"),))
    rows = kept(policy, PLAIN, "given", granted=("quality", "evidence", "training"))
    found = recall(rows, policy, "2.0", PLAIN, NOW)
    assert (found.what, found.purposes) == ("on_file", ("quality", "evidence", "training"))
    some = kept(policy, PLAIN, "given", granted=("quality", "evidence"), refused=("training",))
    assert recall(some, policy, "2.0", PLAIN, NOW).purposes == ("quality", "evidence")


@pytest.mark.parametrize("outcome", ["refused", "objected"])
def test_a_no_counts_only_when_verified_then_and_now(outcome: str) -> None:
    for then, now, verdict in (
        (VERIFIED, VERIFIED, "no"), (VERIFIED, PLAIN, "nothing"), (PLAIN, VERIFIED, "nothing"), (PLAIN, PLAIN, "nothing"),
    ):  # fmt: skip
        assert what(kept(ASK, then, outcome, granted=()), ASK, now) == verdict


def test_what_was_only_told_is_no_consent() -> None:
    assert what(kept(ASK, VERIFIED, "notified"), ASK, VERIFIED) == "nothing"
    assert what(kept(PRIOR, VERIFIED, "notified"), PRIOR, VERIFIED) == "nothing"


@pytest.mark.parametrize("number_class", ["withheld", "shared", "invalid"])
def test_no_memory_without_a_number_of_ones_own(number_class: str) -> None:
    caller = Caller(number_class, verified=True)
    assert kept(ASK, caller, "given") == ()
    assert what(kept(ASK, VERIFIED, "given"), ASK, caller) == "nothing"


@pytest.mark.parametrize(("caller", "days"), [(PLAIN, 30), (VERIFIED, 90)])
def test_it_fades(caller: Caller, days: int) -> None:
    rows = kept(ASK, caller, "given")
    assert what(rows, ASK, caller, days=days - 0.01) == "short"
    assert what(rows, ASK, caller, days=days) == "nothing"


def test_a_number_verified_then_but_not_now_has_thirty_days() -> None:
    rows = kept(ASK, VERIFIED, "given")
    assert what(rows, ASK, PLAIN, days=29) == "short"
    assert what(rows, ASK, PLAIN, days=31) == "nothing"


def test_a_shorter_policy_of_today_shortens_what_was_stored() -> None:
    rows = kept(ASK, VERIFIED, "given")
    assert what(rows, msgspec.structs.replace(ASK, remember=Period("P5D")), VERIFIED, days=6) == "nothing"
    assert what(rows, msgspec.structs.replace(ASK, remember=Period("P0D")), VERIFIED) == "nothing"
    longer = msgspec.structs.replace(ASK, remember=Period("P1Y"))
    assert what(rows, longer, VERIFIED, days=91) == "nothing", "what was promised to the caller stays the end"


def test_a_new_major_of_the_prompt_asks_again() -> None:
    rows = kept(ASK, PLAIN, "given")
    assert what(rows, ASK, PLAIN, version="2.99") == "short"
    assert what(rows, ASK, PLAIN, version="3.0") == "nothing"
    assert what(rows, ASK, PLAIN, version="20.1") == "nothing"


def test_a_new_purpose_asks_again_and_a_dropped_one_does_not() -> None:
    rows = kept(ASK, PLAIN, "given")
    wider = msgspec.structs.replace(ASK, purposes=("quality", "evidence", "training"))
    assert recall(rows, wider, "2.1", PLAIN, NOW).why == "purposes"
    assert what(rows, msgspec.structs.replace(ASK, purposes=("quality",)), PLAIN) == "short"


def test_one_refused_purpose_is_a_no() -> None:
    rows = kept(ASK, VERIFIED, "given", granted=("quality",), refused=("evidence",))
    assert what(rows, ASK, VERIFIED) == "no"
    assert what(rows, ASK, PLAIN) == "nothing"


def test_the_newest_answer_counts_and_a_revoked_one_does_not() -> None:
    yes, no = kept(ASK, VERIFIED, "given"), kept(ASK, VERIFIED, "refused", NOW + timedelta(days=1), granted=())
    assert what((*no, *yes), ASK, VERIFIED, days=2) == "no"
    revoked = tuple(replace(r, revoked_at="2026-11-22T13:00:00.000Z") for r in yes)
    assert recall(revoked, ASK, "2.1", VERIFIED, NOW).why == "unknown"


def test_another_policys_answer_is_not_this_ones() -> None:
    assert what(kept(ASK, PLAIN, "given"), msgspec.structs.replace(ASK, name="sales"), PLAIN) == "nothing"


@pytest.mark.parametrize(
    "outcome", ["abandoned", "unavailable", "not_recorded", "withdrawn", "not_required", "adopted"]
)
def test_what_is_not_remembered(outcome: str) -> None:
    assert kept(ASK, VERIFIED, outcome) == ()


def test_nothing_is_kept_without_a_policy_that_remembers_or_a_key() -> None:
    assert kept(msgspec.structs.replace(ASK, remember=Period("P0D")), VERIFIED, "given") == ()
    assert kept(ASK, VERIFIED, "given", number_hmac="") == ()


def test_modes_that_never_look() -> None:
    for mode in ("never", "obligation"):
        assert what(kept(ASK, PLAIN, "given"), msgspec.structs.replace(ASK, mode=mode), PLAIN) == "nothing"


def test_valid_until_as_the_journal_writes_times() -> None:
    assert valid_until(ASK, NOW, verified=False) == "2026-12-22T12:00:00.000Z"
    assert valid_until(ASK, NOW, verified=True) == "2027-02-20T12:00:00.000Z"
    month = msgspec.structs.replace(ASK, remember=Period("P1M"))
    january = datetime(2027, 1, 31, tzinfo=UTC)
    assert valid_until(month, january, verified=False) == "2027-02-28T00:00:00.000Z"


ROWS = st.builds(
    AnswerRow,
    number_hmac=st.just("aa"), purpose=st.sampled_from(["quality", "evidence", "x"]),
    outcome=st.sampled_from(["given", "refused", "objected", "notified"]), prompt_major=st.sampled_from(["1", "2"]),
    policy_id=st.sampled_from(["support", "other"]), policy_version=st.just("v"), event_seq=st.integers(1, 50),
    verified=st.booleans(), answered_at=st.sampled_from(["2026-09-01T00:00:00.000Z", "2026-11-20T00:00:00.000Z"]),
    valid_until=st.sampled_from(["2026-11-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"]),
    revoked_at=st.sampled_from([None, None, "2026-11-21T00:00:00.000Z"]),
)  # fmt: skip


@given(
    st.lists(ROWS, max_size=8),
    st.sampled_from([ASK, PRIOR]),
    st.sampled_from([PLAIN, VERIFIED, Caller("shared", True)]),
)
def test_no_heap_of_rows_grants_what_was_not_given(rows: list[AnswerRow], policy: Policy, caller: Caller) -> None:
    found = recall(rows, policy, "2.0", caller, NOW)
    good = [r for r in rows if r.policy_id == "support" and r.revoked_at is None and r.prompt_major == "2"]
    if found.what in ("short", "on_file"):
        for purpose in policy.purposes:
            assert any(r.purpose == purpose and r.outcome == "given" and r.valid_until > "2026-11-22" for r in good)
        assert caller.number_class == "plain"
    if found.what == "no":
        assert caller.verified
        assert any(r.outcome in ("refused", "objected") and r.verified for r in good)
