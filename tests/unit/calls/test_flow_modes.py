"""The flow in every mode, on a real journal and recorder: outcome, evidence, permit, tags, memory, and what fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from edge.config.schema import TelephonySection
from edge.consent.policy import Policy
from edge.consent.policy_tables import Choices, Question
from edge.consent.units import Period
from edge.errors import CallwardenError
from edge.ports import CallerGone, DialogueLost
from tests.crash import capture_child as child
from tests.unit.calls.flow_kit import Caller, House, open_house

NUMBER = "+420608777123"


def policy(mode: str, **more: Any) -> Policy:
    """The test's policy in another mode."""
    basis = {"opt_out": "legitimate_interests", "notice": "legitimate_interests", "obligation": "legal_obligation"}
    return msgspec.structs.replace(
        child.POLICY, mode=mode, basis=basis.get(mode, "consent"), basis_reference="test", **more
    )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as made:
        yield made


async def call(house: House, key: str = "", *, number: str = NUMBER, **more: Any) -> tuple[Caller, dict[str, Any]]:
    """One call, and its row with events and permits."""
    caller = Caller(key)
    caller.caller_number = number
    for name, value in more.items():
        setattr(caller, name, value)
    await house.tracker.take(caller)
    return caller, stored(house, caller.channel_uid)


def stored(house: House, uid: str) -> dict[str, Any]:
    [(call_id, state, outcome, direction)] = house.rows(
        f"SELECT call_id, state, outcome, direction FROM call WHERE channel_uid='{uid}'"
    )
    events = house.rows(
        f"SELECT seq, kind, evidence, party_id FROM consent_event WHERE call_id='{call_id}' ORDER BY seq"
    )
    return {
        "call_id": call_id, "state": state, "outcome": outcome, "direction": direction,
        "events": [(kind, json.loads(evidence)) for _, kind, evidence, _ in events],
        "seqs": [seq for seq, *_ in events],
        "permits": house.rows(f"SELECT event_seq, purposes FROM permit WHERE call_id='{call_id}'"),
        "recordings": house.rows(f"SELECT state FROM recording WHERE call_id='{call_id}'"),
        "parties": house.rows(f"SELECT role, number_heard, number_e164 FROM party WHERE call_id='{call_id}'"),
    }  # fmt: skip


async def hang_up(house: House, caller: Caller) -> None:
    house.tracker.channel_gone(caller.channel_uid)
    house.recorder.channel_gone(caller.channel_uid)
    await house.all_gone()


MODES = [
    ("opt_in", "1", "given", "key"),
    ("opt_in", "2", "refused", "key"),
    ("opt_in", "", "refused", "silence"),
    ("opt_out", "", "notified", "no_objection"),
    ("opt_out", "2", "objected", "key"),
    ("opt_out", "7", "objected", "unclear"),
    ("notice", "", "notified", "played"),
    ("notice", "2", "objected", "key"),
    ("obligation", "", "not_required", "obligation"),
    ("manual", "1", "not_recorded", "manual"),
    ("never", "1", "not_recorded", "policy"),
    ("prior", "1", "given", "key"),
    ("prior", "2", "refused", "key"),
]


@pytest.mark.parametrize(("mode", "key", "outcome", "reason"), MODES)
async def test_outcome_evidence_permit_and_tags_agree(
    house: House, mode: str, key: str, outcome: str, reason: str
) -> None:
    house.policy = policy(mode, header=True, lamp="desk", remember=Period("P30D"))
    caller, row = await call(house, key)
    kind, body = row["events"][-1]
    assert (row["outcome"], kind, body["reason"]) == (outcome, outcome, reason)
    recorded = outcome in ("given", "notified", "not_required")
    assert row["state"] == ("permitted" if recorded else "declined")
    assert bool(row["recordings"]) == recorded
    if recorded:
        [(seq, purposes)] = row["permits"]
        assert seq in row["seqs"]
        assert json.loads(purposes) == body["granted"] == ["quality"]
    else:
        assert row["permits"] == []
    assert body["party"]["role"] == "caller"
    assert row["parties"] == [("caller", NUMBER, NUMBER)]
    [(standing,)] = house.rows(f"SELECT standing FROM party WHERE call_id='{row['call_id']}'")
    assert standing == (outcome if recorded else "none")
    assert NUMBER[1:] not in json.dumps([row["events"], house.rows("SELECT body FROM outbox")])
    tag = f"cw={outcome};call={row['call_id']}"
    assert caller.set["CDR(userfield)"] == caller.set["CHANNEL(userfield)"] == tag
    assert caller.set["CALLWARDEN_OUTCOME"] == caller.events[-1]["Outcome"] == outcome
    assert caller.set["__CALLWARDEN_HEADER"] == f"{outcome};call={row['call_id']}"
    assert list(caller.set)[-1] == "CALLWARDEN_OUTCOME"
    assert ("__DYNAMIC_FEATURES" in caller.set) == (recorded or mode == "manual")
    assert house.desks.lamps == ({"desk": "INUSE"} if recorded else {})
    assert caller.answered == (mode not in ("never", "manual"))
    await hang_up(house, caller)
    house.check()
    after = stored(house, caller.channel_uid)
    assert after["parties"] == [("caller", NUMBER if recorded else None, NUMBER if recorded else None)]


