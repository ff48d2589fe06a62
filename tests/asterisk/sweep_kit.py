"""Drives whole stacks through kills: the daemon armed at a failpoint, something that passes it, the restart, the checks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import re
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
import traceback
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge.consent.permit import PERMITTING
from rig.agent import AGENT_VOICE
from rig.callers import CallResult, place_call
from rig.checker import cdr_of, outcome, wait_idle
from rig.invariants import check, snapshot
from rig.places import memory_folder
from rig.process import Process
from rig.spool_watch import SpoolWatch
from rig.stack import Stack, open_stack
from rig.tones import AGENT, CALLER, listen
from rig.tones import check as check_voice

#: The shipped question can be answered from 4.95 s on (its manifest); the caller then presses.
PRESS_AT_S = 5.5
#: Seconds by which a recording may be shorter than the call from key to hang-up: the key itself, one RTP start-up.
SLACK_S = 0.7
#: How old a byte gets while the daemon lives: one chunk of 2.05 s, one tick of 4 s, and a second for a busy machine.
OLDEST_S = 7.0
#: What a two-channel capture at 8 kHz grows by.
BYTES_PER_S = 32_000


@dataclass(frozen=True)
class Scenario:
    """Where to kill and what to drive. `point`: a failpoint, with :nth where the first passing is not meant.

    kind: "call" (agrees), "member" (line 1006, mode prior: agrees, and is remembered), "law" (line 1004, mode
    obligation: listens), "late" (as that, restarted only after the call), "never" (line 1005), "hang_up" (during the
    question), "again" (killed once before; the second start is armed), "damage" (bytes are added to the payload),
    "erase", "start" (nothing but a start).
    outcome: of the call in the end, "" for whatever both records agree on. seconds: how long the caller stays after the
    key, which is pressed `press_at` seconds after the answer.
    """

    point: str
    kind: str = "call"
    outcome: str = ""
    seconds: float = 4.0
    press_at: float = PRESS_AT_S
    first: str = ""  # of "again": where the first daemon is killed
    before: Callable[[Bench], None] | None = None

    @property
    def name(self) -> str:
        """The failpoint's own name."""
        return self.point.partition(":")[0]


