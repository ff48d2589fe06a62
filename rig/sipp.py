"""Runs SIPp: one scenario, its rows of callers, and what it logged."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import CallwardenError
from rig.ports import free_port, free_range
from rig.programs import Programs


@dataclass(frozen=True)
class Entry:
    """One line a scenario logged: what happened, when (Unix seconds), in which call, and a word more."""

    word: str
    at: float
    call: str
    rest: str


@dataclass(frozen=True)
class SippRun:
    """SIPp's exit code, its log by call (its own call ids, in order of the rows), and its complaints."""

    exit_code: int
    calls: dict[str, list[Entry]]
    errors: str


_LINE = re.compile(r"(\w+) [\d-]+\s+[\d:.]+\s+(\d+\.\d+) (\S+) ?(.*)")


def read_log(path: Path) -> list[Entry]:
    """The entries of a log that SIPp writes or wrote; a line it is in the middle of is left for the next time."""
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").split("\n")[:-1]
    found = (_LINE.fullmatch(line) for line in lines)
    return [Entry(m[1], float(m[2]), m[3], m[4]) for m in found if m]


def options(found: Programs, folder: Path, scenario: str, *, media_ports: int, port: int | None = None) -> list[str]:
    """The command line that is common to callers and agent: loopback, own ports, own logs in `folder`."""
    sheet = folder / "scenario.xml"
    sheet.write_text(scenario)
    first, last = free_range(media_ports)
    arguments = {
        "-sf": sheet,
        "-i": "127.0.0.1",
        "-mi": "127.0.0.1",
        "-p": port or free_port(),
        "-cp": free_port(),  # SIPp's remote control, which cannot be switched off
        "-min_rtp_port": first,
        "-max_rtp_port": last,
        "-log_file": folder / "log",
        "-error_file": folder / "err",
    }
    flags = ["-nostdin", "-trace_logs", "-trace_err", "-aa"]  # -aa: answer INFO, UPDATE and OPTIONS by itself
    return [*found.sipp, *flags, *(str(part) for pair in arguments.items() for part in pair)]


async def run_callers(
    found: Programs,
    work: Path,
    *,
    sip_port: int,
    ext: str,
    scenario: str,
    rows: Sequence[str],
    rate: float,
    longest: float,
) -> SippRun:
    """One call per row, `rate` of them started a second.

    work: where a scratch folder is made and removed again; longest: seconds after which SIPp ends itself.
    Raises CallwardenError environment.sipp when it could not run a single call.
    """
    calls = len(rows)
    folder = Path(tempfile.mkdtemp(prefix="calls-", dir=work))
    try:
        (folder / "who.csv").write_text("SEQUENTIAL\n" + "".join(f"{row};\n" for row in rows))
        command = [
            *options(found, folder, scenario, media_ports=max(20, 8 * calls)),
            *("-inf", str(folder / "who.csv"), "-s", ext, "-m", str(calls), "-l", str(calls)),
            # -r calls each -rp milliseconds: any fraction of a call a second can be said.
            *("-r", "1", "-rp", str(max(1, round(1000 / rate)))),
            *("-timeout", str(round(longest)), f"127.0.0.1:{sip_port}"),
        ]
        child = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said = (await asyncio.wait_for(child.communicate(), longest + 30))[1].decode(errors="replace")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        entries = read_log(folder / "log")
        errors = _text(folder / "err")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not entries:
        raise CallwardenError("environment.sipp", f"SIPp ran no call: {errors or said}", where=ext)
    by_call: dict[str, list[Entry]] = {}
    for entry in entries:
        by_call.setdefault(entry.call, []).append(entry)
    assert child.returncode is not None
    return SippRun(child.returncode, by_call, errors)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""
