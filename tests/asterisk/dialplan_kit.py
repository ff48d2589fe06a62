"""An Asterisk with the shipped dialplan, a guard, and the small daemon that asks every party: for the dialplan's tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edge.errors import CallwardenError
from rig.agent import Agent, start_agent, start_trunk
from rig.asterisk import Asterisk, start_asterisk
from rig.checker import cdr_rows
from rig.desk_phone import DeskPhone
from rig.pbx_dialplan import DialplanSettings
from rig.phone import Phone
from rig.places import PROJECT
from rig.programs import Programs, old_programs
from rig.tones import AGENT, tone

PROMPT_S = 3.0
#: When the far end of the trunk presses the last digit of its number: in the prompt.
KEY_MS = 1500


def asterisk16() -> Programs:
    """Asterisk 16; where its release has left the host's mirror, the test is passed over and says so."""
    try:
        found = old_programs()
    except CallwardenError as error:
        if error.code != "environment.mirror_unreachable":
            raise
        pytest.skip(f"Asterisk 16 is not to be had: {error}; CALLWARDEN_SNAPSHOT may name a mirror that keeps it")
    assert found.version.startswith("16.")
    return found


@dataclass
class Bench:
    """One Asterisk, the agent it rings, and the far end of its trunk."""

    pbx: Asterisk
    agent: Agent
    trunk: Agent
    prompt: Path
    number: int = 420_601_000_000

    def caller(self) -> str:
        """A number nobody has had."""
        self.number += 1
        return f"+{self.number}"

    @property
    def socket(self) -> Path:
        """Where the daemon listens behind the guard."""
        return self.pbx.run / "agi.sock"

    def desk(self, name: str = "agent1") -> DeskPhone:
        """A phone of an agent, who speaks."""
        return DeskPhone(self.pbx.sip_port, name, self.pbx.peers[name], tone(name, AGENT))

    def variable(self, name: str) -> str:
        """A global."""
        lines = self.pbx.cli("dialplan show globals").splitlines()
        return next((line.split("=", 1)[1] for line in lines if line.strip().startswith(f"{name}=")), "")

    async def tags(self, number: str, within: float = 10) -> list[str]:
        """The user fields of this caller's records, waited for."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            found = [row["userfield"] for row in cdr_rows(self.pbx) if row["src"] == number]
            if found:
                return found
            await asyncio.sleep(0.1)
        return []

    async def agent_dialled(self, number: str, within: float = 20) -> float:
        """When the agent's phone was dialled for this caller. Raises AssertionError."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            found = self.agent.dialled(number)
            if found is not None:
                return found.dialled
            await asyncio.sleep(0.02)
        raise AssertionError(f"the agent was never dialled for {number}")

    async def trunk_answered(self, before: int, within: float = 20) -> float:
        """When the far end of the trunk answered the call after the first `before`. Raises AssertionError."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            calls = self.trunk.calls()
            if len(calls) > before and calls[before].answered is not None:
                return float(calls[before].answered or 0)
            await asyncio.sleep(0.02)
        raise AssertionError("the trunk was never dialled")


@contextmanager
def open_bench(
    run: Path,
    *,
    extra: str = "",
    agents_extra: str = "",
    variables: dict[str, str] | None = None,
    found: Programs | None = None,
) -> Iterator[Bench]:
    """A bench in `run`; `extra` and `agents_extra` are further extensions of from-callers and from-agents."""
    include = run / "etc" / "callwarden" / "callwarden.conf"
    plan = DialplanSettings(run / "monitor", include=include, extra=extra, agents_extra=agents_extra)
    pbx = start_asterisk(run, dialplan=plan, variables=variables, found=found)
    agent, trunk = start_agent(pbx), start_trunk(pbx, key_after_ms=KEY_MS)
    prompt = run / "prompt"
    samples = (6000 * np.sin(np.arange(int(8000 * PROMPT_S)) / 4)).astype(np.int16)
    with wave.open(str(prompt.with_suffix(".wav")), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    prompt.with_suffix(".wav").chmod(0o644)
    (run / "ami.secret").write_text(pbx.ami_secret)
    try:
        yield Bench(pbx, agent, trunk, prompt)
    finally:
        agent.stop()
        trunk.stop()
        pbx.stop()


class Child:
    """A process of the product, its log lines, and how to hurt it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: int) -> None:
        """Send a signal, unless it is gone."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def told(self, within: float = 20) -> dict[str, object]:
        """The next dialogue's line."""
        found = json.loads(await self.line(within))
        assert isinstance(found, dict)
        return found

    async def line(self, within: float = 20) -> str:
        """The next line that is not a log entry."""
        assert self.process.stdout is not None
        while True:
            raw = await asyncio.wait_for(self.process.stdout.readline(), within)
            assert raw, "the process ended"
            if raw.startswith((b"{", b"ready", b"callwarden-guard: ")):
                return raw.decode()

    async def stop(self) -> None:
        """End it, frozen or not."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self.process.wait()


async def _start(*arguments: str) -> Child:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=PROJECT,
        env=dict(os.environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Child(process)


@asynccontextmanager
async def open_guard(bench: Bench) -> AsyncIterator[Child]:
    """The guard, listening."""
    address = f"127.0.0.1:{bench.pbx.agi_port}"
    child = await _start("edge.agi.guard", "--listen", address, "--socket", str(bench.socket))
    while "listening" not in await child.line():
        pass
    yield child
    await child.stop()


@asynccontextmanager
async def open_daemon(bench: Bench) -> AsyncIterator[Child]:
    """Guard and daemon, who know each other."""
    async with open_guard(bench) as guard:
        run = bench.pbx.run
        child = await _start(
            *("tests.asterisk.agi_daemon", str(bench.socket), str(bench.pbx.ami_port), str(run / "ami.secret")),
            *(str(bench.prompt), str(run / "monitor")),
        )
        while "ready" not in await child.line():
            pass
        while f"daemon is at {bench.socket}" not in await guard.line():
            pass
        await asyncio.sleep(0.5)  # the first beat after the greeting
        yield child
        await child.stop()


async def press_in_prompt(phone: Phone, key: str = "1") -> None:
    """Hear the prompt begin, then press."""
    await phone.hear()
    await asyncio.sleep(0.3)
    await phone.press(key)


async def hang_up(*phones: Phone) -> None:
    """End calls that may have ended."""
    for phone in phones:
        with suppress(TimeoutError):
            await phone.hang_up()