@dataclass
class Bench:
    """A stack, and what was recorded on it."""

    stack: Stack
    spare: list[str] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    away_s: float = 0.0  # seconds without a daemon in the present scenario

    # ------------------------------------------------------------ the daemon

    def arm(self, point: str) -> Process:
        """Stop the daemon and start it with `point` armed; returns when it is ready or dead."""
        running = self.stack.process("edge")
        if running is not None:
            running.stop()
        armed = self.stack.start_edge({"CALLWARDEN_FAILPOINT": point}, wait=False)
        wait_for("the armed daemon", lambda: self.stack.ready() or _gone(armed.pid), 20)
        return armed

    def killed(self, armed: Process, within: float) -> None:
        """Wait until the armed daemon killed itself, and say how it ended otherwise."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            pid, status = os.waitpid(armed.pid, os.WNOHANG)
            if pid:
                assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"it ended with {status}"
                armed.pid_file.unlink(missing_ok=True)
                return
            time.sleep(0.02)
        raise AssertionError("the failpoint was never passed")

    def restart(self) -> None:
        """Start it as usual."""
        away = time.time()
        self.stack.start_edge()
        self.outages.append((away - 1, time.time() + 1))
        self.away_s += time.time() - away

    # ------------------------------------------------------------ calls

    def judge(self, call: CallResult, expected: str) -> str:
        """What became of one call: the agent was reached, both records agree, audio is whole where there was a yes."""
        assert call.exit_code == 0, call.errors
        reached = self.stack.agent().dialled(call.number)
        [record] = cdr_of(self.stack.pbx(), call.number)
        tag = outcome(record)
        if expected != "abandoned":
            assert reached is not None, "the call did not reach its agent"
        row, found = self._settled(record["linkedid"])
        said = row["outcome"] if row else "unavailable"
        assert said == expected or not expected, f"{said}, not {expected}"
        assert tag == said or (tag, said) == ("unavailable", "abandoned") or self._ended_away(call, tag)
        kept = [r for r in found if r["state"] != "no_audio"]
        if said not in PERMITTING:
            assert kept == [], "audio without a yes"
            return ""
        [one] = kept
        assert (one["state"], one["ending"]) == ("sealed", "complete")
        began = call.pressed[0] if call.pressed else reached.answered if reached else None
        assert began is not None
        self._heard(call, one["recording_id"], began)
        self.spare.append(one["recording_id"])
        return str(one["recording_id"])

    def _ended_away(self, call: CallResult, tag: str) -> bool:
        """Whether nobody was there to write the tag before the hang-up."""
        ended = call.ended
        return tag == "unavailable" and ended is not None and any(a <= ended <= b for a, b in self.outages)

    def _settled(self, linked_id: str) -> tuple[sqlite3.Row | None, list[sqlite3.Row]]:
        """The call's row and its recordings, once none of them is on its way."""
        end = time.monotonic() + 6
        while True:
            with contextlib.closing(snapshot(self.stack.journal)) as conn:
                row = conn.execute("SELECT * FROM call WHERE linked_id=?", (linked_id,)).fetchone()
                found = conn.execute(
                    "SELECT r.recording_id, r.state, r.ending FROM recording r JOIN call USING(call_id)"
                    " WHERE linked_id=?",
                    (linked_id,),
                ).fetchall()
            ended = row is None or row["state"] == "ended"
            if time.monotonic() > end or (ended and all(r["state"] in ("sealed", "no_audio") for r in found)):
                return row, found
            time.sleep(0.1)

    def _heard(self, call: CallResult, recording_id: str, began: float) -> None:
        """From the key (or the agent's answer) to the hang-up no second is missing, repeated or another caller's, on either side."""
        with memory() as folder:
            wav = folder / "out.wav"
            self.stack.callwarden("export", recording_id, "--identity", str(self.stack.identity_file), "-o", str(wav))
            with wave.open(str(wav)) as file:
                pcm = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
        assert call.ended is not None
        due = call.ended - began
        length = len(pcm) / 8000
        assert due - SLACK_S < length < due + 0.2, f"{length:.2f} s of {due:.2f} s"
        spoken = listen(np.ascontiguousarray(pcm[:, 0]), CALLER)
        verdict = check_voice(spoken, call.voice, CALLER)
        faults = [f for f in verdict.faults if not _line_noise(f)]
        assert not faults, faults
        assert sum(s.seconds for s in spoken) > length - 0.5, "the caller falls silent"
        answers = check_voice(listen(np.ascontiguousarray(pcm[:, 1]), AGENT), AGENT_VOICE, AGENT)
        assert [f for f in answers.faults if not _line_noise(f)] == []

    def verify(
        self, since: float, *, lines: Sequence[str] = ("1001", "1004", "1005", "1006"), whole_disk: bool = False
    ) -> None:
        """Everything the checker asks."""
        assert wait_idle(self.stack.pbx())
        found = check(self.stack, since=since, lines=lines, outages=self.outages, whole_disk=whole_disk)
        assert found == [], "\n".join(found)


def _line_noise(fault: str) -> bool:
    """A silence that came down the line: while the key is pressed, or of a packet or five that a busy machine sent late.

    A hole of ours would be pages of 4 KiB, 0.128 s or more.
    """
    gap = re.match(r"gap of ([0-9.]+) s at ([0-9.]+) s", fault)
    return gap is not None and (float(gap[1]) <= 0.1 or float(gap[2]) < 0.3)


# ---------------------------------------------------------------- scenarios


def run(bench: Bench, scenario: Scenario) -> None:
    """One scenario from the armed start to the checker."""
    since = time.time() - 0.5
    if scenario.before is not None:
        scenario.before(bench)
    bench.away_s = 0.0
    drive = {"erase": _erase, "start": _start, "again": _again, "damage": _damage}.get(scenario.kind, _call)
    with SpoolWatch(bench.stack.spool) as watch:
        drive(bench, scenario)
        bench.verify(since)
    # While nobody seals, Asterisk goes on writing: bytes get older and more by the time without a daemon.
    oldest = max(10.0, OLDEST_S + bench.away_s)
    assert watch.oldest_s < oldest, f"plaintext {watch.oldest_s:.1f} s old, {bench.away_s:.1f} s without a daemon"
    most = (256 << 10) + BYTES_PER_S * bench.away_s
    assert watch.most_bytes < most, f"{watch.most_bytes} bytes resident, {bench.away_s:.1f} s without a daemon"


