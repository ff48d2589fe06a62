"""Programs the rig starts: each with a pid file, its own identity and its own log, and stopped by that pid only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CallwardenError
from rig.places import Identity


@dataclass(frozen=True)
class Process:
    """A running program, known by its pid and the moment the kernel started it (so a reused pid is not ours)."""

    name: str
    pid: int
    born: str
    pid_file: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie of ours does not)."""
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pass  # started by an earlier run of the rig: not our child, the kernel's table still tells
        return _birth(self.pid) == self.born

    def signal(self, number: int) -> None:
        """Send a signal (SIGSTOP freezes, SIGCONT thaws, SIGKILL kills) unless it is gone already."""
        if self.alive:
            os.kill(self.pid, number)

    def stop(self, within: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `within` seconds; returns when it is gone."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self._gone(within):
            self.signal(signal.SIGKILL)
            self._gone(5.0)
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._gone(5.0)
        self.pid_file.unlink(missing_ok=True)

    def _gone(self, within: float) -> bool:
        end = time.monotonic() + within
        while self.alive and time.monotonic() < end:
            time.sleep(0.02)
        return not self.alive


def start(
    name: str,
    command: Sequence[str],
    *,
    folder: Path,
    identity: Identity | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    umask: int = 0o027,
) -> Process:
    """Start a program detached; its pid goes to `folder/NAME.pid`, what it prints to `folder/NAME.out`."""
    out = folder / f"{name}.out"
    with out.open("ab") as log:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd or folder,
            env=None if env is None else dict(env),
            start_new_session=True,
            umask=umask,
            **(identity or Identity()).popen(),
        )
    born = _birth(child.pid)
    child.returncode = 0  # Process reaps it; without this the forgotten Popen would warn
    pid_file = folder / f"{name}.pid"
    pid_file.write_text(f"{child.pid} {born}\n")
    return Process(name, child.pid, born, pid_file)


def recall(name: str, folder: Path) -> Process | None:
    """The program an earlier run started in this folder, if it still runs."""
    pid_file = folder / f"{name}.pid"
    if not pid_file.is_file():
        return None
    pid, _, born = pid_file.read_text().strip().partition(" ")
    found = Process(name, int(pid), born, pid_file)
    return found if found.alive else None


def wait_until(what: str, ready: Callable[[], object], within: float, process: Process | None = None) -> None:
    """Poll the callable `ready` until it is true.

    Raises CallwardenError environment.not_ready when the time passes or the process it waits for dies.
    """
    end = time.monotonic() + within
    while not ready():
        dead = process is not None and not process.alive
        if dead or time.monotonic() > end:
            tail = _tail(process) if process is not None else ""
            why = "ended" if dead else f"was not ready after {within:g} s"
            raise CallwardenError("environment.not_ready", f"{what} {why}{tail}")
        time.sleep(0.05)


def _tail(process: Process) -> str:
    out = process.pid_file.with_suffix(".out")
    if not out.is_file():
        return ""
    return "; it said: " + " / ".join(out.read_text(errors="replace").strip().splitlines()[-5:])


def _birth(pid: int) -> str:
    """Start time of a process in clock ticks since boot, from /proc; empty when it is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]
