"""A filled edge beside a real central over HTTPS, and the command with that central in its surroundings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from central import setup
from edge.sync.service import Sync
from tests.unit.central.central_kit import TestCentral
from tests.unit.cli import cli_makers as make
from tests.unit.sync.sync_kit import SyncEdge


def surroundings(central: TestCentral) -> dict[str, str]:
    """What names a central to the command."""
    config = central.config
    return {"CENTRAL_URL": central.url, "CENTRAL_TOKEN": str(config.token), "CENTRAL_CA": str(config.ca)}


@asynccontextmanager
async def syncing(edge: make.Edge, files: make.Opened, central: TestCentral, **more: Any) -> AsyncIterator[Sync]:
    """The edge's sync stage towards `central`, over its own journal and slots."""
    sync = SyncEdge.sync_of(central, edge.key, files.journal, files.slots, **more)
    try:
        yield sync
    finally:
        await sync.close()


async def fill(edge: make.Edge, central: TestCentral) -> None:
    """Recordings that central has heard of, and one (`late`) that it has not."""
    setup.register_edge(central.config, "edge-1", edge.key.verify_key)
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        edge.facts = {
            "two": await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)]),
            "cut": await make.record(edge, files, [make.sound(9, 3)], end="truncated"),
            "refused": await make.add_call(files, outcome="refused"),
            "erased": await make.record(edge, files, [make.sound(2, 4)]),
            "live": await make.record(edge, files, [make.sound(9, 5)], end="live"),
        }
        await make.erase(files, edge.facts["erased"])
        await make.checkpoint(edge, files)
        await sync.flush()
        edge.facts["late"] = await make.record(edge, files, [make.sound(1, 6)])


async def told(central: TestCentral) -> dict[str, Any]:
    """What central knows, in a form that two of them can be compared by."""
    _, calls = await central.admin("GET", "/v1/calls")
    _, recordings = await central.admin("GET", "/v1/recordings")
    return {
        "calls": sorted((one["call_id"], one["outcome"], one["opened"], one["closed"]) for one in calls["calls"]),
        "recordings": sorted(
            (
                one["recording_id"], one["state"], one["sealed"], [s["segment_id"] for s in one["segments"]],
                [(h["segment_id"], h["version"], h["kept"]) for h in one["headers"]],
            )
            for one in recordings["recordings"]
            if one["tombstone"] is None
        ),
        "gone": sorted(one["recording_id"] for one in recordings["recordings"] if one["state"] == "erased"),
    }  # fmt: skip


def vault_of(edge: make.Edge) -> Path:
    return edge.loaded.edge.vault
