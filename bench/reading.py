"""`python -m bench.reading`: ten seconds out of a four-hour recording against the whole of it, each as a person would export it.

A recording of sixteen segments of fifteen minutes is sealed into a vault of its own through the real journal, slots and
vault; then `callwarden export` takes a part from the middle and the whole, in turns. Exits 0 when both give the very samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

from bench.machine import machine, software
from rig.places import PROJECT
from tests.unit.cli import cli_makers as make

RESULTS = PROJECT / "bench" / "results"
RATE, FRAME = 8000, 4
#: Minutes of a segment (edge.consent.policy: a segment lasts 15 minutes at most).
SEGMENT_MIN = 15

Row = dict[str, Any]


async def _recorded(edge: make.Edge, minutes: int, suite: str) -> make.Recorded:
    span = make.sound(SEGMENT_MIN * 60, 1)
    async with make.opened(edge) as files:
        return await make.record(edge, files, [span] * (minutes // SEGMENT_MIN), suite=suite)


def _export(edge: make.Edge, recording: make.Recorded, target: Path, *span: str) -> tuple[float, bytes]:
    """Seconds of wall time, and the samples that came."""
    began = time.perf_counter()
    done = edge.run("export", recording.recording_id, "-i", edge.paths["operator_identity"], "-o", target, *span)
    spent = time.perf_counter() - began
    if done.code:
        raise RuntimeError(done.err)
    with wave.open(str(target)) as audio:
        samples = audio.readframes(audio.getnframes())
    target.unlink()
    return spent, samples


def run(minutes: int, rounds: int, folder: Path, run_dir: Path) -> Row:
    """Both ways once per round and suite, in turns. Raises RuntimeError where other samples come."""
    edge = make.make_edge(folder / "etc", run_dir)
    middle = minutes * 30
    span = ("--from", f"{middle}s", "--to", f"{middle + 10}s")
    found: Row = {}
    for suite in ("age1", "aes256gcm"):
        recording = asyncio.run(_recorded(edge, minutes, suite))
        begin = middle * RATE * FRAME
        rows = []
        for _ in range(rounds):
            part_s, part = _export(edge, recording, folder / "part.wav", *span)
            whole_s, whole = _export(edge, recording, folder / "whole.wav")
            if part != recording.audio[begin : begin + 10 * RATE * FRAME] or whole != recording.audio:
                raise RuntimeError("other samples came than were recorded")
            rows.append({"part_s": round(part_s, 4), "whole_s": round(whole_s, 4)})
        found[suite] = {
            "part_s": statistics.median(r["part_s"] for r in rows),
            "whole_s": statistics.median(r["whole_s"] for r in rows),
            "whole/part": round(statistics.median(r["whole_s"] / r["part_s"] for r in rows), 1),
            "rounds": rows,
        }
    return found


def main(arguments: list[str]) -> int:
    """Measure, write the JSON, print it in words."""
    parser = argparse.ArgumentParser(prog="python -m bench.reading", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=int, default=240, help="length of the recording, a multiple of 15")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="where to write the JSON (default: bench/results/reading-DATE.json)")
    options = parser.parse_args(arguments)
    disk = PROJECT / ".rig"
    disk.mkdir(exist_ok=True)
    run_dir = Path(tempfile.mkdtemp(prefix="cw-", dir="/dev/shm"))  # a socket's path has at most 107 bytes
    try:
        with tempfile.TemporaryDirectory(dir=disk) as folder:
            found = run(options.minutes, options.rounds, Path(folder), run_dir)
            result = {
                "what": "ten seconds out of the middle of a recording, against all of it",
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "machine": machine(Path(folder)),
                "software": software(telephony=False),
                "options": {"minutes": options.minutes, "rounds": options.rounds},
                "suites": found,
            }
    finally:
        shutil.rmtree(run_dir)
    out = options.out or RESULTS / f"reading-{result['at'][:10]}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    for suite, row in found.items():
        print(
            f"{suite:10} 10 s of {options.minutes} min: {row['part_s'] * 1000:.0f} ms; all of it: {row['whole_s']:.2f} s;"
            f" {row['whole/part']:.0f} times as long"
        )
    print(f"Figures of every round: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
