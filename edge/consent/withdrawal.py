"""What a withdrawal does: by who asks, on which legal basis, and what the call is filed as so far. Pure.

The rules are those of the GDPR's bases: a consent can be taken back at any time (Art. 7(3)); processing for legitimate
interests or a public task can be objected to (Art. 21); what the law or somebody's life demands goes on, and the one who
objected is told. A contract is the operator's choice (`contract_withdraw`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.consent.permit import PERMITTING
from edge.model.live import ACTOR_KINDS

#: Bases on which a recording goes on whoever objects.
MANDATED: Final = frozenset({"legal_obligation", "vital_interests"})
#: Outcomes that are a withdrawal already.
TAKEN_BACK: Final = frozenset({"withdrawn", "objected"})


@dataclass(frozen=True, slots=True)
class Effect:
    """What is to be done.

    did: one word for who asked: `withdrawn` `objected` `objection_noted` `stopped` `already` `nothing_recorded`.
    event: kind of the consent event to file, "" for none. outcome: the call's new outcome, "" to leave it. stop: capture
    ends now. erase: what was recorded before goes too, some time after the call's end. forget: remembered answers of the
    number are revoked. flag: mark for the recordings. prompt: what the party hears. says: a sentence.
    """

    did: str
    event: str = ""
    outcome: str = ""
    stop: bool = False
    erase: bool = False
    forget: bool = False
    flag: str = ""
    prompt: str = ""
    says: str = ""


def judge(*, actor: str, basis: str, contract_withdraw: str, on_withdraw: str, outcome: str | None) -> Effect:
    """The effect of one request.

    actor: one of live.ACTOR_KINDS; an agent speaks for himself, everybody else of the house for the party that was asked.
    outcome: the call's, None while there is none.
    """
    if actor not in ACTOR_KINDS:
        raise ValueError(f"{actor!r} is no kind of actor")
    if outcome in TAKEN_BACK:
        return Effect("already", prompt="withdrawn", says="The answer was taken back before; nothing is recorded.")
    if outcome not in PERMITTING:
        says = "Nothing is recorded in this call, so there is nothing to take back."
        return Effect("nothing_recorded", prompt="thanks_not_recorded", says=says)
    if _goes_on(basis, contract_withdraw):
        says = "The objection is noted. The recording goes on, because it does not rest on anybody's agreement."
        return Effect("objection_noted", event="objection_noted", prompt="objection_noted", says=says)
    if actor == "agent":
        says = "The agent stopped the recording. What was recorded before stays."
        return Effect("stopped", stop=True, flag="agent_stopped", prompt="stopped", says=says)
    word = "withdrawn" if basis == "consent" else "objected"
    erase = on_withdraw == "stop_and_erase"
    rest = "what was recorded before will be erased" if erase else "what was recorded before stays"
    begin = "The consent was withdrawn" if word == "withdrawn" else "The recording was objected to"
    return Effect(
        word, event=word, outcome=word, stop=True, erase=erase, forget=True, prompt="withdrawn",
        says=f"{begin}: nothing more is recorded, and {rest}.",
    )  # fmt: skip


def unattended(*, basis: str, contract_withdraw: str, on_withdraw: str) -> Effect:
    """What the dialplan does with a recorded party's withdrawal while nobody else can judge it: of the effect of one made
    now it can carry out the stop and the prompt."""
    return judge(
        actor="caller", basis=basis, contract_withdraw=contract_withdraw, on_withdraw=on_withdraw, outcome="given"
    )


def _goes_on(basis: str, contract_withdraw: str) -> bool:
    return basis in MANDATED or (basis == "contract" and contract_withdraw == "note")
