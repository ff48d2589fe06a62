"""The evidence of an answer: who was asked what, in which words, how much was heard, which key, under which policy. Pure."""

from __future__ import annotations

from typing import Any

from edge.calls.parties import Who
from edge.consent.policy import Policy
from edge.consent.script import Decide, PromptFacts
from edge.model.software import SOFTWARE


def _prompt(prompt: PromptFacts, played_ms: int) -> dict[str, Any]:
    return {
        "prompt_id": prompt.prompt_id,
        "version": prompt.version,
        "language": prompt.language,
        "audio_sha256": prompt.audio_sha256,
        "played_ms": played_ms,
        "prompt_ms": prompt.duration_ms,
        "answerable_from_ms": prompt.answerable_from_ms,
    }


def base(policy: Policy, edge_id: str, who: Who | None = None) -> dict[str, Any]:
    """What every event's evidence names."""
    found: dict[str, Any] = {
        "policy_id": policy.name,
        "policy_version": policy.version,
        "mode": policy.mode,
        "basis": policy.basis,
        "basis_reference": policy.basis_reference,
        "purposes": list(policy.purposes),
        "edge_id": edge_id,
        "software": SOFTWARE,
    }
    if who is not None:
        # No number: it stands beside the call, in the party's row, where an erasure can take it away.
        found["party"] = {
            "party_id": who.party_id, "role": who.role, "number_class": who.number_class,
            "channel_uid": who.channel_uid, "linked_id": who.linked_id,
        }  # fmt: skip
    return found


def asked(policy: Policy, edge_id: str, prompt: PromptFacts, who: Who | None = None) -> dict[str, Any]:
    """Evidence of `requested`: stored before the first sound."""
    return base(policy, edge_id, who) | {"prompt": _prompt(prompt, 0)}


def decided(policy: Policy, edge_id: str, decision: Decide, who: Who | None = None) -> dict[str, Any]:
    """Evidence of the outcome. `heard` lists every prompt in order; `prompt` is the last, the one that was answered (of
    `not_required`: the one that is played next, with 0 ms of it)."""
    heard = [_prompt(p, ms) for p, ms in decision.heard]
    last = heard[-1] if heard else None
    if decision.say_after is not None:
        last = _prompt(decision.say_after, 0)
    return base(policy, edge_id, who) | {
        "reason": decision.reason,
        "prompt": last,
        "heard": heard,
        "language": decision.language,
        "key": decision.key,
        "keys_pressed": decision.keys_pressed,
        "tries": decision.tries,
        "granted": list(decision.purposes),
        "further": [
            {"purposes": list(f.purposes), "granted": f.granted, "reason": f.reason, "key": f.key}
            for f in decision.further
        ],
        "on_file": decision.reference,
    }


def told(policy: Policy, edge_id: str, decision: Decide, played_ms: int, ended: str, who: Who) -> dict[str, Any]:
    """Evidence of a notice that was played once the recording ran (`obligation`), or of why it was not heard to its end:
    `ended` is `played`, `hangup` or an error code."""
    assert decision.say_after is not None
    one = _prompt(decision.say_after, played_ms)
    return decided(policy, edge_id, decision, who) | {
        "prompt": one, "heard": [one], "language": decision.say_after.language, "notice": ended,
    }  # fmt: skip
