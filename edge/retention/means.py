"""What retention works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from edge.consent.units import Period
from edge.ports import Clock, Journal, KeeperPort, LiveCalls, RecorderPort, Slots, Vault
from formats.keys import SigningKey
from formats.keyset import KeySet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Means:
    """The executor's neighbours. `keeper`: None where no central is configured. `minimum_of`: policy id to its minimum
    retention. `head`: a signed note over the audit log as it stands, or None. `live`: who carries out orders about calls
    that are going on; None refuses them. `digest`: a number in E.164 to its HMAC under this edge's key, the form in which
    it outlives an erasure; None: no number does."""

    journal: Journal
    slots: Slots
    vault: Vault
    recorder: RecorderPort
    keeper: KeeperPort | None
    clock: Clock
    key: SigningKey
    trust: KeySet
    edge_id: str
    minimum_of: Callable[[str], Period]
    head: Callable[[], Awaitable[str | None]]
    worker: ThreadPoolExecutor
    live: LiveCalls | None = None
    digest: Callable[[str], Awaitable[str]] | None = None

    async def in_worker(self, work: Callable[[], T]) -> T:
        """Run what blocks in the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, work)


def fleet_of(trust: KeySet) -> str | None:
    """The fleet this edge was enrolled in: its witness signs as callwarden/FLEET/witness. None where none is pinned."""
    for witness in trust.with_role("witness"):
        parts = witness.owner.split("/")
        if len(parts) == 3 and (parts[0], parts[2]) == ("callwarden", "witness"):
            return parts[1]
    return None