def place(bench: Bench, pool: ThreadPoolExecutor, scenario: Scenario) -> Future[CallResult]:
    """Its call, in the background."""
    ext = {"never": "1005", "member": "1006", "law": "1004"}.get(scenario.kind, "1001")
    behaviour = {"never": "silent", "law": "silent", "hang_up": "hang_up"}.get(scenario.kind, "agree")
    prompt_s = {"never": 0.0, "hang_up": 3.0}.get(scenario.kind, scenario.press_at)
    pbx = bench.stack.pbx()
    # Only a telephone number can be remembered; the rig's own numbers are none.
    number = f"+420608{time.monotonic_ns() // 1_000_000 % 10**6:06d}" if scenario.kind == "member" else None
    return pool.submit(
        lambda: asyncio.run(
            place_call(pbx, ext, behaviour=behaviour, prompt_s=prompt_s, seconds=scenario.seconds, number=number)
        )
    )


def _call(bench: Bench, scenario: Scenario) -> None:
    armed = bench.arm(scenario.point)
    with ThreadPoolExecutor(1) as pool:
        call = place(bench, pool, scenario)
        bench.killed(armed, scenario.press_at + scenario.seconds + 10)
        away = time.time() - 0.5
        if scenario.kind == "late":
            call.result(60)
        bench.restart()
        bench.outages.append((away, time.time()))
        bench.judge(call.result(60), scenario.outcome)


def _again(bench: Bench, scenario: Scenario) -> None:
    """Killed in mid-call, then again on the way back."""
    armed = bench.arm(scenario.first)
    with ThreadPoolExecutor(1) as pool:
        call = place(bench, pool, scenario)
        bench.killed(armed, scenario.press_at + scenario.seconds + 5)
        if scenario.point.startswith("rotate."):  # without its key the segment cannot go on
            for key in (bench.stack.memory / "resume").glob("*.key"):
                key.unlink()
        away = time.time()
        bench.killed(bench.arm(scenario.point), 10)
        bench.outages.append((away - 1, time.time() + 1))
        bench.away_s += time.time() - away
        bench.restart()
        bench.judge(call.result(60), scenario.outcome)


def _damage(bench: Bench, scenario: Scenario) -> None:
    """Foreign bytes behind the sealed ones: the open segment must end, a new one starts, no audio is lost."""
    armed = bench.arm(scenario.point)
    known = set(bench.stack.vault.rglob("*.payload"))
    with ThreadPoolExecutor(1) as pool:
        call = place(bench, pool, scenario)
        new: set[Path] = set()

        def grown() -> bool:
            new.update(p for p in set(bench.stack.vault.rglob("*.payload")) - known if p.stat().st_size > 65536)
            return bool(new)

        wait_for("a sealed piece", grown, scenario.press_at + 8)
        time.sleep(0.3)  # the piece's commit
        with next(iter(new)).open("ab") as payload:
            payload.write(os.urandom(777))
        bench.killed(armed, scenario.seconds + 10)
        bench.restart()
        bench.judge(call.result(60), scenario.outcome)


