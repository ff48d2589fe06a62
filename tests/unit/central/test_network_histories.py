"""Seeded histories of a fleet's bad days, against a model: nothing lost, nothing applied twice, the same set on both sides.

Each history is some calls, orders and erasures of one real edge (journal, slots, vault, sync and executor) and a real central,
over HTTP that loses, doubles, delays and reorders requests and answers, with partitions, clocks that disagree, restarts, and
either side put back from an old copy. It ends when the network is whole again and nobody has anything more to say.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from callwarden.backup import central as backups
from central import setup
from edge.errors import CallwardenError
from formats.keys import SigningKey
from rig.postgres import Postgres
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.storm_kit import Storm
from tests.unit.retention.restore_kit import RestoredEdge, keep, put_back

#: Histories of a run, over both engines; a setting of the environment for a night's run.
HISTORIES = int(os.environ.get("CALLWARDEN_HISTORIES", "1000"))
#: Histories that share a central and an edge: each begins where the one before had come to rest.
BLOCK = 25
KEY = SigningKey.from_seed(b"\x31" * 32)
#: An order of a central whose clock is further ahead may be refused (the edge allows 300 s).
AHEAD = timedelta(seconds=290)


@dataclass
class World:
    """One edge, one central, what lies between them, and the model: what was recorded, ordered and lost."""

    central: TestCentral
    folder: Path
    server: Postgres | None
    rng: random.Random = field(default_factory=random.Random)
    edge: RestoredEdge | None = None
    storm: Storm = field(default_factory=lambda: Storm(random.Random()))
    recorded: list[str] = field(default_factory=list)
    #: Order of each recording that somebody ordered to be erased.
    ordered: dict[str, str] = field(default_factory=dict)
    #: Made after the copy from which the edge was put back: its journal knows nothing of them.
    unknown: set[str] = field(default_factory=set)
    edge_copies: list[tuple[Path, int]] = field(default_factory=list)
    central_copies: list[tuple[str, int]] = field(default_factory=list)
    #: How often what happened.
    seen: Counter[str] = field(default_factory=Counter)
    edge_restores: int = 0
    #: Ordered while central's clock was so far ahead that the edge may refuse.
    early: set[str] = field(default_factory=set)
    #: Ordered at a central that was put back to before: its edge may have heard of it or not.
    lost_orders: set[str] = field(default_factory=set)

    @property
    def here(self) -> RestoredEdge:
        assert self.edge is not None
        return self.edge

    async def open(self) -> None:
        """The edge's daemon starts."""
        self.edge = await RestoredEdge.open(self.folder / "edge", KEY, self.central)
        assert self.edge.sync is not None
        self.storm.over(self.edge.sync._uplink)

    async def close(self) -> None:
        if self.edge is not None:
            await self.edge.close()
            self.edge = None

    # ------------------------------------------------------------ what people and machines do

    async def record(self) -> None:
        self.recorded.append((await self.here.record()).recording_id)
        self.seen["recorded"] += 1

    async def order(self) -> None:
        """A DPO has something erased that central has heard of."""
        known = {row[0] for row in await self.central.rows("SELECT recording_id FROM recording WHERE state='sealed'")}
        free = [one for one in self.recorded if one in known and one not in self.ordered]
        if not free:
            return
        one = self.rng.choice(free)
        order = await self.central.signed_order(one)
        for _ in range(self.rng.choice((1, 1, 2))):  # somebody presses twice
            status, answer = await self.central.admin("POST", "/v1/orders", {"order": order})
            assert status == 202, answer
        self.ordered[one] = answer["jti"]
        if self.central.offset > AHEAD:
            self.early.add(one)
        self.seen["ordered"] += 1

    async def exchange(self) -> None:
        """The edge's loops, in any order; each may fail."""
        sync = self.here.sync
        assert sync is not None
        steps = [
            sync._pump.send,
            sync._receipts.send,
            sync._audit.send,
            lambda: sync._inbox.poll(0),
            self.here.executor.once,
            self.here.checkpointer.make,
        ]
        self.rng.shuffle(steps)
        for step in steps:
            try:
                await step()
            except CallwardenError as error:
                if not error.code.startswith("sync."):
                    raise
                self.seen[error.code] += 1
        await self.storm.arrive()

    async def restart(self) -> None:
        """One of them stops and starts."""
        self.seen["restarts"] += 1
        if self.rng.random() < 0.5:
            await self.close()
            await self.open()
        else:
            await self.central.stop()
            await self.central.start()

    async def skew(self) -> None:
        """Central's clock is wrong by some minutes, either way."""
        self.central.offset = timedelta(seconds=self.rng.uniform(-900, 900))
        self.seen["skewed"] += 1

    # ------------------------------------------------------------ old copies

    async def copy(self) -> None:
        """A backup of each side, to be put back later."""
        name = str(len(self.edge_copies))
        await asyncio.to_thread(keep, self.folder / "edge", self.folder / f"kept-{name}")
        self.edge_copies.append((self.folder / f"kept-{name}", len(self.recorded)))
        place = self.folder / f"central-{name}"
        if self.server is None:
            toml = self.central.folder / "central.toml"
            await asyncio.to_thread(backups.make, self.central.config, toml, place, lambda *_: None)
        else:
            await self.central.stop()  # a template must have no guests
            place = Path(self.server.database(template=self._database()))
            await self.central.start()
        self.central_copies.append((str(place), len(self.ordered)))

    def _database(self) -> str:
        return self.central.config.postgres.split("?")[0].rsplit("/", 1)[1]

    async def put_edge_back(self) -> None:
        copy, recorded = self.rng.choice(self.edge_copies)
        await self.close()
        self.edge_restores += 1
        await asyncio.to_thread(put_back, self.folder / "edge", copy, self.edge_restores)
        self.unknown |= set(self.recorded[recorded:])
        await self.open()
        self.seen["edge put back"] += 1

    async def put_central_back(self) -> None:
        copy, orders = self.rng.choice(self.central_copies)
        await self.central.stop()
        if self.server is None:
            await asyncio.to_thread(backups.restore, self.central.config, Path(copy))
        else:
            name = copy.split("?")[0].rsplit("/", 1)[1]
            conninfo = self.server.database(template=name)
            toml = self.central.folder / "central.toml"
            toml.write_text(toml.read_text().replace(self.central.config.postgres, conninfo))
            self.central.config = replace(self.central.config, postgres=conninfo)
            await asyncio.to_thread(backups.mark_restored, self.central.config, "a copy of earlier")
        await self.central.start()
        # An order that only the lost database had may have reached the edge or not.
        for one in list(self.ordered)[orders:]:
            self.lost_orders.add(one)
            del self.ordered[one]
        self.central_copies = [pair for pair in self.central_copies if pair[1] <= orders]
        self.seen["central put back"] += 1

    # ------------------------------------------------------------ the end of a history

    async def rest(self) -> None:
        """The network is whole and the clocks agree; until nobody has anything more to say."""
        await self.storm.heal()
        self.central.offset = timedelta(0)
        sync = self.here.sync
        assert sync is not None
        for _ in range(40):
            try:
                new = await sync._inbox.poll(0)
                await self.here.executor.once()
                await self.here.checkpointer.make()
                await sync.flush()
            except CallwardenError as error:  # "begin further back": a loop of the daemon asks again
                if error.code != "sync.refused":
                    raise
                self.seen[error.code] += 1
                continue
            waiting = await self.here.journal.outbox_depth()
            owed = await self.here.journal.receipts_to_send()
            if not new and not waiting[0] and not owed and await self.here.journal.orders(("received",)) == []:
                return
        raise AssertionError("they do not come to rest")

    async def check(self) -> None:
        """The model's set on both sides."""
        central = self.central
        for one in self.early & set(self.ordered):
            refused = "SELECT 1 FROM receipt WHERE jti=? AND result='refused:command.future'"
            if await central.rows(refused, self.ordered[one]):
                del self.ordered[one]  # answered so, and nothing happened; somebody may order it anew
                self.seen["refused for the clock"] += 1
        self.early.clear()
        states = dict(await central.rows("SELECT recording_id, state FROM recording"))
        keys = await central.rows("SELECT recording_id, count(keeper_slot) FROM header GROUP BY recording_id")
        held = {str(one) for one, count in keys if count}
        for one in self.recorded:
            mine = await self.here.state(one)
            if one in self.unknown:
                assert mine in ("", "erased"), "a copy from before knows it not, or that it went"
                assert one not in self.ordered or (states.get(one) != "sealed" or one not in held), one
                continue
            gone = one in self.ordered
            assert one in states, (one, "central does not know it")
            assert mine == ("erased" if gone else "sealed") or (mine == "erased" and one in self.lost_orders), (
                one,
                mine,
            )
            assert states[one] == mine, (one, states[one], mine)
            assert (one in held) == (mine == "sealed"), one
        for one, jti in self.ordered.items():
            rows = await central.rows("SELECT n, result FROM receipt WHERE jti=? ORDER BY n", jti)
            last = [result for _, result in rows if result != "deferred"]
            assert len(last) == 1, (one, rows)
            assert last[0] in (("done", "already", "not_found") if one in self.unknown else ("done", "already")), rows
        ((stored, distinct),) = await central.rows("SELECT count(*), count(DISTINCT event_id) FROM event")
        assert stored == distinct, "an event was taken twice"
        rows = await self.here.journal.audit_entries(0, await self.here.journal.audit_size())
        erased = Counter(
            one for one in self.recorded for row in rows if '"recording.erased"' in row.entry and one in row.entry
        )
        assert not erased or max(erased.values()) == 1, "something was erased twice"
        alarms = {row[0] for row in await central.rows("SELECT code FROM alarm")}
        assert not alarms & {"audit.fork"}, alarms


