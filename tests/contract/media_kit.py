"""An edge whose policy replicates, beside a central that keeps media, and the edge's uploader."""

from __future__ import annotations

import sqlite3

from central import setup
from edge.media.uploader import Uploader
from edge.sync.service import Sync
from tests.contract.recovery_kit import syncing
from tests.unit.central.central_kit import TestCentral
from tests.unit.cli import cli_makers as make


def uploader_of(files: make.Opened, sync: Sync, rate: int = 0) -> Uploader:
    return Uploader(
        journal=files.journal, vault=files.vault, door=sync.media, rate=lambda: rate, jitter=lambda: 0.0
    )  # fmt: skip


#: The order that `wanted_by_order` files.
JTI = "ab" * 16


async def wanted_by_order(files: make.Opened, recording_id: str) -> None:
    """As `edge/retention/fetchorders.py` leaves it."""

    def job(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO inbox(jti, jws, state, received_at) VALUES (?, '{}', 'executing', ?)", (JTI, make.AT))
        conn.execute(
            "INSERT INTO media_wanted(recording_id, jti, asked_at) VALUES (?,?,?)", (recording_id, JTI, make.AT)
        )

    await files.journal._writer.do(job)


async def replicating(edge: make.Edge, files: make.Opened) -> None:
    """From now on the policy of the kit's calls is one that replicates."""
    await make.add_call(files, outcome="refused")  # files the policy

    def job(conn: sqlite3.Connection) -> None:
        conn.execute("UPDATE policy SET document=?", ('{"central":{"media":"replicate"}}',))

    await files.journal._writer.do(job)


async def fill(edge: make.Edge, central: TestCentral) -> None:
    """`stays`: sealed before the policy replicated. `two`, `cut`: due. `live`: not sealed. `big`: of several pieces."""
    setup.register_edge(central.config, "edge-1", edge.key.verify_key)
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        edge.facts = {"stays": await make.record(edge, files, [make.sound(1, 9)])}
        await replicating(edge, files)
        edge.facts |= {
            "two": await make.record(edge, files, [make.sound(5, 1), make.sound(3.5, 2)]),
            "cut": await make.record(edge, files, [make.sound(9, 3)], end="truncated"),
            "live": await make.record(edge, files, [make.sound(9, 5)], end="live"),
            "big": await make.record(edge, files, [make.sound(18, 6)]),
        }
        await make.checkpoint(edge, files)
        await sync.flush()


async def states(central: TestCentral) -> dict[str, list[str]]:
    """Recording to the states of its payloads at central."""
    found: dict[str, list[str]] = {}
    for recording_id, state in await central.rows(
        "SELECT recording_id, state FROM media ORDER BY recording_id, number"
    ):
        found.setdefault(str(recording_id), []).append(str(state))
    return found


async def uploaded(edge: make.Edge, central: TestCentral) -> make.Edge:
    """The same, filled, and its uploader has looked once: what is due is at central."""
    await fill(edge, central)
    async with make.opened(edge) as files, syncing(edge, files, central) as sync:
        assert await uploader_of(files, sync).look()
    return edge
