"""What the local door needs from the daemon, as Protocols and one frozen value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from edge.errors import CallwardenError
from edge.model.holds import HoldRow
from edge.ports import Journal, LiveCalls, Slots, Vault
from edge.ports.adopting import AdoptPort
from edge.ports.integrity import InspectorPort
from formats.keyset import KeySet

Json = dict[str, Any]


class KeyFacts(Protocol):
    """What of the configuration in effect says who may open what."""

    def recipients_of(self, policy: str) -> Sequence[str] | None:
        """Recipients of what is recorded now under the policy of this name; None where there is none."""
        ...

    def policies(self) -> Mapping[str, Json]:
        """Every policy that records: `recipients`, in order."""
        ...


class Reader(Protocol):
    """Read models of the journal, JSON-able. Each call uses one short read-only transaction."""

    async def calls(self) -> Sequence[Json]:
        """Newest first: call_id linked_id policy mode outcome caller started_at ended_at state recordings."""
        ...

    async def recordings(self) -> Sequence[Json]:
        """Newest first: recording_id call_id state ending seconds suite held reported segments."""
        ...

    async def find_call(self, text: str) -> Sequence[str]:
        """Ids of the calls that `text` may mean: a call id, a linked id, a channel's uniqueid, or at least 6 first digits
        of a call id."""
        ...

    async def why(self, call_id: str) -> Json | None:
        """Stored rows about one call; None when there is no such call."""
        ...

    async def receipts(self, subject: str) -> Sequence[Json]:
        """Receipts of the recording, order or ground with this id, or the receipt itself, oldest first: receipt_id jti n
        result sent jws order (its document, None where the receipt stands on a ground)."""
        ...

    async def reads(self, recording_id: str) -> Sequence[Json]:
        """Entries of the audit log about who read it, or tried to, oldest first: at index kind uid purpose, and as far
        as they have it case form segment from_ms to_ms first_byte end_byte why."""
        ...

    async def outages(self) -> Sequence[Json]:
        """from to: when no daemon was there, oldest first. The last has to = null: since then nobody has been seen, which
        means something only while no daemon runs."""
        ...

    async def status(self) -> Json:
        """Counts of the journal: live recordings, outbox, audit size, checkpoints, alarms."""
        ...


def served() -> CallwardenError | None:
    """Nothing stands in the way of reads."""
    return None


class RetentionDesk(Protocol):
    """What people ask about how long things are kept. Raises CallwardenError; daemon.stopped where a daemon must act."""

    async def plan(self, policy: str | None, at: datetime | None) -> Mapping[str, Any]:
        """What would go by `at` and why (docs/cli.md)."""
        ...

    def run(self) -> Mapping[str, Any]:
        """Have everything looked at now."""
        ...

    async def approve(self, scopes: Sequence[str], by: str) -> Mapping[str, Any]:
        """These policies' retention counts from now on as it is configured; "": what belongs to no policy; none named: all."""
        ...

    async def clock_ok(self, by: str) -> Mapping[str, Any]:
        """The clock is right."""
        ...

    async def place(self, hold: Mapping[str, str | None], by: str) -> HoldRow:
        """`hold`: kind, scope, target, reason, case, label."""
        ...

    async def release(self, hold_id: str, by: str) -> HoldRow:
        """Ask for it, or complete it as a second person."""
        ...


class ErasurePort(Protocol):
    """What people at this edge ask about erasing, and corrections. Raises CallwardenError."""

    async def locate(self, number: str, as_of: str, uid: int) -> Mapping[str, Any]: ...
    async def take(self, order: Mapping[str, Any], opening: object, uid: int) -> Mapping[str, Any]: ...
    async def orders(self) -> Sequence[Mapping[str, Any]]: ...
    async def certificate(self, recording_id: str) -> Mapping[str, Any]: ...
    async def in_force(self) -> Mapping[str, Any]: ...
    async def rectify(self, call_id: str, changes: Mapping[str, str], reason: str, uid: int) -> Mapping[str, Any]: ...


def nothing() -> Mapping[str, Any]:
    """Readiness of a daemon that does not run."""
    return {}


@dataclass(frozen=True)
class ApiDeps:
    """edge_id: this edge's name. edge_jwk: its public key (JWK). readiness: name -> value of what only the running
    daemon knows, with `ready` (bool) and `reason` (text) among it; empty when the daemon is stopped. live: what can be
    asked of a call that goes on; adopt: what takes files over; both
    None when the daemon is stopped. reload: read the policies anew and answer what changed,
    or raise config.* and change nothing. attest: a General JWS of (typ, payload) by the edge's key; the desk calls it only
    with documents it made itself. refusal: why nothing is given out now (a restored journal that is not settled), or None.
    accepted: somebody let a restored journal serve. inspector: holds rows against files. retention: plans and holds; None
    where the caller has none. keys: who may open what. trust: the keys that are believed; erasure: orders by hand and corrections;
    both None when the daemon is stopped."""

    edge_id: str
    edge_jwk: Mapping[str, str]
    journal: Journal
    reader: Reader
    slots: Slots
    vault: Vault
    readiness: Callable[[], Mapping[str, Any]] = nothing
    live: LiveCalls | None = None
    adopt: AdoptPort | None = None
    reload: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    attest: Callable[[str, bytes], Mapping[str, Any]] | None = None
    refusal: Callable[[], CallwardenError | None] = served
    accepted: Callable[[], None] = lambda: None
    inspector: InspectorPort | None = None
    retention: RetentionDesk | None = None
    trust: KeySet | None = None
    keys: KeyFacts | None = None
    erasure: ErasurePort | None = None
