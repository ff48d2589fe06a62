"""What the stage of calls knows of its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.calls.lamps import Lamps
from edge.consent.policy import Policy
from edge.errors import CallwardenError
from edge.ports import Clock, Dialogue, Journal, PromptPort, RecorderPort, Slots


@dataclass(frozen=True, slots=True)
class World:
    """The stage's neighbours.

    policy_for: the policy a call is under. not_ready: why nothing may be recorded now, or None. slots: where the key of
    the remembered numbers lies. numbers: the country and the special numbers of now.
    """

    journal: Journal
    recorder: RecorderPort
    prompts: PromptPort
    clock: Clock
    edge_id: str
    policy_for: Callable[[Dialogue], Policy | None]
    not_ready: Callable[[], CallwardenError | None]
    slots: Slots
    lamps: Lamps
