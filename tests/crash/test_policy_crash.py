"""kill -9 while policies are put into effect: the next start audits what is left, and the last word is right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.config import load
from tests.unit.store.store_makers import open_journal

ROOT = Path(__file__).parents[2]
#: Passings of each point, in order: two policies are audited, then both versions are filed.
STEPS = ("policy.audited:1", "policy.audited:2", "policy.filed")
CONFIG = '[edge]\nid = "e"\n[policy.a]\nmode = "never"\n[policy.b]\nmode = "never"\n'

pytestmark = pytest.mark.crash


def start(folder: Path, failpoint: str = "") -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.policy_child", str(folder)],
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint}, cwd=ROOT, timeout=60,
    ).returncode  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at(tmp_path: Path, step: str) -> None:
    (tmp_path / "edge.toml").write_text(CONFIG)
    assert start(tmp_path, step) == -signal.SIGKILL
    assert start(tmp_path) == 0
    assert start(tmp_path) == 0
    journal = await open_journal(tmp_path / "journal.db")
    try:
        entries = [json.loads(row.entry) for row in await journal.audit_entries(0, 100)]
        loaded = [e["body"] for e in entries if e["kind"] == "policy.loaded"]
        versions = {name: policy.version for name, policy in load(tmp_path / "edge.toml").policies.items()}
        assert json.loads(await journal.meta("policies") or "") == versions
        assert {e["policy"]: e["new"] for e in loaded} == versions, "nothing came into effect without an entry"
        told = [row.body for row in await journal.outbox(100) if row.type == "policy.loaded"]
        assert {one["policy"]: one["version"] for one in told} == versions, "what was filed is told to central"
        assert len(told) == 2
        # A kill between an entry and the versions on file leaves an entry twice, never none.
        assert len(loaded) == 2 + {"policy.audited:1": 1, "policy.audited:2": 2, "policy.filed": 0}[step]
    finally:
        await journal.close()
