"""The heartbeat: what central must know of this edge even when no call comes."""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from edge.ports import Clock, Journal
from edge.sync.uplink import Uplink
from formats import canonical
from formats.checkpoint import Checkpoint
from formats.heartbeat import Heartbeat, plain_text
from formats.note import Note


@dataclass(frozen=True, slots=True)
class Vitals:
    """What only the running daemon knows; members as in `formats.heartbeat.Heartbeat`."""

    policy: str
    unsealed: float
    version: str
    free: int
    spool: int
    live: int
    ready: bool
    why: str


class Heart:
    """One start of the daemon. `vitals` is asked before each beat."""

    def __init__(self, uplink: Uplink, journal: Journal, clock: Clock, vitals: Callable[[], Vitals]) -> None:
        self._uplink = uplink
        self._journal = journal
        self._clock = clock
        self._vitals = vitals
        self._session = secrets.token_hex(16)
        self._started = clock.wall_text()
        self._n = 0
        self._lag = Lag()

    async def beat(self) -> None:
        """Send one. Raises CallwardenError sync.*, journal.*"""
        path = self._uplink.edge_path("heartbeat")
        await self._uplink.post(path, msgspec.json.encode(await self.made(), order="sorted"))

    async def made(self) -> Heartbeat:
        """The next heartbeat."""
        vitals = self._vitals()
        span = await self._journal.outbox_span()
        waiting, _ = await self._journal.outbox_depth()
        checkpoint = await self._journal.last_checkpoint()
        head = Checkpoint.parse(Note.parse(checkpoint.note).text) if checkpoint is not None else None
        self._n += 1
        return Heartbeat(
            session=self._session,
            n=self._n,
            at=self._clock.wall_text(),
            started=self._started,
            instance=self._journal.incarnation,
            policy=vitals.policy,
            outbox=waiting,
            oldest=self._lag.seconds(span, self._clock.mono_ns()),
            unsealed=vitals.unsealed,
            log=head.origin if head else "",
            size=head.size if head else 0,
            root=head.root.hex() if head else "",
            version=vitals.version,
            free=vitals.free,
            spool=vitals.spool,
            live=vitals.live,
            ready=vitals.ready,
            why=plain_text(vitals.why),
        )


class Lag:
    """How long the oldest event has been waiting. Rows have no time of their own, so each look notes the newest number: what
    is not above it was there then. It is short by one heartbeat at most, and begins anew with the daemon."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque()

    def seconds(self, span: tuple[int, int] | None, now_ns: int) -> float:
        """span: numbers of the oldest and the newest event that wait."""
        if span is None:
            self._looks.clear()
            return 0.0
        oldest, newest = span
        if not self._looks or self._looks[-1][0] < newest:
            self._looks.append((newest, now_ns))
        while self._looks[0][0] < oldest:
            self._looks.popleft()
        return (now_ns - self._looks[0][1]) / 1e9


def policy_hash(versions: Mapping[str, str]) -> str:
    """SHA-256 over the names of an edge's policies and their versions, hex."""
    return hashlib.sha256(canonical.dumps(dict(versions))).hexdigest()
