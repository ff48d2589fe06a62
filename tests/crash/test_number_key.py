"""kill -9 between the slot of the numbers' key and the row that names it: the next start has one key, and one only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POINTS = ("number_key.slot_synced",)

pytestmark = pytest.mark.crash


def start(folder: Path, failpoint: str = "") -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.crash.number_key_child", str(folder)], capture_output=True, text=True,
        env={**os.environ, "CALLWARDEN_FAILPOINT": failpoint}, cwd=ROOT, timeout=60,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(tmp_path: Path, point: str) -> None:
    assert start(tmp_path, point)[0] == -signal.SIGKILL
    code, said = start(tmp_path)
    assert code == 0, said
    digest, live = said.split()
    assert (len(digest), live) == (64, "1"), "the slot that no row named was swept"
    assert start(tmp_path) == (0, said), "the key stays"
