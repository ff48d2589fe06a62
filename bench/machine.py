"""Names the machine and the software a measurement was made with."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from rig.places import PROJECT
from rig.programs import programs


def machine(state: Path) -> dict[str, object]:
    """Processor, cores, memory, kernel, and the file system below `state`."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        "kernel": platform.release(),
        "filesystem": _said("stat", "-f", "-c", "%T", str(state)),
        "load_average_at_end": os.getloadavg(),
    }


def software(*, telephony: bool = True) -> dict[str, object]:
    """Versions, and the commit with whether the tree differs from it; `telephony`: Asterisk's and the callers' too."""
    return {
        **(_telephony() if telephony else {}),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cryptography": version("cryptography"),
        "commit": _said("git", "-C", str(PROJECT), "rev-parse", "HEAD"),
        "uncommitted": _said("git", "-C", str(PROJECT), "status", "--porcelain", "edge", "central", "formats") != "",
    }


def _telephony() -> dict[str, object]:
    found = programs()
    return {
        "asterisk": found.version,
        "age": _said(*found.age, "--version"),
        "sipp": _first(r"SIPp (\S+?)[-,. ]*$", _said(*found.sipp, "-v")),
    }


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else text.splitlines()[0] if text else ""
