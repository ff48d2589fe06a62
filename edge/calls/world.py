"""What the stage of calls knows of its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edge.calls.lamps import Lamps
from edge.consent.policy import Policy
from edge.errors import CallwardenError
from edge.number_key import NumberKey
from edge.ports import Clock, Dialogue, Journal, PromptPort, RecorderPort


class Telephony(Protocol):
    """`[telephony]` of the configuration."""

    @property
    def country(self) -> str: ...
    @property
    def emergency(self) -> tuple[str, ...]: ...
    @property
    def prefixes(self) -> tuple[str, ...]: ...
    @property
    def trunks(self) -> tuple[str, ...]: ...
    @property
    def never_numbers(self) -> tuple[str, ...]: ...
    @property
    def shared_numbers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class World:
    """The stage's neighbours.

    policy_for: the policy a call is under. not_ready: why nothing may be recorded now, or None.
    number_key: makes the HMACs under which numbers are remembered. telephony: the country and the special numbers as they
    are configured now. silent_prior: whether the policy's jurisdiction lets a verified caller's consent on file stand
    without a reminder.
    warned: what was said once and need not be said again.
    """

    journal: Journal
    recorder: RecorderPort
    prompts: PromptPort
    clock: Clock
    edge_id: str
    policy_for: Callable[[Dialogue], Policy | None]
    not_ready: Callable[[], CallwardenError | None]
    number_key: NumberKey
    telephony: Callable[[], Telephony]
    silent_prior: Callable[[Policy], bool]
    lamps: Lamps
    warned: set[tuple[str, str]] = field(default_factory=set)
