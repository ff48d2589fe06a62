"""From SQLite to PostgreSQL with everything, and not twice."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from central.errors import CentralError
from central.move import move
from central.sqlite import open_connection
from rig.postgres import Postgres
from tests.unit.central.central_kit import TestCentral, TestEdge, a_key, an_id
from tests.unit.central.media_kit import Told, with_folder
from tests.unit.central.test_central_edges import Pulse, changed_key


async def filled(folder: Path) -> tuple[TestCentral, TestEdge, str]:
    """A central on SQLite with some of everything, stopped."""
    central = with_folder(TestCentral(folder))
    await central.start()
    edge, recording = TestEdge(central), an_id()
    await edge.send(*(edge.opened(n, an_id(), key=secrets.token_bytes(32)) for n in range(2, 40)))
    await edge.send(edge.opened(1, recording, key=secrets.token_bytes(32)))
    order = await central.signed_order(recording)
    assert (await central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
    told = Told.make(edge)
    await told.tell(1000)
    await told.upload()
    assert central.running is not None
    await Pulse.of(edge).beat(oldest=1000.0)
    old = edge.key
    assert (await changed_key(edge, old, a_key()))[0] == 200
    await central.stop()
    return central, edge, recording


async def test_everything_goes_and_central_goes_on(tmp_path: Path, server: Postgres) -> None:
    central, edge, recording = await filled(tmp_path / "central")
    with open_connection(central.config.database) as conn:
        slots = {row[0] for row in conn.execute("SELECT keeper_slot FROM header")}
        before = {
            t: conn.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
            for t in ("event", "call", "header", "media", "log", "heartbeat", "episode", "edge_key")
        }
    conninfo = server.database()
    moved = move(central.config, conninfo)
    assert {t: moved.rows[t] for t in before} == before
    with pytest.raises(CentralError, match="was moved to PostgreSQL"):
        await central.start()
    central.config = replace(central.config, postgres=conninfo)
    await central.start()
    try:
        assert {row[0] for row in await central.rows("SELECT keeper_slot FROM header")} == slots
        status, answer = await edge.send(edge.opened(40, an_id(), key=secrets.token_bytes(32)))
        assert (status, answer["items"][0]["status"], answer["contiguous"]) == (200, "accepted", 40)
        status, answer = await edge.ask("GET", edge.path("deliveries?after=0&wait=0"))
        assert [one["seq"] for one in answer["deliveries"]] == [1]
        order = await central.signed_order(recording)
        assert (await central.admin("POST", "/v1/orders", {"order": order}))[0] == 202
        _, listed = await central.admin("GET", "/v1/recordings")
        assert len(listed["recordings"]) == 41
    finally:
        await central.stop()


async def test_a_target_with_rows_a_running_central_and_a_repeat(tmp_path: Path, server: Postgres) -> None:
    central, _, _ = await filled(tmp_path / "one")
    other, _, _ = await filled(tmp_path / "two")
    conninfo = server.database()
    await central.start()
    with pytest.raises(CentralError, match="another central uses this keeper"):
        move(central.config, conninfo)
    await central.stop()
    assert not move(central.config, conninfo).before
    with pytest.raises(CentralError, match="was moved"):
        move(central.config, conninfo)
    with pytest.raises(CentralError, match="rows of another central"):
        move(other.config, conninfo)
    await other.start()  # and goes on with its file
    await other.stop()


KILLED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from central import config, move
def die(*_): os.kill(os.getpid(), 9)
where, conninfo, at = sys.argv[1:]
if at == "rows": said = lambda table, count: die() if table == "header" else None
else: said, move._compare = lambda *_: None, die
move.move(config.load(Path(where)), conninfo, said)
"""


@pytest.mark.parametrize("at", ["rows", "mark"])
async def test_killed_on_the_way_it_is_done_again(tmp_path: Path, server: Postgres, at: str) -> None:
    """Before the target's commit nothing is there; behind it everything, and the repeat finds that."""
    central, _, _ = await filled(tmp_path / "central")
    conninfo = server.database()
    words = [sys.executable, "-c", KILLED, str(central.made.config_path), conninfo, at]
    assert subprocess.run(words, cwd=os.getcwd(), check=False).returncode == -9
    moved = move(central.config, conninfo)
    assert moved.before is (at == "mark")
    assert moved.rows["header"] == 40
