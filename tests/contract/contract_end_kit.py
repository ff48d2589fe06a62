"""An edge with a door, an executor and a real central, as far as the end of a contract needs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from central import setup
from edge.audit.checkpoints import Checkpointer
from edge.retention.executor import Executor
from edge.retention.means import Bounds
from edge.vault.payloads import PayloadVault
from formats.keys import dump_key
from tests.contract.recovery_kit import syncing, vault_of
from tests.contract.test_central_erase import means
from tests.unit.central.central_kit import TestCentral
from tests.unit.cli import cli_makers as make
from tests.unit.retention.test_many import Clock, digest
from tests.unit.sync.sync_kit import SyncEdge


@dataclass
class Fleet:
    """dpo, trust: files. Its executor's clock runs ahead while it works, so that the window ends."""

    central: TestCentral
    sync: SyncEdge
    executor: Executor
    clock: Clock
    dpo: Path
    trust: Path

    async def exchange(self, **later: float) -> None:
        self.clock.go(**later)
        await self.sync.sync._inbox.poll(0)
        await self.executor.once()
        await self.sync.checkpointer.make()
        await self.sync.sync.flush()

    async def complete(self) -> bool:
        """Whether there is an order, and nothing more to do for any."""
        found = await self.central.rows("SELECT jti FROM orders")
        asked = [await self.central.admin("GET", f"/v1/orders/{jti}") for (jti,) in found]
        return bool(asked) and all(answer["complete"] for _, answer in asked)

    @asynccontextmanager
    async def working(self, hours: float = 9) -> AsyncIterator[None]:
        """As `working_together`, alone."""
        async with working_together(self, hours=hours):
            yield


@asynccontextmanager
async def working_together(*fleets: Fleet, hours: float = 9) -> AsyncIterator[None]:
    """Orders are taken and carried out meanwhile at every edge, `hours` of their clocks at each look; once all are complete
    central's clock is let come after, since a certificate is not older than its receipts."""

    async def work() -> None:
        while not await fleets[0].complete():
            for one in fleets:
                await one.exchange(hours=hours)
            await asyncio.sleep(0.05)
        for one in fleets:
            await one.exchange()
        fleets[0].central.offset = max(one.clock.ahead for one in fleets)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        for found in await asyncio.gather(task, return_exceptions=True):
            if isinstance(found, Exception):
                raise found


async def recorded(edge: make.Edge, files: make.Opened, central: TestCentral) -> None:
    """Calls of every kind that is over, under the policy `support`, at an edge that central knows."""
    setup.register_edge(central.config, edge.loaded.edge.id, edge.key.verify_key)
    edge.facts = {
        "two": await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)]),
        "cut": await make.record(edge, files, [make.sound(9, 3)], end="truncated"),
        "refused": await make.add_call(files, outcome="refused"),
        "erased": await make.record(edge, files, [make.sound(2, 4)]),
    }
    await make.erase(files, edge.facts["erased"])


@asynccontextmanager
async def ended(
    edge: make.Edge, central: TestCentral, files: make.Opened, folder: Path, bounds: Bounds
) -> AsyncIterator[Fleet]:
    """Beside a served door over `files`; what is recorded was reported."""
    edge_id = edge.loaded.edge.id
    dpo, trust = folder / "dpo.jwk", folder / "central-trust.json"
    dpo.write_bytes(dump_key(central.dpo))
    trust.write_bytes(setup.trust(central.config).dump())
    clock = Clock()
    with ThreadPoolExecutor(1) as worker:
        search_key = central.folder / f"{edge_id}-search.key"
        async with syncing(edge, files, central, edge_id=edge_id, search_key=search_key) as sync:
            made = SyncEdge(
                central, folder, edge.key, files.journal, files.slots, sync, Checkpointer(files.journal, edge.key)
            )

            async def head() -> str | None:
                found = await made.checkpointer.make()
                return found.note if found else None

            vault = PayloadVault(str(vault_of(edge)))
            executor = Executor(
                means(
                    made, vault, worker, clock=clock, digest=digest, head=head,
                    bounds=lambda: bounds, edge_id=edge_id, trust=setup.trust(central.config, edge_id),
                )
            )  # fmt: skip
            await sync.flush()
            yield Fleet(central, made, executor, clock, dpo, trust)
