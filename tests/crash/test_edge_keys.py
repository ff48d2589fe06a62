"""kill -9 at every step by which an edge gets another signing key, or a TLS certificate: the repeat brings it to its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from callwarden.keyfiles import read_signing_key, read_trust
from central.app import Running, start
from central.config import load
from edge.sync.tlskey import NAME, read_certificate
from tests.unit.cli import cli_makers as make

ROOT = Path(__file__).parents[2]
#: Steps of the write order `edge key`.
CHANGE = ("edge_key.made", "edge_key.intended", "edge_key.told", "edge_key.trusted", "edge_key.replaced")
#: Steps of the write order `certificate`.
CERTIFICATE = ("certificate.issued", "certificate.written")
POINTS = (*CHANGE, *CERTIFICATE)

pytestmark = pytest.mark.crash


@dataclass
class Pair:
    """An edge as init makes it, and its central."""

    edge: make.Edge
    central: Running
    running: bool = True

    async def stop(self) -> None:
        if self.running:
            self.running = False
            await self.central.stop()

    async def run(self, *words: str, failpoint: str = "") -> tuple[int, str]:
        ran = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", *words], env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint},
            capture_output=True, text=True, cwd=ROOT, timeout=60,
        )  # fmt: skip
        return ran.returncode, ran.stdout + ran.stderr

    async def change(self, failpoint: str = "") -> tuple[int, str]:
        return await self.run(
            "callwarden", "--config", str(self.edge.config), "key", "change-edge", failpoint=failpoint
        )

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return await self.central.central.db.run(lambda conn: [tuple(row) for row in conn.execute(query)])


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    short = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    edge = await asyncio.to_thread(make.make_edge, tmp_path / "etc", short, "--central-listen", f"127.0.0.1:{port}")
    async with make.opened(edge):
        pass  # the journal of a daemon that ran once
    central = await start(replace(load(edge.paths["central_config"]), client_certificates="demanded"))
    made = Pair(edge, central)
    yield made
    await made.stop()
    shutil.rmtree(short)


async def test_an_edge_key_killed_at_every_step(pair: Pair) -> None:
    path, trust_file = pair.edge.loaded.edge.signing_key_file, pair.edge.loaded.edge.trust_file
    for count, point in enumerate(CHANGE, 1):
        before = read_signing_key(path).kid
        assert (await pair.change(point))[0] == -signal.SIGKILL, point
        there, done = read_signing_key(path).kid, point == "edge_key.replaced"
        assert (there != before) is done, point
        assert read_trust(trust_file).find(there).edge_id == "edge-1"
        if not done:  # the repeat goes on with the key that was begun with
            (begun,) = [read_signing_key(path.with_name(path.name + ".next")).kid]
            code, said = await pair.change()
            assert code == 0, said
            assert read_signing_key(path).kid == begun, point
        now = read_signing_key(path).kid
        assert await pair.rows("SELECT kid FROM edge") == [(now,)]
        assert await pair.rows("SELECT count(*) FROM edge_key") == [(count,)]
        ours = {one.kid: one.retired for one in read_trust(trust_file).with_role("edge")}
        assert ours[now] is None, point
        assert ours[before] == (await pair.rows(f"SELECT retired_at FROM edge_key WHERE kid='{before}'"))[0][0], point
        assert not path.with_name(path.name + ".next").exists()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_certificate_killed_at_every_step(pair: Pair) -> None:
    file = pair.edge.loaded.edge.state / NAME
    child = ("tests.crash.certificate_child", str(pair.edge.config))
    for point in CERTIFICATE:
        assert (await pair.run(*child, failpoint=point))[0] == -signal.SIGKILL, point
        assert (read_certificate(file) is not None) is (point == "certificate.written")
        code, said = await pair.run(*child)
        assert code == 0, said
        file.unlink()


async def test_the_key_of_a_running_edge_stays(pair: Pair) -> None:
    async with make.opened(pair.edge):
        code, said = await pair.change()
    assert (code != 0, "journal.locked" in said) == (True, True), said
    assert ("nothing was changed" in said, "stop the daemon, run this again, start the daemon" in said) == (True, True)
    await pair.stop()
    code, said = await pair.change()
    assert "sync.unreachable" in said
    assert read_signing_key(pair.edge.loaded.edge.signing_key_file).kid == pair.edge.key.kid
