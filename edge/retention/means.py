"""What retention works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from edge.consent.units import Period
from edge.gate import Gate
from edge.policybook import PolicyBook
from edge.ports import ElsewherePort, KeeperPort, LiveCalls, RecorderPort, Slots, Vault
from edge.retention.sight import Sight
from formats.keys import SigningKey
from formats.keyset import KeySet

T = TypeVar("T")


_LATE: Final = Period("P7D")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of orders about many calls. window: seconds in which such an order can be cancelled; late: how long after that
    calls are looked for; daily_share: percent of the recordings that go within 24 hours under one DPO's key; daily_free:
    recordings that need no second key whatever their share."""

    window: float = 86400.0
    late: Period = _LATE
    daily_share: int = 10
    daily_free: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Means(Sight):
    """The executor's neighbours. `keeper`: None where no central is configured. `head`: a signed note over the audit log as it
    stands, or None. `live`: who carries out orders about calls that are going on; None refuses them. `digest`: a number in
    E.164 to its HMAC under this edge's key, the form in which it outlives an erasure; None: no number does.
    `witness_elsewhere`: central runs on another machine, so its clock is another one. `bounds`: of orders about many calls,
    as configured now. `rewrap`: takes a header for a segment of a recording, as the local door does; None: nobody can.
    `uploads`: wakes who uploads what is wanted (`OrderedBook.wanted_media`) and says so by `media_served`; None: nobody does.
    `policy_desk`: takes policies that orders bring; None: nobody does."""

    slots: Slots
    vault: Vault
    recorder: RecorderPort
    keeper: KeeperPort | None
    key: SigningKey
    trust: KeySet
    edge_id: str
    head: Callable[[], Awaitable[str | None]]
    worker: ThreadPoolExecutor
    live: LiveCalls | None = None
    digest: Callable[[str], Awaitable[str]] | None = None
    witness_elsewhere: bool = False
    elsewhere: ElsewherePort | None = None
    gate: Gate = field(default_factory=Gate)
    bounds: Callable[[], Bounds] = Bounds
    rewrap: Callable[[str, int, Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None
    uploads: Callable[[], None] | None = None
    policy_desk: PolicyBook | None = None

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
