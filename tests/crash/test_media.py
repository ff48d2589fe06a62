"""Kills of the edge on the way of a payload to central (write order `media at the edge`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from rig.places import PROJECT
from tests.contract.media_kit import JTI, fill, states, wanted_by_order
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.media_kit import with_folder
from tests.unit.cli import cli_makers as make
from tests.unit.cli.conftest import run_dir  # noqa: F401 - a short folder in memory

pytestmark = pytest.mark.crash

POINTS = ["upload.piece_sent:2", "upload.stored", "upload.told", "upload.noted"]


async def test_killed_at_every_step_and_gone_on(tmp_path: Path, run_dir: Path) -> None:  # noqa: F811
    """One edge dies at one step after the other; in the end everything is there once, and said once."""
    central = with_folder(TestCentral(tmp_path / "central"))
    await central.start()
    try:
        edge = make.make_edge(tmp_path / "etc", run_dir)
        await fill(edge, central)
        async with make.opened(edge) as files:
            await wanted_by_order(files, edge.facts["big"].recording_id)
        section = edge.loaded.edge
        said = tmp_path / "said"
        said.write_text(
            json.dumps(
                {
                    "journal": str(section.journal), "key": str(edge.paths["edge_key"]), "url": central.url,
                    "vault": str(section.vault),
                }
            )
        )  # fmt: skip
        for point in [*POINTS, ""]:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.crash.media_child", str(said), cwd=PROJECT,
                env={**os.environ, "CALLWARDEN_FAILPOINT": point}, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, err = await asyncio.wait_for(child.communicate(), 60)
            assert child.returncode == (-signal.SIGKILL if point else 0), f"{point}: {err.decode()}"
        found = await states(central)
        assert {one for words in found.values() for one in words} == {"stored"}
        assert set(found) == {edge.facts[word].recording_id for word in ("two", "cut", "big")}
        async with make.opened(edge) as files:
            assert await files.journal.media_due(10) == []
            (wanted,) = await files.journal.wanted_media(JTI)
            assert wanted.result == "done"
            entries = [row.entry for row in await files.journal.audit_entries(0, 10_000)]
        assert sum('"kind":"media.replicated"' in str(one) for one in entries) == 3
        assert sum('"kind":"media.served"' in str(one) for one in entries) == 1
    finally:
        await central.stop()