async def test_an_obligation_is_recorded_first_and_its_notice_is_filed(house: House) -> None:
    house.policy = policy("obligation")
    caller, row = await call(house)
    assert [kind for kind, _ in row["events"]] == ["not_required", "not_required"]
    first, told = (body for _, body in row["events"])
    assert (first["prompt"]["prompt_id"], first["prompt"]["played_ms"], first["heard"]) == ("legal", 0, [])
    assert (told["prompt"]["played_ms"], told["notice"]) == (5000, "played")
    assert caller.played == ["/x/en-legal"]
    await hang_up(house, caller)


@pytest.mark.parametrize(("how", "said"), [(CallerGone, "hangup"), (DialogueLost, "agi.lost")])
async def test_an_obligation_whose_notice_is_cut_short_stays_recorded(
    house: House, how: type[Exception], said: str
) -> None:
    house.policy = policy("obligation")
    caller = Caller("")
    whole = Caller("")
    await house.tracker.take(whole)
    caller.leaves, caller.how = whole.steps, how  # the notice is the last thing that is done
    await house.tracker.take(caller)
    row = stored(house, caller.channel_uid)
    assert row["events"][-1][1]["notice"] == said
    assert (row["outcome"], caller.set["CALLWARDEN_OUTCOME"]) == ("not_required", "not_required")
    await house.all_gone()


async def test_an_obligation_may_play_nothing_at_all(house: House) -> None:
    house.policy = policy("obligation", prompt="none")
    caller, row = await call(house)
    assert [kind for kind, _ in row["events"]] == ["not_required"]
    assert (caller.played, caller.answered) == ([], False)
    await hang_up(house, caller)


async def test_a_called_party_is_asked_with_its_own_words_under_the_number_that_was_dialled(house: House) -> None:
    house.policy = policy("opt_in")
    caller, row = await call(
        house, "1", script="callee", number="9608777123", dialled="", variables={"DYNAMIC_FEATURES": "own"}
    )
    assert caller.played == ["/x/en-ask_callee"]
    assert (row["direction"], row["outcome"]) == ("outbound", "given")
    assert row["parties"] == [("callee", "608777123", "+420608777123")]
    assert row["events"][-1][1]["party"]["role"] == "callee"
    assert caller.set["__DYNAMIC_FEATURES"] == "own#cwapi#cwwithdraw#cwpause#cwresume#cwstart"
    await hang_up(house, caller)


async def test_a_second_called_party_of_one_caller_is_asked_as_well(house: House) -> None:
    house.policy = policy("opt_in")
    first, refused = await call(house, "2", script="callee", number="608777123", linked_id="1.100")
    second, agreed = await call(house, "1", script="callee", number="608777124", linked_id="1.100")
    assert (refused["outcome"], agreed["outcome"]) == ("refused", "given")
    assert second.played == ["/x/en-ask_callee"]
    again, same = await call(house, "2", number="608777125", linked_id="1.200")
    again.steps, again.played = 0, []
    await house.tracker.take(again)
    assert (again.played, again.set["CALLWARDEN_OUTCOME"]) == ([], "refused"), "the same call came in again"
    assert same["outcome"] == "refused"
    assert first.set["CALLWARDEN_OUTCOME"] == "refused"
    await house.all_gone()