async def history(world: World, seed: int) -> None:
    """One history and its check."""
    rng = random.Random(seed)
    world.rng, world.storm.rng, world.storm.bad = rng, rng, True
    await world.record()
    for _ in range(rng.randint(3, 7)):
        event = rng.random()
        if event < 0.12:
            await world.record()
        elif event < 0.35:
            await world.order()
        elif event < 0.42:
            world.storm.cut = not world.storm.cut
        elif event < 0.47:
            await world.skew()
        elif event < 0.50:
            await world.restart()
        await world.exchange()
    if seed % BLOCK in (6, 14):
        await world.copy()
    if seed % BLOCK in (11, 20):
        await world.put_edge_back()
    if seed % BLOCK in (9, 17, 23):
        await world.put_central_back()
        for _ in range(rng.choice((0, 2, 5, 9))):  # before anybody polls
            await world.order()
    for _ in range(rng.randint(0, 2)):
        await world.exchange()
    await world.rest()
    await world.check()


@pytest.fixture
async def storms(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[World]]:
    # A job that nobody waits for commits with the next one, at most 0.25 s later; here each is waited for, all the same.
    monkeypatch.setattr("edge.store.writer.COMPANY_SECONDS", 0.0)
    worlds: list[World] = []
    yield worlds
    for world in worlds:
        await world.close()
        await world.storm.close()
        await world.central.stop()


@pytest.mark.parametrize("block", range((HISTORIES + 2 * BLOCK - 1) // (2 * BLOCK)))
async def test_56_59_histories_converge(
    block: int, engine: str, request: pytest.FixtureRequest, tmp_path: Path, storms: list[World]
) -> None:
    (tmp_path / "edge").mkdir()
    central = TestCentral(tmp_path / "central", postgres=engine)
    setup.register_edge(central.config, "edge-1", KEY.verify_key)
    world = World(central, tmp_path, request.getfixturevalue("server") if engine else None)
    storms.append(world)
    await central.start()
    await world.open()
    for number in range(BLOCK):
        seed = (block * 2 + bool(engine)) * BLOCK + number
        try:
            await history(world, seed)
        except BaseException as error:
            error.add_note(f"history {seed}; so far {dict(world.seen)}, network {world.storm.seen}")
            raise
    assert world.seen["ordered"] > 5
    assert all(world.storm.seen.get(fate) for fate in ("lost", "answer_lost", "doubled", "delayed", "cut"))
    shutil.rmtree(tmp_path / "edge", ignore_errors=True)
