"""A call's answer as a consent record in the structure of ISO/IEC TS 27560:2023. Pure.

One record a call, for every outcome: the standard is about consent, and its structure also carries the other bases (a
notice, a statute) and a no. What is not consent never says so: `event_type` and `event_state` keep them apart
(docs/spec/consent-record.md).
"""

from __future__ import annotations

from typing import Any, Final

from formats import callrows
from formats.callrows import Row

SCHEMA_VERSION: Final = "ISO/IEC TS 27560:2023"
EVENT_SCHEMA: Final = "callwarden-consent-event/v1"
#: How an event came about.
_TYPES: Final = {
    "requested": "request",
    "given": "explicit",
    "notified": "notice",
    "not_required": "legal_basis",
    "refused": "explicit",
    "objected": "explicit",
    "withdrawn": "explicit",
    "objection_noted": "explicit",
    "abandoned": "none",
    "not_recorded": "none",
    "unavailable": "none",
    "recording_failed": "none",
    "adopted": "import",
}
#: What is so after it. Only `given` is consent.
_STATES: Final = {
    "requested": "requested",
    "given": "given",
    "notified": "notified",
    "not_required": "not_required",
    "refused": "refused",
    "objected": "objected",
    "withdrawn": "withdrawn",
    "objection_noted": "objection_noted",
    "abandoned": "unanswered",
    "not_recorded": "not_asked",
    "unavailable": "not_asked",
    "recording_failed": "invalidated",
    "adopted": "unknown",
}
#: What a caller has done that is not an act of will: no answer, or one that was given before and is only recalled.
_PASSIVE: Final = frozenset({"silence", "unclear"})
WITHDRAWAL: Final = (
    "during the call: the star code that the prompt names (*9 as shipped), or tell the other side; within an hour after"
    " it: the same through the operator; later: a request to the operator"
)
RIGHTS: Final = ("access", "erasure", "restriction", "objection", "withdrawal of consent", "complaint to an authority")


def consent_record(row: Row, *, edge_id: str, at: str) -> dict[str, Any]:
    """row: a call as the local door's `why` answers it; at: when the record is made (formats.ids)."""
    call = row["call"]
    parties = callrows.parties(row)
    controller = f"controller:{edge_id}"
    return {
        "schema_version": SCHEMA_VERSION,
        "record_id": call["call_id"],
        "pii_principal_id": _principal(parties[0]),
        "record_created_at": at,
        "pii_processing": {
            "privacy_notice": callrows.evidence(callrows.deciding(row)).get("basis_reference") or None,
            "language": call.get("language") or None,
            "notices_heard": _heard(row),
            "purposes": [_purpose(row, one, controller, edge_id) for one in callrows.purposes(row)],
        },
        "party_identification": [
            _controller(controller, edge_id),
            *(_party(row, p, n == 0) for n, p in enumerate(parties)),
        ],
        "consent_events": [_event(row, event, parties, controller) for event in row["events"]],
        "outcome": call["outcome"],
        "minimal": callrows.minimal(row),
    }


def _principal(party: Row) -> str:
    number = callrows.telephone(party.get("number"))
    return f"tel:{number}" if number else f"party:{party['party_id']}"


def _heard(row: Row) -> list[dict[str, Any]]:
    """Every prompt that was heard before an answer, in order."""
    told: list[dict[str, Any]] = []
    for event in row["events"]:
        if event["kind"] == "requested":
            continue
        body = callrows.evidence(event)
        for prompt in body.get("heard") or ([body["prompt"]] if body.get("prompt") else []):
            told.append({**prompt, "event": event["seq"]})
    return told


def _purpose(row: Row, purpose: str, controller: str, edge_id: str) -> dict[str, Any]:
    policy, body = callrows.policy(row), callrows.evidence(callrows.deciding(row))
    granted = callrows.granted(row).get(purpose)
    return {
        "purpose": purpose,
        "purpose_type": "recording of a telephone call",
        "granted": granted is not None,
        "granted_at": granted,
        "lawful_basis": body.get("basis") or policy.get("basis") or None,
        "lawful_basis_reference": body.get("basis_reference") or policy.get("basis_reference") or None,
        "pii_information": [
            {"pii_type": "voice", "pii_attribute_id": "audio", "pii_optional": True, "sensitive_pii_category": False,
             "special_pii_category": False},
            {"pii_type": "telephone number", "pii_attribute_id": "number", "pii_optional": True,
             "sensitive_pii_category": False, "special_pii_category": False},
        ],
        "pii_controllers": [controller],
        "collection_method": "telephone call; answer by key",
        "processing_method": "recorded, encrypted while it is recorded, stored, erased after the retention period",
        "storage_locations": [edge_id],
        "processing_locations": [edge_id],
        "geographic_restrictions": None,
        "retention_period": callrows.retention(row),
        "services": ["telephone"],
        "jurisdiction": policy.get("jurisdiction") or None,
        "recipient_third_parties": [],
        "withdrawal_method": WITHDRAWAL,
        "privacy_rights": list(RIGHTS),
        "codes_of_conduct": None,
        "impact_assessment": None,
        "authority_party": None,
    }  # fmt: skip


def _controller(controller: str, edge_id: str) -> dict[str, Any]:
    return {
        "party_id": controller,
        "party_type": "organization",
        "party_role": "pii_controller",
        "party_name": f"operator of {edge_id}",
    }


def _party(row: Row, party: Row, first: bool) -> dict[str, Any]:
    return {
        "party_id": party["party_id"],
        "party_type": "individual",
        "party_role": "pii_principal",
        "role_in_call": party["role"],
        "party_phone": callrows.telephone(party.get("number")),
        "party_phone_hmac": party.get("number_hmac"),
        "number_class": party.get("number_class"),
        "standing": callrows.standing(row, party, first),
    }


def _event(row: Row, event: Row, parties: list[Row], controller: str) -> dict[str, Any]:
    body, kind = callrows.evidence(event), event["kind"]
    passive = body.get("reason") in _PASSIVE
    ends = kind in callrows.PERMITTING and callrows.retention(row)
    return {
        "event_schema": EVENT_SCHEMA,
        "event_id": event["seq"],
        "event_time": event["at"],
        "event_type": "none" if passive else _TYPES.get(kind, "other"),
        "event_state": _STATES.get(kind, kind),
        "validity_duration": ends or None,
        "entity_id": event.get("party_id") or parties[0]["party_id"] if kind != "requested" else controller,
        "evidence": dict(body),
    }
