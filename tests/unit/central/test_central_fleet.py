"""Several processes of central: one PostgreSQL, one keeper, a proxy that takes them in turn."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from central.app import Running, start
from central.conn import Conn
from central.edgebook import BELIEVED_S
from central.errors import CentralError
from central.keeperlink import KeeperLink
from central.keeperrun import KeeperProcess
from central.media.sharing import NAME
from central.postgres import PgConn, PostgresDatabase
from central.slotfile import SlotFile
from formats import canonical
from formats.heartbeat import read_heartbeat
from formats.ids import format_time
from rig.postgres import Postgres
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id
from tests.unit.central.media_kit import Told, with_folder
from tests.unit.central.test_central_edges import Pulse


@asynccontextmanager
async def round_robin(ports: list[int]) -> AsyncIterator[int]:
    """A plain proxy: each connection to the next one; its port."""
    turns = itertools.cycle(ports)
    held: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", next(turns))
        tasks = {asyncio.create_task(copy(reader, forth)), asyncio.create_task(copy(back, writer))}
        held.update(tasks)
        await asyncio.wait(tasks)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in held:
            task.cancel()


@pytest.fixture
async def several(tmp_path: Path, server: Postgres) -> AsyncIterator[list[Running]]:
    """Three processes' worth of central, and their keeper."""
    central = TestCentral(tmp_path / "central", postgres=server.database())
    config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    keeper = KeeperProcess(config)
    running = [await start(config, wall=central.wall) for _ in range(3)]
    yield running
    for one in running:
        await one.stop()
    keeper.stop()


@pytest.fixture
async def fleet(tmp_path: Path, several: list[Running]) -> AsyncIterator[TestCentral]:
    """The same behind a proxy; requests go through it."""
    first = several[0].central.config
    central = TestCentral(tmp_path / "central", postgres=first.postgres)
    central.running = several[0]
    async with round_robin([int(one.url.rsplit(":", 1)[1]) for one in several]) as port:
        central.config = replace(first, port=port)
        yield central


@pytest.fixture
def edges(fleet: TestCentral) -> list[TestEdge]:
    return [TestEdge(fleet, edge_id=f"pbx-{n}") for n in range(6)]


async def test_a_revocation_reaches_every_process(fleet: TestCentral, edges: list[TestEdge]) -> None:
    """Each has heard of the edge and believes it for some seconds; within them each shuts it out."""
    edge = edges[0]

    async def heard() -> set[int]:
        return {(await edge.ask("GET", edge.path("audit")))[0] for _ in range(3)}  # each connection to the next one

    assert await heard() == {200}
    assert (await fleet.admin("POST", f"/v1/edges/{edge.edge_id}/revoke", {"reason": "lost"}))[0] == 200
    async with asyncio.timeout(BELIEVED_S + 10):
        while await heard() != {403}:
            await asyncio.sleep(0.1)


async def test_two_daemons_heard_by_different_processes_are_noticed(
    several: list[Running], edges: list[TestEdge]
) -> None:
    one, two = Pulse.of(edges[0]), Pulse.of(edges[0])
    later = timedelta(seconds=20)
    for pulse, running in ((one, several[0]), (two, several[1]), (one, several[2])):
        at = running.central.wall() + later
        later += timedelta(seconds=20)
        body = pulse.body(at=format_time(at))
        running.central.beats.heard(edges[0].edge_id, format_time(at), read_heartbeat(canonical.dumps(body)))
        await running.central.beats.write(running.central)
    _, answer = await edges[0].central.admin("GET", f"/v1/edges/{edges[0].edge_id}")
    assert list(answer["alarms"]) == ["edge.cloned"]


async def test_edges_report_through_any_of_them_and_keys_lie_in_one_keeper(
    fleet: TestCentral, edges: list[TestEdge]
) -> None:
    keys = {(edge.edge_id, n): secrets.token_bytes(32) for edge in edges for n in range(1, 9)}

    async def report(edge: TestEdge) -> None:
        for n in range(1, 9):
            event = edge.opened(n, an_id(), key=keys[edge.edge_id, n])
            for word in ("accepted", "duplicate"):  # the repeat meets another process
                status, answer = await edge.send(event)
                assert (status, answer["items"][0]["status"], answer["contiguous"]) == (200, word, n)

    await asyncio.gather(*(report(edge) for edge in edges))
    slots = [slot for (slot,) in await fleet.rows("SELECT keeper_slot FROM header")]
    link = KeeperLink(fleet.config.keeper_socket or Path())
    assert {link.read(slot) for slot in slots} == set(keys.values())
    assert len(slots) == len(keys)


