"""`make soak`: one ten-minute call undisturbed, and at the same time one whose daemon is killed with -9 every 5 seconds.

Measured from outside: plaintext resident in memory and the age of its oldest byte, over time; whether the exported
bytes are those Asterisk wrote; every second of both voices; length against Asterisk's own event log. The result goes to
`bench/results/soak-DATE.json`, the curves beside it as CSV.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import itertools
import json
import os
import platform
import secrets
import shutil
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.errors import CallwardenError
from rig import debs
from rig.agent import AGENT_VOICE
from rig.places import PROJECT, memory_folder
from rig.programs import programs
from rig.scenarios import Press, Step, Wait
from rig.stack import Stack, open_stack
from rig.story import Story, soon
from rig.story_audio import channels_of, exported, heard
from rig.story_scene import BUFFER_S, BYTE_RATE, HEARD_ENOUGH_S, MOST_RESIDENT, Scene, bridge_seconds
from rig.story_watch import Sample, SpoolWatch
from rig.tones import AGENT, CALLER

#: Plaintext may not wait longer to be sealed, seconds (the promise of "Capture and sealing").
OLDEST_S = 10.0
#: A killed daemon is ready again within so many seconds on an idle host; where it takes longer, nobody seals meanwhile,
#: and what comes in the time above this is allowed for.
STARTS_WITHIN_S = 2.5
#: How often the spool file is looked at, seconds.
SAMPLE_S = 0.25
RESULTS = PROJECT / "bench" / "results"


@dataclass(frozen=True)
class Run:
    """One long call. Times in seconds, sizes in bytes; `faults`: what broke a promise, in words."""

    name: str
    kills: int
    connected_s: float
    recorded_s: float
    segments: int
    ending: str
    samples: int
    widest_gap_between_samples_s: float
    resident_max: int
    resident_mean: int
    oldest_unsealed_max_s: float
    hangup_to_sealed_s: float
    bytes: int
    bytes_equal: bool
    caller_seconds: int
    agent_seconds: int
    caller_late_packets_s: float
    agent_late_packets_s: float
    restart_to_ready_max_s: float
    faults: tuple[str, ...]


async def long_call(stack: Stack, *, seconds: float, kill_every: float = 0) -> tuple[Run, list[Sample]]:
    """One recorded call of `seconds` of talk on a running stack, its daemon killed every `kill_every` seconds (0: never).

    Raises CallwardenError, ClaimFailed where it does not even come to a recording.
    """
    folder = memory_folder("soak-scratch") / secrets.token_hex(8)
    folder.mkdir(mode=0o700)
    try:
        with open(os.devnull, "w") as quiet:
            scene = Scene(stack, Story(quiet), folder, time.time())
            return await _long_call(scene, seconds, kill_every)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


async def _long_call(scene: Scene, seconds: float, kill_every: float) -> tuple[Run, list[Sample]]:
    who = scene.caller("Long")
    steps: list[Step] = [Wait(round(HEARD_ENOUGH_S * 1000)), Press("1"), Wait(round(seconds * 1000))]
    restarts: list[float] = []
    async with SpoolWatch(scene.stack, SAMPLE_S) as watch:
        call = asyncio.create_task(scene.call(who, steps))
        try:
            await soon(lambda: watch.alive and watch.alive[0].heard, within=30)
            killer = asyncio.create_task(_kill(scene.stack, kill_every, restarts)) if kill_every else None
            result = await call
        finally:
            call.cancel()
        if killer is not None:
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killer
            await asyncio.to_thread(_running_again, scene.stack)
        await soon(lambda: not watch.alive, within=20, every=0.02)
        scene.story.claim(
            "one capture file, and it is gone", len(watch.files) == 1 and not watch.alive, len(watch.files)
        )
        [file] = watch.files.values()
    row = await scene.row_of(who, result)
    recording = str(row["recordings"][0])
    facts = await scene.recording(recording)
    audio = await exported(scene, recording, "long.wav")
    left, right = await asyncio.to_thread(channels_of, audio)
    mine = await asyncio.to_thread(heard, left, who.voice, CALLER)
    theirs = await asyncio.to_thread(heard, right, AGENT_VOICE, AGENT)
    assert result.ended is not None
    assert file.gone_at is not None
    connected, late = bridge_seconds(scene.pbx, who.number), file.gone_at - result.ended
    whole = int(facts["seconds"])
    slow = max(0.0, max(restarts, default=0.0) - STARTS_WITHIN_S)
    promises = {
        f"{file.most_resident} bytes of plaintext in memory": file.most_resident < MOST_RESIDENT + slow * BYTE_RATE,
        f"a byte waited {file.oldest:.1f} s to be sealed": file.oldest < OLDEST_S + slow,
        "the exported bytes are not those that were in the spool": audio == bytes(file.heard),
        f"the caller: {mine}": mine.whole and mine.seconds >= whole,
        f"the agent: {theirs}": theirs.whole and theirs.seconds >= whole - 1,
        f"{facts['seconds']} s recorded of {connected:.2f} s": abs(facts["seconds"] - connected) <= BUFFER_S + 0.1,
        f"sealed {late:.2f} s after the hang-up": bool(kill_every) or late <= 1.0 + SAMPLE_S,
        f"ended {facts['ending']}": facts["ending"] == "complete",
    }
    times = [s.at for s in file.samples]
    run = Run(
        name=f"killed every {kill_every:g} s" if kill_every else "undisturbed",
        kills=len(restarts),
        connected_s=round(connected, 3),
        recorded_s=facts["seconds"],
        segments=len(facts["segments"]),
        ending=facts["ending"],
        samples=len(times),
        widest_gap_between_samples_s=round(max((b - a for a, b in itertools.pairwise(times)), default=0), 3),
        resident_max=file.most_resident,
        resident_mean=round(statistics.fmean(s.resident for s in file.samples)),
        oldest_unsealed_max_s=round(file.oldest, 2),
        hangup_to_sealed_s=round(late, 2),
        bytes=len(audio),
        bytes_equal=audio == bytes(file.heard),
        caller_seconds=mine.seconds,
        agent_seconds=theirs.seconds,
        caller_late_packets_s=round(mine.hushed, 2),
        agent_late_packets_s=round(theirs.hushed, 2),
        restart_to_ready_max_s=round(max(restarts, default=0.0), 2),
        faults=tuple(fault for fault, held in promises.items() if not held),
    )
    return run, file.samples


async def _kill(stack: Stack, every: float, restarts: list[float]) -> None:
    """Kill -9 and start again at once, until cancelled; how long each start took to be ready goes to `restarts`.

    A daemon that was slow to start lives for one second at least: one that never runs can seal nothing.
    """
    due = time.monotonic()
    while True:
        due = max(due + every, time.monotonic() + 1)
        await asyncio.sleep(due - time.monotonic())
        daemon = stack.process("edge")
        if daemon is not None:
            await asyncio.to_thread(daemon.kill)
        began = time.monotonic()
        await asyncio.to_thread(stack.start_edge)
        restarts.append(time.monotonic() - began)


def _running_again(stack: Stack) -> None:
    if stack.process("edge") is None:
        stack.start_edge()
    stack.wait_ready()


async def soak(seconds: float, kill_every: float) -> list[tuple[Run, list[Sample]]]:
    """Both calls at once, each on a stack of its own, which is stopped at the end."""
    stacks: list[Stack] = []
    try:
        for name in ("soak-calm", "soak-killed"):
            stack = open_stack(name, home=PROJECT / ".rig" / f"{name}-home")
            stacks.append(stack)
            await asyncio.to_thread(stack.up)
        return list(
            await asyncio.gather(
                long_call(stacks[0], seconds=seconds), long_call(stacks[1], seconds=seconds, kill_every=kill_every)
            )
        )
    finally:
        for stack in stacks:
            stack.down()


def report(results: list[tuple[Run, list[Sample]]], folder: Path, arguments: dict[str, Any]) -> Path:
    """Write the JSON and a CSV per run; the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"soak-{datetime.now(UTC):%Y-%m-%d}"
    runs = []
    for run, samples in results:
        curve = folder / f"{stem}-{'killed' if run.kills else 'undisturbed'}.csv"
        with curve.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["second", "spool_bytes", "resident_bytes", "oldest_unsealed_s"])
            start = samples[0].at
            writer.writerows((f"{s.at - start:.2f}", s.size, s.resident, f"{s.oldest:.2f}") for s in samples)
        runs.append({**asdict(run), "curve": curve.name})
    document = {"what": __doc__.split(":")[0].strip("`"), "arguments": arguments, "machine": machine(), "runs": runs}
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def machine() -> dict[str, Any]:
    """What the figures were seen on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "asterisk": programs().version,
        "load_at_end": [round(value, 2) for value in os.getloadavg()],
    }


def main(arguments: list[str]) -> int:
    """Exit code: 0 every promise was kept, 1 one was not, else that of the error."""
    parser = argparse.ArgumentParser(prog="python -m rig.soak")
    parser.add_argument("--seconds", type=float, default=600, help="of talk (default 600)")
    parser.add_argument("--kill-every", type=float, default=5, help="seconds between two kills (default 5)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON and the curves")
    given = parser.parse_args(arguments)
    try:
        debs.unpacked()
        print(f"soak: two calls of {given.seconds:g} s", file=sys.stderr, flush=True)
        results = asyncio.run(soak(given.seconds, given.kill_every))
    except CallwardenError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code) or 1
    path = report(results, given.results, {"seconds": given.seconds, "kill_every": given.kill_every})
    for run, _ in results:
        print(
            f"{run.name}: {run.recorded_s:.2f} s of {run.connected_s:.2f} s connected, {run.kills} kills,"
            f" {run.segments} segment(s); resident at most {run.resident_max / 1024:.0f} KiB,"
            f" oldest byte {run.oldest_unsealed_max_s:.1f} s; bytes equal: {'yes' if run.bytes_equal else 'NO'}"
        )
        for fault in run.faults:
            print(f"  BROKEN: {fault}")
    print(path)
    return 1 if any(run.faults for run, _ in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
