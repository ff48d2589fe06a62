"""Calls as the local door's `why` answers them, made by hand: one for every outcome and reason, and what can be added."""

from __future__ import annotations

import copy
import json
from typing import Any

Row = dict[str, Any]

AT, ANSWERED, END = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:09.500Z", "2026-01-31T12:01:00.000Z"
CALL, PARTY, OTHER, RECORDING = "c1" * 16, "a1" * 16, "a2" * 16, "d1" * 16

#: (outcome, reason, mode, basis): every one that can be.
CASES = (
    ("given", "key", "opt_in", "consent"),
    ("given", "on_file", "prior", "consent"),
    ("notified", "no_objection", "opt_out", "legitimate_interests"),
    ("notified", "played", "notice", "contract"),
    ("notified", "on_file", "prior", "legitimate_interests"),
    ("not_required", "obligation", "obligation", "legal_obligation"),
    ("refused", "key", "opt_in", "consent"),
    ("refused", "silence", "opt_in", "consent"),
    ("refused", "unclear", "prior", "consent"),
    ("refused", "on_file", "opt_in", "consent"),
    ("objected", "key", "opt_out", "public_task"),
    ("objected", "unclear", "notice", "public_task"),
    ("objected", "withdraw", "opt_out", "legitimate_interests"),
    ("withdrawn", "key", "prior", "consent"),
    ("withdrawn", "withdraw", "opt_in", "consent"),
    ("abandoned", "hangup", "opt_in", "consent"),
    ("not_recorded", "manual", "manual", "consent"),
    ("not_recorded", "emergency", "opt_in", "consent"),
    ("not_recorded", "never_number", "opt_in", "consent"),
    ("not_recorded", "policy", "never", "consent"),
    ("unavailable", "ami.down", "opt_in", "consent"),
    ("unavailable", "prompt.missing", "opt_in", "consent"),
    ("unavailable", "a.word.nobody.knows", "opt_in", "consent"),
    ("adopted", "", "opt_in", "consent"),
)
PERMITTING = frozenset({"given", "notified", "not_required"})


def prompt(prompt_id: str = "ask", language: str = "en") -> Row:
    return {
        "prompt_id": prompt_id, "version": "2.0.0", "language": language, "audio_sha256": "ab" * 32, "played_ms": 7000,
        "prompt_ms": 8000, "answerable_from_ms": 5000,
    }  # fmt: skip


def recording(state: str = "sealed", *, flags: tuple[str, ...] = ()) -> Row:
    return {
        "recording_id": RECORDING, "call_id": CALL, "state": state, "ending": "complete", "seconds": 8.5,
        "suite": "age1", "held": False, "reported": True, "started_at": ANSWERED, "ended_at": END, "permit_id": "e1" * 16,
        "segments": [
            {"segment_id": "f1" * 16, "number": 0, "state": "closed", "seconds": 5.0, "payload_bytes": 9, "start_s": 0.0,
             "end_reason": "pause"},
            {"segment_id": "f2" * 16, "number": 1, "state": "closed", "seconds": 3.5, "payload_bytes": 9, "start_s": 12.0,
             "end_reason": "hangup"},
        ],
        "codec": "sln", "rate": 8000, "channels": 2, "end_reasons": ["pause", "hangup"],
        "tombstone": {"erased_at": END, "cause": "withdrawal", "receipt_id": None} if state == "erased" else None,
        "flags": [{"flag": flag, "detail": "", "at": ANSWERED} for flag in flags],
    }  # fmt: skip