async def test_a_delivery_queued_by_one_wakes_the_poll_at_another(fleet: TestCentral, edges: list[TestEdge]) -> None:
    recordings = {edge.edge_id: an_id() for edge in edges}
    for edge in edges:
        await edge.send(edge.opened(1, recordings[edge.edge_id], key=secrets.token_bytes(32)))

    async def wait(edge: TestEdge) -> int:
        status, answer = await edge.ask("GET", edge.path("deliveries?after=0&wait=20"))
        assert status == 200
        return len(answer["deliveries"])

    polls = [asyncio.create_task(wait(edge)) for edge in edges]
    await asyncio.sleep(1)
    for edge in edges:
        order = await fleet.signed_order(recordings[edge.edge_id])
        assert (await fleet.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    assert await asyncio.wait_for(asyncio.gather(*polls), 10) == [1] * len(edges)


async def test_orders_of_all_at_once_have_numbers_without_gaps_and_one_log(
    fleet: TestCentral, edges: list[TestEdge]
) -> None:
    edge = edges[0]
    recordings = [an_id() for _ in range(12)]
    await edge.send(*(edge.opened(n, one, key=secrets.token_bytes(32)) for n, one in enumerate(recordings, 1)))
    orders = [await fleet.signed_order(one) for one in recordings]
    answers = await asyncio.gather(*(fleet.admin("POST", "/v1/orders", {"order": order}) for order in orders))
    assert {status for status, _ in answers} == {202}
    numbers = await fleet.rows("SELECT seq FROM delivery WHERE edge_id=? ORDER BY seq", edge.edge_id)
    assert [n for (n,) in numbers] == list(range(1, 13))
    entries = await fleet.rows("SELECT idx FROM log ORDER BY idx")
    assert [n for (n,) in entries] == list(range(len(entries)))


async def test_a_key_whose_transaction_is_lost_with_its_process_goes_after_a_while(
    tmp_path: Path, server: Postgres
) -> None:
    central = TestCentral(tmp_path / "central", postgres=server.database())
    central.config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    socket = central.config.keeper_socket
    assert socket is not None
    first = KeeperProcess(central.config)
    link = KeeperLink(socket)
    slot = link.put(secrets.token_bytes(32))
    link.flush()
    link.close()  # in the middle of its transaction
    await asyncio.sleep(0.2)
    first.stop()
    second = KeeperProcess(central.config, settle_s=0.3)
    link = KeeperLink(socket)
    assert len(link.read(slot)) == 32  # nobody can know yet
    kept = link.put(secrets.token_bytes(32))
    await asyncio.sleep(1)
    with pytest.raises(CentralError, match="holds no key"):
        link.read(slot)
    assert len(link.read(kept)) == 32  # written behind the start: its row may be under way
    second.stop()


def test_without_its_keeper_central_does_not_start_and_two_keepers_are_refused(
    tmp_path: Path, server: Postgres
) -> None:
    central = TestCentral(tmp_path / "central", postgres=server.database())
    with pytest.raises(CentralError, match="names no socket"):
        KeeperProcess(central.config)
    socket = tmp_path / "keeper.sock"
    with pytest.raises(CentralError, match="does not answer"):
        KeeperLink(socket)
    central.config = replace(central.config, keeper_socket=socket)
    keeper = KeeperProcess(central.config)
    assert socket.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CentralError, match="another central uses this keeper"):
        KeeperProcess(central.config)
    keeper.stop()


def test_what_is_no_question_ends_its_connection_only(tmp_path: Path, server: Postgres) -> None:
    central = TestCentral(tmp_path / "central", postgres=server.database())
    central.config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    assert central.config.keeper_socket is not None
    keeper = KeeperProcess(central.config)
    for text in (b"x\n", b'["nothing", 1]\n', b'["read", {}]\n', b'["put", "zz"]\n', b"[1]\n", b"[" * 100_000 + b"\n"):
        with sockets.socket(sockets.AF_UNIX) as raw:
            raw.connect(str(central.config.keeper_socket))
            raw.sendall(text)
            assert raw.recv(100) == b""
    assert len(KeeperLink(central.config.keeper_socket).mark()) == 3
    keeper.stop()
    assert SlotFile(central.config.keeper).live() == frozenset()


