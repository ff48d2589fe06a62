"""`python -m bench.calls`: the same SIP calls through Asterisk alone, MixMonitor, MixMonitor with an age script, and
Callwarden, in one run and in turns; CPU per call, plaintext on disk, time to ciphertext. docs/bench.md explains figures.

Exits 0 when every variant has a round that counts: all calls went through, every recording opened at full length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import cpu, report, verify
from bench.machine import machine, software
from bench.variants import BARE, PROMPTED, Variant, dialplan
from bench.watch import Life, lives
from edge.errors import CallwardenError
from rig import checker, debs
from rig.callers import CallResult, place_many
from rig.places import PROJECT
from rig.programs import programs
from rig.stack import Stack, open_stack, say

RESULTS = PROJECT / "bench" / "results"


@dataclass(frozen=True)
class Options:
    """`rate`: calls started a second; `talk`, `prompt`: seconds of a call; `tail`: seconds after the last hang-up that
    still count (central hears of calls a little later); `idle`: seconds of the idle measurement."""

    rounds: int
    calls: int
    rate: float
    talk: float
    prompt: float
    tail: float
    idle: float
    bare: bool


class Bench:
    """One run on one stack."""

    def __init__(self, stack: Stack, options: Options, identity: Path) -> None:
        self.stack = stack
        self.options = options
        self.identity = identity
        self.idle: dict[str, cpu.Usage] = {}

    async def run(self) -> list[report.Row]:
        """Every variant once per round; returns a row for each."""
        self.idle = {"without_edge": await self._idle(edge=False), "with_edge": await self._idle(edge=True)}
        rows = []
        variants = (*PROMPTED, *(BARE if self.options.bare else ()))
        for number in range(1, self.options.rounds + 1):
            for variant in variants:
                row = {"round": number, "variant": variant.name} | await self.round(variant)
                rows.append(row)
                verdict = "" if row["counts"] else f": does not count, {'; '.join(row['why'][:3])}"
                total = row["cpu_ms_per_call"]["total"]
                say(f"round {number}, {variant.title}: {total:.1f} ms of CPU per call{verdict}")
        return rows

    async def round(self, variant: Variant) -> report.Row:
        """One variant's calls, their figures and their recordings."""
        options, stack = self.options, self.stack
        pids = self._prepare(variant.edge)
        idle = self.idle["with_edge" if variant.edge else "without_edge"]
        pbx = stack.pbx()
        for path in pbx.monitor.iterdir():
            path.unlink()
        load = os.getloadavg()[0]
        async with lives(pbx.monitor) as on_disk, lives(stack.spool if variant.edge else pbx.monitor) as in_memory:
            began, before = time.monotonic(), cpu.usage(pids)
            calls = await place_many(
                pbx,
                variant.extension,
                calls=options.calls,
                rate=options.rate,
                seconds=options.talk,
                behaviour="agree" if variant.prompted else "silent",
                prompt_s=options.prompt if variant.prompted else 0,
            )
            await asyncio.sleep(options.tail)
            after, window = cpu.usage(pids), time.monotonic() - began
            ended = time.time()
        spent = cpu.spent(before, after)
        per_call = {
            part: round((spent.get(part, 0.0) - idle.get(part, 0.0) * window) / options.calls, 2)
            for part in report.PARTS
        }
        row: report.Row = {
            "cpu_ms_per_call": per_call | {"total": round(sum(per_call.values()), 2)},
            "window_s": round(window, 2),
            "load_before": round(load, 2),
        }
        row |= await self._recordings(variant, calls, on_disk, in_memory, ended)
        row["why"] = [*_faults(calls, options.calls), *row["why"]]
        return row | {"counts": not row["why"]}

    # ------------------------------------------------------------ the stack's two states

    def _prepare(self, edge: bool) -> dict[str, int]:
        """Edge and guard run only where they are measured: their AMI link costs Asterisk an event for whatever happens."""
        running = self.stack.process("edge")
        if edge and running is None:
            self.stack.up()
        elif not edge and running is not None:
            running.stop()
            if (guard := self.stack.process("guard")) is not None:
                guard.stop()
        found = {name: self.stack.process(name) for name in report.PARTS}
        return {name: process.pid for name, process in found.items() if process is not None}

    async def _idle(self, *, edge: bool) -> cpu.Usage:
        """Milliseconds of CPU per second without a call."""
        pids = self._prepare(edge)
        await asyncio.sleep(3)  # what starting left to do
        began, before = time.monotonic(), cpu.usage(pids)
        await asyncio.sleep(self.options.idle)
        span = time.monotonic() - began
        return {part: round(ms / span, 3) for part, ms in cpu.spent(before, cpu.usage(pids)).items()}

    # ------------------------------------------------------------ recordings

    async def _recordings(
        self,
        variant: Variant,
        calls: Sequence[CallResult],
        on_disk: dict[str, Life],
        in_memory: dict[str, Life],
        ended: float,
    ) -> report.Row:
        """Open what the round recorded; how long plaintext lay on a disk, and when there was ciphertext only."""
        plain: list[float] = []
        sealed: list[float] = []
        opened: dict[str, verify.Opened] = {}
        why: list[str] = []
        stays = False
        if variant.records in ("wav", "age"):
            monitor = self.stack.pbx().monitor
            by_number = {row["src"]: row["uniqueid"] for row in checker.cdr_rows(self.stack.pbx())}
            for call in calls:
                wav = monitor / f"{by_number.get(call.number, 'none')}.wav"
                life = on_disk.get(wav.name, Life())
                if life.created is not None:
                    plain.append((life.deleted or ended) - life.created)
                stays = stays or life.deleted is None
                if variant.records == "wav":
                    opened[call.number] = await asyncio.to_thread(verify.open_wav, wav)
                else:
                    cipher = wav.with_name(f"{wav.name}.age")
                    opened[call.number] = await asyncio.to_thread(
                        verify.open_age, cipher, programs().age, self.identity
                    )
                    if life.deleted is not None and call.ended is not None:
                        sealed.append((life.deleted - call.ended) * 1000)
        elif variant.records == "callwarden":
            filed = verify.filed(self.stack)
            mine = {call.number: filed[call.number] for call in calls if call.number in filed}
            with tempfile.TemporaryDirectory() as folder:
                keep = Path(folder, "one.wav")
                recordings = {number: entry.recording_id for number, entry in mine.items()}
                opened = await verify.export(self.stack, recordings, keep=keep)
                if keep.exists():
                    found = verify.plaintext_found(keep, self.stack.state / "var", self.stack.pbx().monitor)
                    why += [f"plaintext in {path}" for path in found]
            for call in calls:
                life = in_memory.get(mine[call.number].spool_name, Life()) if call.number in mine else Life()
                if life.deleted is not None and call.ended is not None:
                    plain.append(0.0)  # the spool is memory, and nothing of it was found on the disk
                    sealed.append((life.deleted - call.ended) * 1000)
        if variant.records != "none":
            why += _short(calls, opened)
        return {
            "plaintext_on_disk_s": report.spread(plain, 3),
            "plaintext_stays": stays,
            "hangup_to_durable_ciphertext_ms": report.spread(sealed, 1),
            "recordings": {
                "opened": sum(o.seconds is not None for o in opened.values()),
                "seconds": report.spread([o.seconds for o in opened.values() if o.seconds is not None], 2),
            },
            "why": why,
        }


