"""Rows 16, 17, 45: one full life of an edge's storage (start, capture, seal, close, report, erase) in which each call that
writes, syncs, renames, unlinks, allocates or creates fails once. Then a start without faults, and the checker: no audio that
Asterisk wrote is lost, nothing that was erased opens, the log verifies, no file is left in memory.

A preloaded shim (faultshim.c) makes the Nth call fail, SQLite's own included. A life has some five hundred; on every change a
sample of them that moves through all kinds of calls, with CALLWARDEN_FAULTS=all each.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIM = Path(__file__).with_name("faultshim.c")
#: At least so many calls are in a life: fewer, and the shim does not see them.
FEWEST = {"start": 40, "life": 60}

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(
            "no C compiler here: the shim that makes calls fail cannot be built (apt-get install gcc libc6-dev)"
        )
    made = tmp_path_factory.mktemp("shim") / "faultshim.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", made, SHIM, "-ldl", "-lpthread"],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        pytest.skip(f"the shim cannot be built here: {done.stderr.strip()[-200:]}")
    return made


@pytest.fixture
def place() -> Iterator[tuple[Path, Path]]:
    disk = Path(tempfile.mkdtemp(prefix="callwarden-faults-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="callwarden-faults-", dir="/dev/shm"))
    yield disk, memory
    shutil.rmtree(disk)
    shutil.rmtree(memory)


EVERY = os.environ.get("CALLWARDEN_FAULTS") == "all"


@pytest.mark.parametrize(
    ("what", "code", "step"),
    [
        ("life", errno.EIO, 1 if EVERY else 11),
        ("life", errno.ENOSPC, 1 if EVERY else 37),
        ("start", errno.EIO, 1 if EVERY else 13),
    ],
)
def test_row_45_each_call_fails_once(what: str, code: int, step: int, shim: Path, place: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.faults_zygote", *map(str, place), what, str(code), "1", str(step)],
        env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True, cwd=ROOT, timeout=1700,
    )  # fmt: skip
    lives = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lives, done.stderr[-3000:]
    assert lives[-1] == {"done": True}, done.stderr[-3000:]
    lives = lives[:-1]
    bad = [life for life in lives if life["bug"] or life["wrong"]]
    assert bad == []
    assert lives[-1]["failed"] == "", "the last life had no fault: all before it had theirs"
    assert lives[-1]["ended"] == "well"
    assert lives[-1]["calls"] >= FEWEST[what]
    met = {life["failed"] for life in lives}
    assert {"pwrite", "fdatasync"} <= met if step == 1 else "pwrite" in met, met
    print(f"{len(lives) - 1} faults of {lives[-1]['calls']} calls: {sorted(met - {''})}")
