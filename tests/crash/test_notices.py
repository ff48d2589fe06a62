"""Kill -9 between the steps of a text notice: never lost, and sent twice only under one and the same id."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.contract.test_webhook import SECRET
from tests.contract.webhook_receiver import receiver
from tests.unit.store import store_makers as makers

ROOT = Path(__file__).parents[2]
#: Points of the write order `notice`, and how often the receiver hears of the text in the end.
POINTS = {"notice.judged": 1, "notice.posted": 2}

pytestmark = pytest.mark.crash


async def child(folder: Path, what: str, url: str, failpoint: str = "") -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.notices_child", str(folder), what, url,
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint}, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode().strip()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, tmp_path: Path) -> None:
    async with receiver(SECRET) as gateway:
        _, call_id = await child(tmp_path, "prepare", gateway.url)
        killed, _ = await child(tmp_path, "pass", gateway.url, point)
        assert killed == -signal.SIGKILL
        for _ in range(2):
            assert (await child(tmp_path, "pass", gateway.url))[0] == 0
    journal = await makers.open_journal(tmp_path / "journal.db")
    try:
        (notice,) = await journal.notices(call_id)
    finally:
        await journal.close()
    assert (notice.state, notice.number_e164) == ("sent", None)
    assert [message_id for message_id, _ in gateway.taken] == [notice.notice_id] * POINTS[point]
    assert len(set(gateway.raw)) == 1