def _erase(bench: Bench, scenario: Scenario) -> None:
    """Central orders an erasure; the daemon is killed inside it and finishes after its restart."""
    if not bench.spare:
        with ThreadPoolExecutor(1) as pool:
            bench.judge(place(bench, pool, Scenario("", seconds=2)).result(60), "given")
    recording_id = bench.spare.pop(0)
    armed = bench.arm(scenario.point)
    stack = bench.stack
    order = ("central", "erase", "--recording", recording_id, "--reason", "test", "--dpo-key", str(stack.dpo_key))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: stack.callwarden(*order, "--wait", "40", check=False))
        bench.killed(armed, 25)
        bench.restart()
        done = answer.result(60)
    assert done.returncode == 0, done.stderr
    with memory() as folder:
        receipt = folder / "receipt"
        receipt.write_text(done.stdout)
        stack.callwarden("receipt", "verify", str(receipt), "--trust", str(stack.trust))
        refused = stack.callwarden(
            "export", recording_id, "--identity", str(stack.identity_file), "-o", str(folder / "x.wav"), check=False
        )
    assert refused.returncode == 5, refused.stderr
    assert stack.read("central", "receipts", "--recording", recording_id)[0]["result"] == "done"


def _start(bench: Bench, scenario: Scenario) -> None:
    bench.killed(bench.arm(scenario.point), 5)
    bench.restart()
    with ThreadPoolExecutor(1) as pool:
        bench.judge(place(bench, pool, scenario).result(60), scenario.outcome)


# ---------------------------------------------------------------- several stacks at once


class Sweep:
    """Runs scenarios on `stacks` stacks side by side; `result` waits for one and raises what it raised."""

    def __init__(self, scenarios: Sequence[Scenario], stacks: int) -> None:
        self._queue: queue.Queue[Scenario] = queue.Queue()
        self._done: dict[str, Future[None]] = {s.point: Future() for s in scenarios}
        for scenario in scenarios:
            self._queue.put(scenario)
        self.benches: list[Bench] = []
        self._opening = threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="callwarden-sweep-"))
        count = min(stacks, len(scenarios))
        self._threads = [threading.Thread(target=self._work, args=(f"sweep-{n}",)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def result(self, scenario: Scenario) -> None:
        """Raises what the scenario raised."""
        self._done[scenario.point].result(600)

    def join(self) -> None:
        """Finish what runs, begin nothing more, take everything down."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        for thread in self._threads:
            thread.join()
        for bench in self.benches:
            close(bench.stack)
        shutil.rmtree(self._folder)

    def _work(self, name: str) -> None:
        bench: Bench | None = None
        while True:
            try:
                scenario = self._queue.get_nowait()
            except queue.Empty:
                return
            future = self._done[scenario.point]
            try:
                if bench is None:
                    with self._opening:  # ports are chosen one stack after the other
                        bench = fresh(name, self._folder / name)
                        self.benches.append(bench)
                run(bench, scenario)
            except BaseException as error:
                said = _tail(bench)
                error.add_note(f"at {scenario.point} on {name}\n{traceback.format_exc()}\n{said}")
                future.set_exception(error)
                if bench is not None:
                    self.benches.remove(bench)
                    close(bench.stack)
                    bench = None
            else:
                future.set_result(None)


def fresh(name: str, home: Path) -> Bench:
    """A stack that starts from nothing."""
    home.mkdir(parents=True, exist_ok=True)
    stack = open_stack(name, home=home)
    stack.down()
    shutil.rmtree(stack.state)
    stack = open_stack(name, home=home)
    stack.up()
    return Bench(stack)


def close(stack: Stack) -> None:
    """Stop everything and leave nothing."""
    stack.down()
    shutil.rmtree(stack.state, ignore_errors=True)
    shutil.rmtree(stack.memory.parent, ignore_errors=True)


@contextmanager
def memory() -> Iterator[Path]:
    """A folder for plaintext that tests make themselves: in memory, so that the search finds only the product's."""
    folder = Path(tempfile.mkdtemp(dir=memory_folder("sweep-out")))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def wait_for(what: str, ready: Callable[[], Any], within: float) -> None:
    """Poll `ready`. Raises AssertionError when the time passes."""
    end = time.monotonic() + within
    while not ready():
        assert time.monotonic() < end, f"{what} did not come within {within:g} s"
        time.sleep(0.02)


def _gone(pid: int) -> bool:
    """Whether it ended; its status stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _tail(bench: Bench | None) -> str:
    if bench is None:
        return ""
    out = bench.stack.run / "edge.out"
    return "\n".join(out.read_text(errors="replace").splitlines()[-25:]) if out.is_file() else ""