@pytest.mark.parametrize("script", ["entry", "callee"])
@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"dialled": "112"}, "emergency"),
        ({"dialled": "9112"}, "emergency"),
        ({"dialled": "1188"}, "emergency"),
        ({"dialled": "00420555100200"}, "never_number"),
        ({"number": "555 100 200"}, "never_number"),
    ],
)
async def test_emergency_and_never_numbers_beat_every_policy(
    house: House, script: str, numbers: dict[str, str], reason: str
) -> None:
    house.telephony = TelephonySection(emergency=("1188",), never_numbers=("+420 555 100 200",))
    for mode in ("opt_in", "opt_out", "obligation", "prior"):
        house.policy = policy(mode, on_failure="refuse_call")
        caller, row = await call(house, "1", script=script, **{"number": "", **numbers})
        assert (row["outcome"], row["events"][-1][1]["reason"]) == ("not_recorded", reason)
        assert (caller.played, caller.answered, row["permits"]) == ([], False, [])
        await hang_up(house, caller)


async def test_an_emergency_call_is_never_refused_or_told_anything(house: House) -> None:
    house.policy = policy("opt_in", on_failure="refuse_call")
    house.not_ready = CallwardenError("ami.down", "no link")
    caller, row = await call(house, dialled="112")
    assert (row["outcome"], caller.played) == ("unavailable", [])
    assert "CALLWARDEN_REFUSE" not in caller.set
    await hang_up(house, caller)


