"""The evidence of an answer: what was asked, in which words, how much was heard, which key, under which policy. Pure."""

from __future__ import annotations

from typing import Any

from edge.consent.machine import Decide, PromptFacts
from edge.consent.policy import Policy
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


def base(policy: Policy, edge_id: str) -> dict[str, Any]:
    """What every event's evidence names."""
    return {
        "policy_id": policy.name,
        "policy_version": policy.version,
        "mode": policy.mode,
        "basis": policy.basis,
        "basis_reference": policy.basis_reference,
        "purposes": list(policy.purposes),
        "edge_id": edge_id,
        "software": SOFTWARE,
    }


def asked(policy: Policy, edge_id: str, prompt: PromptFacts) -> dict[str, Any]:
    """Evidence of `requested`: stored before the first sound."""
    return base(policy, edge_id) | {"prompt": _prompt(prompt, 0)}


def decided(policy: Policy, edge_id: str, decision: Decide) -> dict[str, Any]:
    """Evidence of the outcome. `heard` lists every prompt in order; `prompt` is the last, the one that was answered."""
    heard = [_prompt(p, ms) for p, ms in decision.heard]
    return base(policy, edge_id) | {
        "reason": decision.reason,
        "prompt": heard[-1] if heard else None,
        "heard": heard,
        "key": decision.key,
        "keys_pressed": decision.keys_pressed,
        "tries": decision.tries,
    }