def call_row(outcome: str | None, reason: str = "", mode: str = "opt_in", basis: str = "consent", **more: Any) -> Row:
    """A call with the evidence that its outcome has. more: members of the row instead of these."""
    asked = reason not in ("manual", "emergency", "never_number", "policy", "obligation", "a.word.nobody.knows", "")
    body: Row = {
        "policy_id": "support", "policy_version": "9f" * 32, "mode": mode, "basis": basis,
        "basis_reference": "notice 3.1", "purposes": ["quality", "evidence"], "edge_id": "edge-1",
        "software": "callwarden 0.1", "reason": reason, "prompt": prompt() if asked else None,
        "heard": [prompt()] if asked else [], "key": "1" if reason == "key" else "",
        "keys_pressed": "71" if reason == "key" else "", "tries": 1,
    }  # fmt: skip
    if reason == "on_file":
        body["on_file"] = 77
    events = [_event(1, "requested", AT, body | {"heard": [], "key": "", "keys_pressed": ""})] if asked else []
    permits = []
    if outcome in PERMITTING or reason == "withdraw":
        kind = outcome if outcome in PERMITTING else "given" if basis == "consent" else "notified"
        events.append(_event(2, str(kind), ANSWERED, body | {"reason": "key"} if reason == "withdraw" else body))
        permits = [
            {"permit_id": "e1" * 16, "event_seq": 2, "purposes": ["quality"], "policy_version": "9f" * 32,
             "granted_at": ANSWERED, "revoked_at": END if reason == "withdraw" else None}
        ]  # fmt: skip
    if outcome is not None and outcome not in PERMITTING:
        late = body | {"by": "callee", "actor": "PJSIP/x-1", "reason": "asked"} if reason == "withdraw" else body
        events.append(_event(3, outcome, ANSWERED if reason != "withdraw" else END, late))
    row: Row = {
        "call": {
            "call_id": CALL, "linked_id": "1769860800.1", "direction": "inbound", "policy": "support",
            "policy_version": "9f" * 32, "mode": mode, "purposes": ["quality", "evidence"],
            "state": "asking" if outcome is None else "ended", "outcome": outcome, "language": "en", "started_at": AT,
            "ended_at": None if outcome is None else END, "caller": "+420777123456", "number_class": "plain",
        },
        "events": events,
        "permit": permits[-1] if permits else None,
        "permits": permits,
        "policy_document": json.dumps({"retention": {"recordings": "P6M"}, "basis": basis, "jurisdiction": "CZ"}),
        "recordings": [recording()] if permits else [],
        "parties": [
            {"party_id": PARTY, "role": "caller", "number": "+420777123456", "number_class": "plain", "standing": "none",
             "legs": [{"channel_uid": "1.1", "channel_name": "PJSIP/a-1", "joined_at": AT, "left_at": END}]}
        ],
        "pauses": [],
        "notices": [],
        "due": [],
    }  # fmt: skip
    return copy.deepcopy(row | more)


def _event(seq: int, kind: str, at: str, body: Row) -> Row:
    return {"seq": seq, "kind": kind, "at": at, "party_id": PARTY, "evidence": body}


def pause(reason: str = "asked", ended: str | None = "2026-01-31T12:00:30.000Z", name: str = "PJSIP/agent1") -> Row:
    return {
        "reason": reason, "by": {"kind": "agent", "name": name}, "began_at": "2026-01-31T12:00:20.000Z",
        "until_at": None, "ended_at": ended, "ended_by": {"kind": "system", "name": ""} if ended else None,
    }  # fmt: skip


def with_third(row: Row, kind: str) -> Row:
    """The same with a further party that answered `kind` in the bridge."""
    standing = "given" if kind == "given" else "refused"
    body = row["events"][-1]["evidence"] | {"reason": "key", "key": "1" if kind == "given" else "5"}
    body.pop("by", None)
    third = {
        "party_id": OTHER, "role": "third", "number": "00491512345678", "number_class": "plain", "standing": standing,
        "legs": [{"channel_uid": "1.9", "channel_name": "PJSIP/t-9", "joined_at": ANSWERED, "left_at": None}],
    }  # fmt: skip
    event = {"seq": 9, "kind": kind, "at": END, "party_id": OTHER, "evidence": body}
    return copy.deepcopy(row | {"parties": [*row["parties"], third], "events": [*row["events"], event]})
