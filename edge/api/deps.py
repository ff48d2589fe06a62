"""What the local door needs from the daemon, as Protocols and one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.ports import Journal, Slots, Vault

Json = dict[str, Any]


class Reader(Protocol):
    """Read models of the journal, JSON-able. Each call uses one short read-only transaction."""

    async def calls(self) -> Sequence[Json]:
        """Newest first: call_id linked_id policy mode outcome caller started_at ended_at state recordings."""
        ...

    async def recordings(self) -> Sequence[Json]:
        """Newest first: recording_id call_id state ending seconds suite held reported segments."""
        ...

    async def find_call(self, text: str) -> Sequence[str]:
        """Ids of the calls that `text` may mean: a call id, a linked id, or at least 6 first digits of a call id."""
        ...

    async def why(self, call_id: str) -> Json | None:
        """Stored rows about one call; None when there is no such call."""
        ...

    async def status(self) -> Json:
        """Counts of the journal: live recordings, outbox, audit size, checkpoints, alarms."""
        ...


def nothing() -> Mapping[str, Any]:
    """Readiness of a daemon that does not run."""
    return {}


@dataclass(frozen=True)
class ApiDeps:
    """edge_id: this edge's name. edge_jwk: its public key (JWK). readiness: name -> value of what only the running
    daemon knows, with `ready` (bool) and `reason` (text) among it; empty when the daemon is stopped."""

    edge_id: str
    edge_jwk: Mapping[str, str]
    journal: Journal
    reader: Reader
    slots: Slots
    vault: Vault
    readiness: Callable[[], Mapping[str, Any]] = nothing
