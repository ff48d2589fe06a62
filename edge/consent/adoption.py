"""What is stored of a recording that was taken over instead of permitted by an answer. Pure.

The outcome is `adopted`, never `given`: nobody was asked by this edge. The evidence says who answers for it, on which
basis, where consent is documented, and that the sound lay outside in the clear before.
"""

from __future__ import annotations

from typing import Any, Final

from edge.consent.numbers import LONGEST, WITHHELD, digits, e164
from edge.consent.policy import Policy
from edge.model.adoption import Asked, printable
from edge.model.software import SOFTWARE

#: Fewest digits of a number; less is somebody's spelling of nothing.
_FEWEST: Final = 2


def party(number: str, country: str) -> tuple[str | None, str, str | None]:
    """(number to store, class, E.164) of the outside party, as `edge.model.entities.NewCall` has them."""
    text = "".join(char for char in number.strip() if char.isascii() and char.isprintable())[:LONGEST]
    if text.strip().lower() in WITHHELD:
        return None, ("withheld" if number.strip().lower() in WITHHELD else "invalid"), None
    plain = text.removeprefix("+").isdigit() and text.isascii() and len(digits(text)) >= _FEWEST
    return text, ("plain" if plain else "invalid"), e164(text, country)


def evidence(
    policy: Policy, edge_id: str, asked: Asked, *, by_uid: int, party_id: str, number_class: str
) -> dict[str, Any]:
    """The evidence of the event `adopted` (docs/spec/evidence.md)."""
    grounds, facts = asked.grounds, asked.facts
    return {
        "policy_id": policy.name,
        "policy_version": policy.version,
        "mode": policy.mode,
        "basis": grounds.basis,
        "basis_reference": printable(grounds.reference),
        "purposes": list(policy.every_purpose),
        "granted": list(policy.every_purpose),
        "edge_id": edge_id,
        "software": SOFTWARE,
        "reason": "archive",
        "party": {
            "party_id": party_id,
            "role": "callee" if facts.direction == "outbound" else "caller",
            "number_class": number_class,
            "channel_uid": facts.uniqueid,
            "linked_id": facts.linkedid or facts.uniqueid,
        },
        "adopted": {
            "by": f"uid:{by_uid}",
            "source": asked.source,
            "documented": printable(grounds.evidence),
            "plaintext_outside": True,
            "file": {
                "identity": facts.identity,
                "started_from": facts.started_from,
                "repaired": list(facts.repaired),
            },
        },
    }
