"""A long call, and one whose daemon is killed with -9 every five seconds: the same as `make soak`, shorter."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.places import state_folder
from rig.soak import Run, long_call, report
from rig.stack import Stack, open_stack
from rig.story_watch import Sample

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 45
Results = list[tuple[Run, list[Sample]]]


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    """The undisturbed call and the killed one, at the same time, each on a stack of its own."""
    stacks: list[Stack] = []
    homes: list[Path] = []
    for name in ("calm", "killed"):
        homes.append(state_folder() / f"test-long-{name}-{os.getpid()}-home")
        stacks.append(open_stack(f"test-long-{name}-{os.getpid()}", home=homes[-1]))

    async def both() -> Results:
        return list(
            await asyncio.gather(
                long_call(stacks[0], seconds=SECONDS), long_call(stacks[1], seconds=SECONDS, kill_every=5)
            )
        )

    try:
        for stack in stacks:
            stack.up()
        yield asyncio.run(both())
    finally:
        for stack, home in zip(stacks, homes, strict=True):
            stack.down()
            shutil.rmtree(stack.state, ignore_errors=True)
            shutil.rmtree(stack.memory.parent, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("number", [0, 1], ids=["undisturbed", "killed"])
def test_every_promise_is_kept(results: Results, number: int) -> None:
    run, _ = results[number]
    assert run.faults == ()
    assert run.bytes_equal
    if not run.kills:
        assert run.resident_max < 256 * 1024
        assert run.oldest_unsealed_max_s < 10
    assert run.caller_seconds >= SECONDS - 1
    assert run.agent_seconds >= SECONDS - 2
    assert run.recorded_s > SECONDS - 2
    assert run.ending == "complete"


def test_the_daemon_was_killed_all_along(results: Results) -> None:
    calm, killed = results[0][0], results[1][0]
    assert calm.kills == 0
    assert killed.kills >= 5


def test_memory_is_freed_while_the_call_runs(results: Results) -> None:
    for run, samples in results:
        assert run.bytes > 5 * run.resident_max
        halves = len(samples) // 2
        early, late = (max(s.resident for s in part) for part in (samples[:halves], samples[halves:]))
        assert late < early + 100_000, "it does not grow with the call"
        assert [s.size for s in samples] == sorted(s.size for s in samples)


def test_the_report_holds_runs_machine_and_curves(results: Results, tmp_path: Path) -> None:
    path = report(results, tmp_path, {"seconds": SECONDS})
    written = json.loads(path.read_text())
    assert [run["kills"] for run in written["runs"]] == [run.kills for run, _ in results]
    assert written["machine"]["cores"] >= 1
    for run, (_, samples) in zip(written["runs"], results, strict=True):
        assert len((tmp_path / run["curve"]).read_text().splitlines()) == 1 + len(samples)
