"""The sync stage: four loops over one uplink. Each is woken by the journal's commits and backs off when central is away.

Nothing here holds state that matters: what is to be sent is in the journal, and every exchange may be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from edge.errors import CallwardenError
from edge.gate import Gate
from edge.ports import Clock, Journal, Slots
from edge.sync.audit import AuditMirror
from edge.sync.backoff import Backoff
from edge.sync.certificates import LOOK_S, Certificates
from edge.sync.elsewhere import Elsewhere
from edge.sync.heart import Heart, Vitals
from edge.sync.inbox import Inbox
from edge.sync.keeper import Keeper
from edge.sync.media import MediaLink
from edge.sync.numbers import Numbers
from edge.sync.pump import Pump
from edge.sync.receipts import ReceiptSender
from edge.sync.uplink import Uplink
from formats.heartbeat import EVERY_S
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.note import COSIGNATURE, NoteKey

_log = structlog.get_logger("sync")

#: Commits within this span share one batch: requests, signatures and central's commits cost per batch, not per call.
COALESCE_S = 1.0
#: A look without being woken: checkpoints are made without a commit that wakes us.
IDLE_S = 15.0


def incarnation_of(incarnation: str) -> int:
    """The number under which a journal's events are counted: 48 bits of its random instance id, so that a journal that was
    made anew never reuses numbers central knows; once it was put back from a backup, of the hash of its incarnation."""
    instance_id, _, restores = incarnation.partition("/")
    return int((hashlib.sha256(incarnation.encode()).hexdigest() if restores else instance_id)[:12], 16)


class Sync:
    """Everything edge says to central. `trust` is the pinned key set; `witness_name` the name in its cosignatures,
    which is the owner of the witness's entry; `incarnation`: see `incarnation_of`; `gate`: nothing of calls is sent while it is
    shut; `state`: the folder of the TLS certificate, None for who wants none; `vitals`: None for who sends no heartbeat;
    `search_key`: the file of the fleet's search key, which is fetched when there is need of it."""

    def __init__(
        self,
        *,
        url: str,
        edge_id: str,
        key: SigningKey,
        ca_pem: bytes | None,
        trust: KeySet,
        witness_name: str,
        journal: Journal,
        slots: Slots,
        clock: Clock,
        incarnation: int,
        delivered: Callable[[], None] = lambda: None,
        gate: Gate | None = None,
        state: Path | None = None,
        vitals: Callable[[], Vitals] | None = None,
        search_key: Path,
    ) -> None:
        self._uplink = Uplink(url, edge_id, key, ca_pem=ca_pem, clock=clock, random_bytes=os.urandom, trust=trust)
        self._journal = journal
        witnesses = [NoteKey(witness_name, COSIGNATURE, one.key) for one in trust.with_role("witness")]
        numbers = Numbers(self._uplink, journal, trust, search_key)
        self._pump = Pump(self._uplink, journal, slots, clock, incarnation, numbers)
        self._audit = AuditMirror(self._uplink, journal, witnesses)
        self._receipts = ReceiptSender(self._uplink, journal, clock)
        self.elsewhere = Elsewhere(self._uplink, lambda: self._inbox.poll(0))
        self._inbox = Inbox(self._uplink, journal, slots, trust, clock, delivered, self.elsewhere)
        self._wakes = {name: asyncio.Event() for name in ("events", "audit", "receipts")}
        self._failing: dict[str, str] = {}
        self._gate = gate or Gate()
        self.keeper = Keeper(self._uplink, trust)
        secure = state is not None and url.startswith("https:")
        self._certificates = Certificates(self._uplink, journal, clock, state) if secure and state else None
        self._heart = Heart(self._uplink, journal, clock, vitals) if vitals is not None else None
        self.media = MediaLink(self._uplink)

    async def run(self) -> None:
        """Until cancelled. Central being away is not an error here."""
        self._journal.on_new(self.wake)
        self.wake()
        try:
            async with asyncio.TaskGroup() as group:
                if self._certificates is not None:
                    await self._certificates.begin()
                    group.create_task(self._regularly("certificate", self._certificates.look, LOOK_S))
                if self._heart is not None:
                    group.create_task(self._regularly("heartbeat", self._heart.beat, EVERY_S))
                await self._gate.wait()
                group.create_task(self._outgoing("events", self._pump.send))
                group.create_task(self._outgoing("audit", self._audit.send))
                group.create_task(self._outgoing("receipts", self._receipts.send))
                group.create_task(self._incoming())
        finally:
            await self._uplink.close()

    def wake(self) -> None:
        """There may be something to send."""
        for event in self._wakes.values():
            event.set()

    async def flush(self) -> None:
        """Send everything that waits, now. Raises CallwardenError sync.* (the stop of the daemon and tests use it)."""
        while await self._pump.send():
            pass
        await self._receipts.send()
        await self._audit.send()

    async def close(self) -> None:
        """Close the connections (after `flush` without `run`)."""
        await self._uplink.close()

    def status(self) -> dict[str, Any]:
        """For `callwarden status`: `central_up`, and the last error of each loop that fails now."""
        return {"central_up": not set(self._failing) - {"certificate"}, "errors": dict(self._failing)}

    async def _outgoing(self, name: str, step: Callable[[], Awaitable[int]]) -> None:
        wake, backoff = self._wakes[name], Backoff(random.random)
        while True:
            try:
                await asyncio.wait_for(wake.wait(), IDLE_S)
                await asyncio.sleep(COALESCE_S)
            except TimeoutError:
                pass
            wake.clear()
            if await self._try(name, step):
                backoff.success()
            else:
                await asyncio.sleep(backoff.failure())
                wake.set()

    async def _regularly(self, name: str, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        """About every so many seconds, not in step with other edges; sooner after a failure."""
        backoff = Backoff(random.random)
        while True:
            wait = every_s * random.uniform(0.9, 1.1)  # noqa: S311 - nothing to guess
            if await self._try(name, self._one(work)):
                backoff.success()
            else:
                wait = min(wait, backoff.failure())
            await asyncio.sleep(wait)

    @staticmethod
    def _one(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[int]]:
        async def once() -> int:
            await work()
            return 0

        return once

    async def _try(self, name: str, step: Callable[[], Awaitable[int]]) -> bool:
        """Repeat `step` while it has work; False when it failed."""
        try:
            while await step():
                pass
        except CallwardenError as error:
            self._failed(name, error)
            return False
        except Exception:
            # One loop's bug must neither stop the others nor the recording of calls.
            _log.exception("bug", loop=name)
            self._failing[name] = "bug"
            return False
        if self._failing.pop(name, None):
            _log.info("central is back", loop=name)
        return True

    async def _incoming(self) -> None:
        backoff = Backoff(random.random)
        while True:
            # An answer without progress (a delivery we refuse) must not become a busy loop.
            # After a failure ask without waiting, so that we know at once that central is back.
            poll = partial(self._inbox.poll, 0) if "deliveries" in self._failing else self._inbox.poll
            if await self._try("deliveries", poll) and not self._inbox.stuck:
                backoff.success()
            else:
                await asyncio.sleep(backoff.failure())

    def _failed(self, name: str, error: CallwardenError) -> None:
        if self._failing.get(name) != error.code:
            _log.warning("central", loop=name, code=error.code, what=error.message, where=error.where)
        self._failing[name] = error.code
