"""The permit: the value without which no recording starts.

Only this module can build one, and only from an event that permits audio. The recorder's one entry takes a `Permit`,
so a code path that never asked cannot start a recording even by mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Kinds of consent events that let audio be kept. Only `given` is consent; the others rest on another legal basis.
PERMITTING: Final = frozenset({"given", "notified", "not_required"})

_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to record one call for the named purposes under one policy version. Build it with `grant`."""

    permit_id: str
    call_id: str
    kind: str
    purposes: tuple[str, ...]
    policy_id: str
    policy_version: str
    _seal: object

    def __post_init__(self) -> None:
        if self._seal is not _SEAL:
            raise TypeError("a Permit is built only by edge.consent.permit.grant")


def grant(
    permit_id: str, call_id: str, kind: str, purposes: Sequence[str], policy_id: str, policy_version: str
) -> Permit:
    """A permit from a permitting event. Raises ValueError for a kind that permits nothing or for no purpose at all."""
    if kind not in PERMITTING:
        raise ValueError(f"{kind!r} permits no recording")
    if not purposes:
        raise ValueError("a permit names at least one purpose")
    return Permit(permit_id, call_id, kind, tuple(purposes), policy_id, policy_version, _SEAL)
