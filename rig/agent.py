"""The agent: a SIPp that answers whatever Asterisk dials, speaks, and logs when it was dialled and by whom."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rig.asterisk import Asterisk
from rig.process import Process, recall, start, wait_until
from rig.scenarios import agent
from rig.sipp import options, read_log
from rig.tones import AGENT, CALLER, voice_file

#: The seed of the agent's voice, for rig.tones.check(..., AGENT_VOICE, AGENT).
AGENT_VOICE = "agent"
#: The same of the far end of the trunk, for rig.tones.check(..., TRUNK_VOICE, CALLER).
TRUNK_VOICE = "trunk"
#: When the called party presses its key, milliseconds after it answered: within the question in every shipped language.
TRUNK_KEY_MS = 7000


@dataclass(frozen=True)
class AgentCall:
    """One call the agent got: caller's number as the agent saw it; Unix seconds, None where it did not come to that."""

    number: str
    dialled: float
    answered: float | None
    ended: float | None


@dataclass(frozen=True)
class Agent:
    """The running agent."""

    folder: Path
    process: Process

    def calls(self) -> list[AgentCall]:
        """Every call so far, in order of dialling."""
        by_call: dict[str, dict[str, tuple[float, str]]] = {}
        for entry in read_log(self.folder / "log"):
            by_call.setdefault(entry.call, {}).setdefault(entry.word, (entry.at, entry.rest))
        found = []
        for words in by_call.values():
            if "invited" in words:
                ends = [words[word][0] for word in ("they_hung_up", "we_hung_up", "cancelled") if word in words]
                answered = words["talking"][0] if "talking" in words else None
                dialled, number = words["invited"]
                found.append(AgentCall(number, dialled, answered, min(ends, default=None)))
        return found

    def dialled(self, number: str) -> AgentCall | None:
        """The last call from this number, None if the agent was never dialled for it."""
        return next((call for call in reversed(self.calls()) if call.number == number), None)

    def stop(self) -> None:
        """Hang up and go."""
        self.process.stop(within=3)


@dataclass(frozen=True)
class Line:
    """An Asterisk and the agent it dials."""

    pbx: Asterisk
    agent: Agent


def start_agent(pbx: Asterisk, *, ring_ms: int = 200, leave_after_ms: int = 0, media_ports: int = 2000) -> Agent:
    """Start the agent `pbx` expects; returns when its port answers.

    ring_ms: how long it rings; leave_after_ms: hang up so long after the answer, 0 for never.
    """
    return _start(
        pbx,
        pbx.run / "agent",
        pbx.agent_port,
        lambda folder: agent(voice_file(folder, AGENT_VOICE, AGENT), ring_ms=ring_ms, leave_after_ms=leave_after_ms),
        media_ports,
    )


def start_trunk(
    pbx: Asterisk, *, ring_ms: int = 200, key_after_ms: int = TRUNK_KEY_MS, media_ports: int = 400
) -> Agent:
    """Start the far end of the trunk `pbx` dials out through; returns when its port answers.

    It answers any number, speaks TRUNK_VOICE in the callers' band, and `key_after_ms` after the answer presses the last
    digit of the number that was dialled; 0 presses nothing.
    """
    return _start(
        pbx,
        pbx.run / "trunk",
        pbx.peers["trunk"],
        lambda folder: agent(voice_file(folder, TRUNK_VOICE, CALLER), ring_ms=ring_ms, key_after_ms=key_after_ms),
        media_ports,
    )


def _start(pbx: Asterisk, folder: Path, port: int, scenario: Callable[[Path], str], media_ports: int) -> Agent:
    folder.mkdir(exist_ok=True)
    left = recall("sipp", folder)
    if left is not None:
        left.stop(within=3)
    (folder / "log").unlink(missing_ok=True)
    command = options(pbx.programs, folder, scenario(folder), media_ports=media_ports, port=port)
    process = start("sipp", command, folder=folder, env={"PATH": os.defpath, "TERM": "dumb"})
    wait_until(f"the {folder.name}", lambda: _bound(port), within=10, process=process)
    return Agent(folder, process)


def _bound(port: int) -> bool:
    """Whether somebody holds the UDP port, from the kernel's table (asking by a packet would be a call)."""
    return any(f":{port:04X} " in line for line in Path("/proc/net/udp").read_text().splitlines())