@pytest.mark.parametrize(
    ("on_failure", "played", "refused"),
    [
        ("unrecorded", [], False),
        ("announce", ["/x/en-unavailable_notice"], False),
        ("refuse_call", ["/x/en-refused_call"], True),
    ],
)
@pytest.mark.parametrize("why", ["not ready", "no prompt", "no keys"])
async def test_what_the_caller_hears_when_nothing_can_be_recorded(
    house: House, on_failure: str, played: list[str], refused: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.policy = policy("opt_in", on_failure=on_failure)
    if why == "not ready":
        house.not_ready = CallwardenError("ami.down", "no link")
    elif why == "no prompt":
        house.prompts.missing = {"ask"}
    else:

        async def no_keys(policy: Policy) -> Any:
            raise CallwardenError("vault.slots_full", "no room")

        monkeypatch.setattr(house.recorder, "prepare", no_keys)
    caller, row = await call(house, "1")
    assert (row["outcome"], row["permits"]) == ("unavailable", [])
    assert [p for p in caller.played if not p.endswith("ask")] == played
    assert (caller.set.get("CALLWARDEN_REFUSE") == "yes") == refused
    assert (caller.set.get("CALLWARDEN_ANNOUNCED") == "yes") == bool(played)
    await hang_up(house, caller)
    assert stored(house, caller.channel_uid)["parties"] == [("caller", None, None)]


async def test_a_journal_that_fails_behind_the_tag_leaves_a_recorded_call_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.policy = policy("obligation", on_failure="refuse_call")
    real = house.journal.add_event

    async def fails_late(call_id: str, event: Any, **more: Any) -> int:
        if event.evidence.get("notice"):
            raise CallwardenError("journal.io", "the disk failed once", retryable=True)
        return await real(call_id, event, **more)

    monkeypatch.setattr(house.journal, "add_event", fails_late)
    caller, row = await call(house)
    assert (row["outcome"], caller.set["CALLWARDEN_OUTCOME"], caller.played) == (
        "not_required", "not_required", ["/x/en-legal"],
    )  # fmt: skip
    assert "CALLWARDEN_REFUSE" not in caller.set
    await hang_up(house, caller)


async def test_a_dialplan_that_promises_something_else_is_alarmed_once(house: House) -> None:
    house.policy = policy("opt_in", on_failure="refuse_call")
    for _ in range(2):
        caller, _ = await call(house, "2", on_failure="announce")
        await hang_up(house, caller)
    codes = [json.loads(entry)["body"].get("code") for (entry,) in house.rows("SELECT entry FROM audit")]
    assert codes.count("policy.on_failure_differs") == 1


# ---------------------------------------------------------------- memory


async def test_prior_asks_once_reminds_then_and_forgets_who_withdraws(house: House) -> None:
    house.policy = policy("prior", remember=Period("P30D"))
    first, asked = await call(house, "1")
    assert (asked["outcome"], first.played) == ("given", ["/x/en-ask"])
    [(kept,)] = house.rows("SELECT number_hmac FROM answer")
    assert len(kept) == 64
    second, reminded = await call(house, "")
    assert (reminded["outcome"], second.played) == ("given", ["/x/en-reminder"])
    body = reminded["events"][-1][1]
    assert (body["reason"], body["on_file"], body["granted"]) == ("on_file", asked["seqs"][-1], ["quality"])
    silent_but_unverified, _ = await call(house, "")
    assert silent_but_unverified.played == ["/x/en-reminder"]
    _, took_back = await call(house, "2")
    assert (took_back["outcome"], took_back["permits"]) == ("withdrawn", [])
    assert house.rows("SELECT count(*) FROM answer WHERE revoked_at IS NULL") == [(0,)]
    fourth, again = await call(house, "1")
    assert (again["outcome"], fourth.played) == ("given", ["/x/en-ask"])
    await house.all_gone()
    house.check_calls()


async def test_prior_is_silent_only_for_a_verified_number_where_the_law_allows(house: House) -> None:
    house.policy = policy("prior", remember=Period("P30D"))
    await call(house, "1")
    vouched = {"CALLWARDEN_VERIFIED": "yes"}
    there, _ = await call(house, "", variables=vouched)
    assert there.played == ["/x/en-reminder"], "the law asks for the reminder"
    house.silent_prior = True
    unknown, _ = await call(house, "")
    assert unknown.played == ["/x/en-reminder"], "nobody vouches for the number"
    silent, row = await call(house, "", variables=vouched)
    assert (silent.played, silent.answered) == ([], False)
    assert (row["outcome"], row["events"][-1][1]["reason"]) == ("given", "on_file")
    await house.all_gone()


async def test_a_remembered_yes_shortens_and_only_a_vouched_no_spares_the_question(house: House) -> None:
    house.policy = policy("opt_in", remember=Period("P30D"))
    await call(house, "1")
    short, row = await call(house, "2")
    assert short.played == ["/x/en-ask_short", "/x/en-ask_again"]
    assert row["outcome"] == "refused"
    asked, _ = await call(house, "2")
    assert asked.played[0] == "/x/en-ask", "a no of an unverified number"
    vouched = {"CALLWARDEN_VERIFIED": "yes"}
    await call(house, "2", variables=vouched)
    spared, row = await call(house, "1", variables=vouched)
    assert (spared.played, row["outcome"], row["events"][-1][1]["reason"]) == ([], "refused", "on_file")
    withheld, _ = await call(house, "1", number="")
    again, _ = await call(house, "1", number="")
    assert withheld.played == again.played == ["/x/en-ask"]
    await house.all_gone()


async def test_a_new_major_version_asks_in_full_and_a_lost_key_costs_no_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.policy = policy("opt_in", remember=Period("P30D"))
    await call(house, "1")
    house.prompts.version = "2.0"
    caller, _ = await call(house, "1")
    assert caller.played == ["/x/en-ask"]

    async def no_slot(slot: int) -> bytes:
        raise CallwardenError("vault.slot_shredded", "overwritten")

    monkeypatch.setattr(house.slots, "read", no_slot)
    caller, row = await call(house, "1")
    assert (caller.played, row["outcome"]) == (["/x/en-ask"], "given")
    await house.all_gone()


# ---------------------------------------------------------------- further purposes, languages


async def test_further_purposes_have_their_own_question_and_bind_the_permit(house: House) -> None:
    house.policy = policy("opt_in", further=(Question(purposes=("training",), prompt="ask_training"),))
    caller, row = await call(house, "1")
    assert caller.played == ["/x/en-ask", "/x/en-ask_training"]
    assert json.loads(row["permits"][0][1]) == ["quality", "training"]
    assert [kind for kind, _ in row["events"]] == ["requested", "requested", "given"]
    await hang_up(house, caller)


async def test_the_language_of_the_number_and_the_language_of_choice(house: House) -> None:
    house.policy = policy("opt_in", languages=("en", "cs"), language_did=Choices({"+420555100200": "cs"}))
    caller, _ = await call(house, "1", dialled="555100200")
    assert caller.played == ["/x/cs-ask"]
    house.policy = policy("opt_in", languages=("en", "cs"), language_choice=Choices({"2": "en", "1": "cs"}))
    caller, row = await call(house, "1")
    assert caller.played == ["/x/en-language", "/x/cs-ask"]
    assert caller.set["CALLWARDEN_LANGUAGE"] == "cs"
    assert row["events"][-1][1]["language"] == "cs"
    await house.all_gone()
