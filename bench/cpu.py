"""CPU time of processes as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")

Usage = dict[str, float]


def usage(pids: Mapping[str, int]) -> Usage:
    """Milliseconds of CPU each process has used since its start, user and system, all threads, ended children included.

    From /proc/PID/stat (proc(5): utime, stime, cutime, cstime), in steps of one clock tick (10 ms). Children count once
    they are waited for: `sh`, `age` and `rm` that Asterisk runs after a recording are in Asterisk's figure.
    Raises FileNotFoundError when a process is gone.
    """
    return {name: _milliseconds(pid) for name, pid in pids.items()}


def _milliseconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) * _TICK_MS


def spent(before: Usage, after: Usage) -> Usage:
    """What was used between two readings, milliseconds."""
    return {name: after[name] - before[name] for name in before}
