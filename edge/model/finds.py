"""What an order about many calls found. Frozen values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: States of a find: restricted and waiting to be destroyed; done.
FIND_STATES: Final = ("waiting", "done")


@dataclass(frozen=True, slots=True)
class Match:
    """A call as whoever reviews a search sees it: no number. `seconds`: None while it goes on; `recordings`: those that
    are not erased; `held`: under a hold."""

    call_id: str
    started_at: str
    seconds: int | None
    policy_id: str
    direction: str
    outcome: str | None
    recordings: int
    held: bool


@dataclass(frozen=True, slots=True)
class Find:
    """A call that an order covers: restricted since `found_at`, destroyed from `shred_at` on; `waits_for`: the obstacle
    that its order has told, "" for none."""

    jti: str
    call_id: str
    found_at: str
    shred_at: str
    state: str
    waits_for: str
