"""The end of a contract at two edges: each host takes out its own, the folders come together, and one order ends both."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from callwarden.contractend.erase import CERTIFICATE, ORDER
from central import setup
from formats.orders import read_order
from tests.contract.contract_end_kit import ended, recorded, working_together
from tests.contract.recovery_kit import surroundings
from tests.contract.test_contract_end import WIDE, Scene, killed_after
from tests.unit.central.central_kit import a_central
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory
from tests.unit.cli.key_kit import served


@pytest.fixture
async def hosts(tmp_path: Path, run_dir: Path) -> AsyncIterator[list[Scene]]:  # noqa: F811
    """Two edges of one central, each with its door and a folder of its own for what is taken out."""
    async with AsyncExitStack() as stack:
        central, scenes = await stack.enter_async_context(a_central(tmp_path / "central", tls=True)), []
        for number in (1, 2):
            host = tmp_path / f"host-{number}"
            host.mkdir()
            edge = make.make_edge(host / "etc", run_dir / str(number), "--edge-id", f"edge-{number}")
            async with make.opened(edge) as files:
                await recorded(edge, files, central)
            files = await stack.enter_async_context(served(edge))
            fleet = await stack.enter_async_context(ended(edge, central, files, host, WIDE))
            scenes.append(Scene(edge, files, fleet, host / "handover"))
        yield scenes


async def states(scene: Scene) -> set[str]:
    """Of everything that was recorded there with audio."""
    found = set()
    for name in ("two", "cut"):
        row = await scene.files.journal.recording(scene.edge.facts[name].recording_id)
        assert row is not None
        found.add(row.state)
    return found


async def test_two_edges_end_by_one_order_once_both_were_taken_out(hosts: list[Scene], tmp_path: Path) -> None:
    here, there = hosts
    beside = here.folder / "support" / "edge-2"
    identities = tmp_path / "both.identity"
    identities.write_text("".join(one.edge.paths["operator_identity"].read_text() for one in hosts))

    # Its folder is not here yet: nothing is ordered, and it is said whose.
    away = await here.erase("-i", identities)
    assert (away.code, "[export.uncovered]" in away.err, "edge-2" in away.err, "--export-only" in away.err) == (
        7, True, True, True,
    )  # fmt: skip

    # The other host dies in the midst of it; what it has so far is no export.
    await asyncio.to_thread(killed_after, 1, there)
    shutil.copytree(there.place.path, beside)
    half = await here.erase("-i", identities)
    assert (half.code, "[export.manifest]" in half.err, "edge-2" in half.err) == (7, True, True)
    shutil.rmtree(beside)
    whole = await there.run("--export-only", "-i", identities)
    assert (whole.code, "4 calls, 2 recordings; 3 age files" in whole.err) == (0, True), whole.err

    # Beside each other, with one byte that went wrong on the way.
    shutil.copytree(there.place.path, beside)
    age = next(beside.rglob("*.age"))
    good = age.read_bytes()
    age.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    wrong = await here.erase("-i", identities)
    assert (wrong.code, "[export.differs]" in wrong.err, "edge-2" in wrong.err) == (7, True, True)
    age.write_bytes(good)
    assert await here.orders() == 0
    assert not (here.folder / "support" / ORDER).exists()

    # One order for both. The other edge is cut off: the run says so, and is run again.
    signed = await here.erase("-i", identities, "--wait", "0")
    assert signed.code == 75, signed.err
    assert "verified: edge-1: 4 calls, 2 recordings" in signed.err
    assert "verified: edge-2: 4 calls, 2 recordings" in signed.err
    order = json.loads((here.folder / "support" / ORDER).read_bytes())
    assert read_order(order).exported_to == "Example", "the folder stands for both"
    for _ in range(4):
        await here.fleet.exchange(hours=9)
    waits = await here.erase("-i", identities, "--wait", "0")
    assert (waits.code, "edge-1 done, edge-2 no answer yet" in waits.err) == (75, True), waits.err
    assert await states(here) == {"erased"}
    assert await states(there) == {"sealed"}
    assert not (here.folder / "support" / CERTIFICATE).exists()

    async with working_together(here.fleet, there.fleet):
        done = await here.erase("-i", identities, "--wait", "120")
    assert done.code == 0, done.err
    assert await states(there) == {"erased"}
    assert await here.orders() == 1
    certificate = here.folder / "support" / CERTIFICATE
    told = certificate.read_text()
    for scene in hosts:
        assert all(scene.edge.facts[name].recording_id in told for name in ("two", "cut"))
    trust = tmp_path / "trust.json"
    trust.write_bytes(setup.trust(here.fleet.central.config).dump())
    checked = await make.acommand(
        "receipt", "verify", certificate, "--trust", trust, **surroundings(here.fleet.central)
    )
    assert checked.code == 0, checked.err