async def test_a_slot_that_is_given_anew_is_not_swept(tmp_path: Path, server: Postgres) -> None:
    """A key was there at the keeper's start, goes, and its slot gets another key whose row is not committed yet."""
    central = TestCentral(tmp_path / "central", postgres=server.database())
    central.config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    socket = central.config.keeper_socket
    assert socket is not None
    before = SlotFile(central.config.keeper)
    old = before.put(secrets.token_bytes(32))
    before.flush()
    before.commit()
    before.close()
    keeper = KeeperProcess(central.config, settle_s=1.0)
    link = KeeperLink(socket)
    link.shred([old])
    link.commit()
    key = secrets.token_bytes(32)
    assert link.put(key) == old
    link.flush()
    await asyncio.sleep(1.5)  # the sweep has been
    assert link.read(old) == key
    keeper.stop()


async def test_a_restarted_keeper_is_found_again_by_who_has_done_nothing(tmp_path: Path, server: Postgres) -> None:
    central = TestCentral(tmp_path / "central", postgres=server.database())
    central.config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    assert central.config.keeper_socket is not None
    keeper = KeeperProcess(central.config)
    idle, busy = KeeperLink(central.config.keeper_socket), KeeperLink(central.config.keeper_socket)
    busy.put(secrets.token_bytes(32))
    keeper.stop()
    keeper = KeeperProcess(central.config)
    assert idle.put(secrets.token_bytes(32)) >= 0
    with pytest.raises(CentralError, match="does not answer"):
        busy.flush()  # its key went with the connection: the rows must not be committed
    keeper.stop()


async def test_a_commit_whose_answer_is_lost_keeps_its_keys(tmp_path: Path, server: Postgres) -> None:
    """The rows may be there: then they name keys that must be there, too."""
    keeper = SlotFile(tmp_path / "keeper.keys")
    database = PostgresDatabase(server.database(), 1, keeper)
    put: list[int] = []

    def job(conn: Conn) -> None:
        put.append(keeper.put(secrets.token_bytes(32)))
        keeper.flush()
        conn.execute("INSERT INTO meta(key, value) VALUES ('kept', 'x')")
        assert isinstance(conn, PgConn)
        bare = conn.bare

        def lost(word: str) -> None:
            bare(word)
            if word == "COMMIT":  # carried out; then the line breaks
                conn.raw.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")

        conn.bare = lost  # type: ignore[method-assign]

    with pytest.raises(CentralError, match="closed the connection"):
        database.now(job)
    assert database.now(lambda conn: conn.execute("SELECT value FROM meta WHERE key='kept'").fetchone()[0]) == "x"
    assert len(keeper.read(put[0])) == 32
    await database.close()


async def test_half_uploads_of_several_processes_lie_in_one_folder(tmp_path: Path, server: Postgres) -> None:
    """An upload goes on wherever its next piece comes; a process that would keep its own halves does not start."""
    central = with_folder(TestCentral(tmp_path / "central", postgres=server.database()))
    config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    own = replace(config, media=replace(config.media, incoming=tmp_path / "own"))
    keeper, running = KeeperProcess(config), list[Running]()
    try:
        running += [await start(config, wall=central.wall) for _ in range(2)]
        with pytest.raises(CentralError, match="in another folder") as refused:
            await start(own, wall=central.wall)
        assert refused.value.code == "config.media"
        central.running = running[0]
        async with round_robin([int(one.url.rsplit(":", 1)[1]) for one in running]) as port:
            central.config = replace(config, port=port)
            told = Told.make(TestEdge(central))
            await told.tell(1)
            await told.upload()
        for one in running:
            await one.stop()
        # All of them move: the folder is given the name that the refusal says.
        name = refused.value.hint.rpartition("echo ")[2].partition(" ")[0]
        (tmp_path / "own" / NAME).write_text(f"{name}\n")
        running = [await start(own, wall=central.wall)]
    finally:
        for one in running:
            await one.stop()
        keeper.stop()


async def test_processes_that_start_at_once_agree_on_one_folder(tmp_path: Path, server: Postgres) -> None:
    central = with_folder(TestCentral(tmp_path / "central", postgres=server.database()))
    config = replace(central.config, keeper_socket=tmp_path / "keeper.sock")
    keeper = KeeperProcess(config)
    try:
        found = await asyncio.gather(*(start(config, wall=central.wall) for _ in range(3)))
        for one in found:
            await one.stop()
        assert [path.name for path in config.media.incoming.iterdir()] == [NAME]
    finally:
        keeper.stop()