def _short(calls: Sequence[CallResult], opened: dict[str, verify.Opened]) -> list[str]:
    """Recordings that do not open or are too short, in words."""
    faults = []
    for call in calls:
        since = call.pressed[0] if call.pressed else call.answered
        talked = (call.ended or 0) - (since or 0)
        found = opened.get(call.number, verify.Opened(None, "there is none"))
        if not found.full(talked):
            length = "" if found.seconds is None else f"{found.seconds:.2f} s of {talked:.2f} s"
            faults.append(f"recording of {call.number}: {found.why or length}")
    return faults


def _faults(calls: Sequence[CallResult], wanted: int) -> list[str]:
    """Calls that did not go as the scenario says, in words."""
    faults = [
        f"call of {call.number} was ended by {call.ended_by or 'a refusal'}"
        for call in calls
        if call.ended_by != "caller"
    ]
    return faults if len(calls) == wanted else [*faults, f"{len(calls)} of {wanted} calls"]


def _options(arguments: list[str]) -> tuple[Options, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=20, help="per variant and round")
    parser.add_argument("--rate", type=float, default=6.0, help="calls started a second")
    parser.add_argument("--talk", type=float, default=8.5, help="seconds of conversation")
    parser.add_argument("--prompt", type=float, default=5.3, help="seconds after which the caller presses 1")
    parser.add_argument("--tail", type=float, default=2.5, help="seconds measured after the last hang-up")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of each idle measurement")
    parser.add_argument("--bare", action="store_true", help="also the calls without prompt, for the first three ways")
    parser.add_argument("--out", type=Path, help="where to write the JSON (default: bench/results/calls-DATE.json)")
    chosen = vars(parser.parse_args(arguments))
    return Options(**{name: chosen[name] for name in Options.__dataclass_fields__}), chosen["out"]


def _measure(options: Options) -> report.Row:
    """Bring a stack of its own up, measure, take it down."""
    home = PROJECT / ".rig" / "bench-home"
    home.mkdir(parents=True, exist_ok=True)
    stack = open_stack("bench", home=home)
    stack.down()
    stack.pbx_run.mkdir(mode=0o755, exist_ok=True)
    prompt = stack.pbx_run / "bench-ask.wav"
    prompt.write_bytes((PROJECT / "prompts" / "en" / "ask.wav").read_bytes())
    prompt.chmod(0o644)
    with tempfile.TemporaryDirectory() as folder:
        identity = Path(folder, "identity")
        recipient = verify.new_identity(identity, programs().age_keygen)
        stack.age_recipient = recipient
        stack.extra_dialplan = dialplan(prompt.with_suffix(""), stack.pbx_run / "monitor", programs().age, recipient)
        try:
            stack.up()
            bench = Bench(stack, options, identity)
            rounds = asyncio.run(bench.run())
        finally:
            stack.down()
    by_variant = report.medians(rounds)
    return {
        "what": "CPU per call and plaintext on disk, side by side",
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(stack.state),
        "software": software(),
        "options": asdict(options),
        "idle_cpu_ms_per_s": bench.idle,
        "medians": by_variant,
        "comparison": report.comparison(by_variant),
        "rounds": rounds,
    }


def main(arguments: list[str]) -> int:
    """Measure, write the JSON, print the table."""
    options, out = _options(arguments)
    try:
        debs.unpacked()
        result = _measure(options)
    except CallwardenError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)
    out = out or RESULTS / f"calls-{result['at'][:10]}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result, {variant.name: variant.title for variant in (*PROMPTED, *BARE)}))
    print(f"Figures of every round: {out}")
    return 0 if all(row["rounds"] for row in result["medians"].values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
