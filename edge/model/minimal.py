"""What is left of an answer's evidence once the audio is erased. Pure (docs/spec/evidence.md, "Minimal record")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: How much is stored of a call's evidence.
STAGES: Final = ("full", "minimal", "expired")
#: Members of evidence that stay. Who it was, on which channel, how long each prompt was heard and every key but the one
#: that decided do not.
_KEPT: Final = (
    "policy_id", "policy_version", "mode", "basis", "basis_reference", "purposes", "granted", "further", "on_file",
    "reason", "key", "by", "language", "adopted",
)  # fmt: skip
_PROMPT: Final = ("prompt_id", "version", "language", "audio_sha256")


def minimal(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The minimal record of one event; applied again it changes nothing."""
    kept = {name: evidence[name] for name in _KEPT if name in evidence}
    if "by" in kept:
        kept.pop("reason", None)  # of somebody who acted in mid-call: their own words
    if isinstance(prompt := evidence.get("prompt"), Mapping):
        kept["prompt"] = _prompt(prompt)
    if isinstance(heard := evidence.get("heard"), list):
        kept["heard"] = [_prompt(one) for one in heard if isinstance(one, Mapping)]
    return kept


def to_the_minute(at: str) -> str:
    """A time of the journal (RFC 3339 UTC with milliseconds) without its seconds."""
    return f"{at[:16]}:00.000Z"


def _prompt(prompt: Mapping[str, Any]) -> dict[str, Any]:
    return {name: prompt[name] for name in _PROMPT if name in prompt}
