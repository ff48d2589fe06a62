"""Every actor, basis, choice of the policy and outcome: what a withdrawal does."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from edge.consent.permit import PERMITTING
from edge.consent.policy import Basis
from edge.consent.withdrawal import Effect, judge, unattended
from edge.model.lifecycle import EVENT_KINDS, OUTCOMES
from edge.model.live import ACTOR_KINDS, FLAGS, OUTSIDE

ALL = list(product(ACTOR_KINDS, get_args(Basis), ("note", "stop"), ("stop", "stop_and_erase"), (None, *OUTCOMES)))


def effects() -> list[tuple[tuple[str, str, str, str, str | None], Effect]]:
    return [
        (row, judge(actor=row[0], basis=row[1], contract_withdraw=row[2], on_withdraw=row[3], outcome=row[4]))
        for row in ALL
    ]  # fmt: skip


def test_every_case_has_one_coherent_effect() -> None:
    for (actor, basis, _, on_withdraw, outcome), effect in effects():
        assert effect.event in ("", *EVENT_KINDS)
        assert effect.outcome in ("", *OUTCOMES)
        assert effect.flag in ("", *FLAGS)
        assert effect.prompt
        assert effect.says.endswith(".")
        if effect.outcome:
            assert effect.event == effect.outcome
            assert effect.outcome not in PERMITTING
            assert effect.stop
            assert effect.forget
        if effect.erase:
            assert effect.outcome in ("withdrawn", "objected")
            assert on_withdraw == "stop_and_erase"
        if effect.stop:
            assert outcome in PERMITTING
            assert basis not in ("legal_obligation", "vital_interests")
        if effect.did == "stopped":
            assert actor == "agent"


def test_what_is_mandated_goes_on_whoever_asks() -> None:
    for (_, basis, _, _, outcome), effect in effects():
        if basis in ("legal_obligation", "vital_interests") and outcome in PERMITTING:
            assert (effect.did, effect.event) == ("objection_noted", "objection_noted")
            assert not any((effect.stop, effect.erase, effect.forget, effect.outcome))


@pytest.mark.parametrize("actor", sorted(OUTSIDE))
@pytest.mark.parametrize(
    ("basis", "contract", "word"),
    [
        ("consent", "note", "withdrawn"),
        ("legitimate_interests", "note", "objected"),
        ("public_task", "note", "objected"),
        ("contract", "stop", "objected"),
        ("contract", "note", "objection_noted"),
    ],
)
def test_an_outside_party_by_basis(actor: str, basis: str, contract: str, word: str) -> None:
    effect = judge(actor=actor, basis=basis, contract_withdraw=contract, on_withdraw="stop_and_erase", outcome="given")
    assert effect.did == word
    assert effect.stop is effect.erase is (word != "objection_noted")


def test_an_agent_erases_nothing_and_a_supervisor_speaks_for_the_caller() -> None:
    def by(actor: str) -> Effect:
        return judge(
            actor=actor, basis="consent", contract_withdraw="note", on_withdraw="stop_and_erase", outcome="given"
        )

    agent = by("agent")
    assert (agent.did, agent.erase, agent.outcome, agent.flag) == ("stopped", False, "", "agent_stopped")
    for actor in ("supervisor", "dpo", "central"):
        assert (by(actor).did, by(actor).erase) == ("withdrawn", True)


def test_twice_is_once() -> None:
    for outcome in ("withdrawn", "objected"):
        effect = judge(actor="caller", basis="consent", contract_withdraw="note", on_withdraw="stop", outcome=outcome)
        assert (effect.did, effect.event, effect.stop) == ("already", "", False)


def test_an_unknown_actor_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no kind of actor"):
        judge(actor="mob", basis="consent", contract_withdraw="note", on_withdraw="stop", outcome="given")


@pytest.mark.parametrize(
    ("basis", "contract", "stops"),
    [
        ("consent", "note", True),
        ("legitimate_interests", "note", True),
        ("contract", "note", False),
        ("contract", "stop", True),
        ("legal_obligation", "stop", False),
        ("vital_interests", "stop", False),
    ],
)
def test_without_the_daemon_the_basis_decides_as_with_it(basis: str, contract: str, stops: bool) -> None:
    effect = unattended(basis=basis, contract_withdraw=contract, on_withdraw="stop")
    assert (effect.stop, effect.prompt) == (stops, "withdrawn" if stops else "objection_noted")
