"""The dialplan, the guard and the AGI door on a real Asterisk: how long a caller waits when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rig.agent import Agent, start_agent
from rig.asterisk import Asterisk, start_asterisk
from rig.checker import cdr_of, complaints, outcome, wait_idle
from rig.pbx_dialplan import DialplanSettings
from rig.phone import Phone
from rig.places import PROJECT

pytestmark = pytest.mark.asterisk

DEADMAN_S = 5
ADMIN_LIMIT_S = 9
PROMPT_S = 3.0
EXTRA = f"""
exten => limited,1,Set(TIMEOUT(absolute)={ADMIN_LIMIT_S})
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent,30)
exten => sooner,1,Set(TIMEOUT(absolute)=2)
 same => n,Gosub(callwarden,s,1(support))
 same => n,Wait(20)
exten => twice,1,Gosub(callwarden,s,1(support))
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent,30)
exten => left,1,Gosub(callwarden,s,1(support))
 same => n,Set(GLOBAL(LEFT_AFTER)=${{TIMEOUT(absolute)}})
 same => n,Dial(PJSIP/agent,30)
exten => h,1,Set(GLOBAL(ENDED_${{FILTER(0-9,${{CHANNEL(linkedid)}})}})=${{CALLWARDEN_OUTCOME}})
"""


@dataclass
class Bench:
    """One Asterisk with its agent, and where a guard and a daemon belong."""

    pbx: Asterisk
    agent: Agent
    agi_port: int
    prompt: Path
    number: int = 420_600_000_000

    def caller(self) -> str:
        self.number += 1
        return f"+{self.number}"

    def variable(self, name: str) -> str:
        lines = self.pbx.cli("dialplan show globals").splitlines()
        return next((line.split("=", 1)[1] for line in lines if line.strip().startswith(f"{name}=")), "")


@pytest.fixture(scope="module")
def bench(rig_folder: Path) -> Iterator[Bench]:
    run = rig_folder / "agi"
    plan = DialplanSettings(run / "monitor", include=run / "etc" / "callwarden" / "callwarden.conf", extra=EXTRA)
    pbx = start_asterisk(run, dialplan=plan, variables={"CALLWARDEN_DEADMAN": str(DEADMAN_S)})
    agent = start_agent(pbx)
    prompt = run / "prompt"
    samples = (6000 * np.sin(np.arange(int(8000 * PROMPT_S)) / 4)).astype(np.int16)
    with wave.open(str(prompt.with_suffix(".wav")), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
    prompt.with_suffix(".wav").chmod(0o644)
    (run / "ami.secret").write_text(pbx.ami_secret)
    yield Bench(pbx, agent, pbx.agi_port, prompt)
    agent.stop()
    pbx.stop()


class Child:
    """A process of the product, its log lines, and how to hurt it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def line(self, within: float = 15) -> str:
        assert self.process.stdout is not None
        while True:
            raw = await asyncio.wait_for(self.process.stdout.readline(), within)
            assert raw, "the process ended"
            if raw.startswith((b"{", b"ready", b"callwarden-guard: listening")):
                return raw.decode()

    async def told(self) -> dict[str, object]:
        found = json.loads(await self.line())
        assert isinstance(found, dict)
        return found

    async def stop(self) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        await self.process.wait()


async def start(*arguments: str, **environment: str) -> Child:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    child = Child(process)
    await child.line()
    return child


def socket_of(bench: Bench) -> str:
    return str(bench.pbx.run / "agi.sock")


async def start_daemon(bench: Bench, failpoint: str = "") -> Child:
    run = bench.pbx.run
    child = await start(
        *("tests.asterisk.agi_daemon", socket_of(bench), str(bench.pbx.ami_port), str(run / "ami.secret")),
        *(str(bench.prompt), str(run / "monitor")),
        CALLWARDEN_FAILPOINT=failpoint,
    )
    await asyncio.sleep(0.4)  # the guard looks for it ten times a second
    return child


@pytest.fixture
async def guard(bench: Bench) -> AsyncIterator[Child]:
    child = await start("edge.agi.guard", "--listen", f"127.0.0.1:{bench.agi_port}", "--socket", socket_of(bench))
    yield child
    await child.stop()


@pytest.fixture
async def daemon(bench: Bench, guard: Child) -> AsyncIterator[Child]:
    child = await start_daemon(bench)
    yield child
    await child.stop()


@dataclass
class Placed:
    """A call that reached the agent or ended before. Unix seconds."""

    phone: Phone
    began: float
    dialled: float

    @property
    def waited(self) -> float:
        return self.dialled - self.began


async def agent_dialled(bench: Bench, number: str, within: float = 20) -> float:
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = bench.agent.dialled(number)
        if found is not None:
            return found.dialled
        await asyncio.sleep(0.02)
    raise AssertionError(f"the agent was never dialled for {number}")


async def place(
    bench: Bench, ext: str = "1001", meanwhile: Callable[[Phone], Awaitable[object]] | None = None
) -> Placed:
    """Call, do something once answered, and wait until the agent's leg is dialled."""
    number = bench.caller()
    began = time.time()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    if meanwhile is not None:
        await meanwhile(phone)
    return Placed(phone, began, await agent_dialled(bench, number))


async def outcome_after(bench: Bench, placed: Placed) -> str:
    await placed.phone.hang_up()
    rows = await asyncio.to_thread(cdr_of, bench.pbx, placed.phone.number)
    assert rows
    return outcome(rows[0])


async def press_in_prompt(phone: Phone) -> None:
    await phone.hear()
    await asyncio.sleep(0.3)
    await phone.press("1")


async def test_a_yes_by_key_starts_the_monitor(bench: Bench, daemon: Child) -> None:
    placed = await place(bench, meanwhile=press_in_prompt)
    told = await daemon.told()
    assert told["key"] == "1"
    assert told["context"] == "from-callers"
    assert told["alive"] is True
    assert str(told["monitor"]).startswith("0x")
    assert 0 < int(str(told["played_ms"])) < PROMPT_S * 1000
    await asyncio.sleep(2.5)
    assert Path(str(told["spool"])).stat().st_size > 0
    assert await outcome_after(bench, placed) == "given"


async def test_silence_is_refused_and_the_prompt_is_heard_to_its_end(bench: Bench, daemon: Child) -> None:
    placed = await place(bench)
    told = await daemon.told()
    assert abs(int(str(told["played_ms"])) - PROMPT_S * 1000) < 50
    assert "spool" not in told
    assert await outcome_after(bench, placed) == "refused"


async def test_row1_no_guard_no_wait(bench: Bench) -> None:
    placed = await place(bench)
    assert placed.waited < 0.5
    assert await outcome_after(bench, placed) == "unavailable"


async def test_row1_no_daemon_no_wait(bench: Bench, guard: Child) -> None:
    placed = await place(bench)
    assert placed.waited < 0.5
    assert await outcome_after(bench, placed) == "unavailable"


#: Every step of a session, and what stands when the daemon ends right there.
STEPS = {
    "agi.env_read": "unavailable",
    "agi.token_checked": "unavailable",
    "agi.answered": "unavailable",
    "agi.play_asked": "unavailable",
    "agi.played": "unavailable",
    "agi.monitor_asked": "unavailable",
    "agi.monitor_started": "unavailable",
    "agi.variable_set:1": "unavailable",
    "agi.variable_set:3": "given",
    "agi.done": "given",
}


@pytest.mark.parametrize("step", STEPS)
async def test_row2_killed_at_each_step(bench: Bench, guard: Child, step: str) -> None:
    daemon = await start_daemon(bench, step)
    try:

        async def press(phone: Phone) -> None:
            if step not in ("agi.env_read", "agi.token_checked", "agi.answered", "agi.play_asked"):
                await press_in_prompt(phone)

        placed = await place(bench, meanwhile=press)
        await asyncio.wait_for(daemon.process.wait(), 5)
        assert daemon.process.returncode == -signal.SIGKILL
        assert placed.waited < 1.5  # the prompt up to the key, where there was one, and no more
        assert await outcome_after(bench, placed) == STEPS[step]
    finally:
        await daemon.stop()


@pytest.mark.parametrize("step", ["agi.env_read", "agi.token_checked", "agi.answered", "agi.play_asked", "agi.played"])
async def test_row3_frozen_at_a_step(bench: Bench, guard: Child, step: str) -> None:
    daemon = await start_daemon(bench, f"{step}=stop")
    try:
        placed = await place(bench, meanwhile=press_in_prompt if step == "agi.played" else None)
        assert placed.waited < (1.5 if step == "agi.played" else 0) + 2.5
        assert await outcome_after(bench, placed) == "unavailable"
        again = await place(bench)  # the next caller does not wait at all
        assert again.waited < 0.5
        await again.phone.hang_up()
    finally:
        await daemon.stop()


async def test_row3_frozen_in_mid_prompt(bench: Bench, daemon: Child) -> None:
    frozen_at = 0.0

    async def freeze(phone: Phone) -> None:
        nonlocal frozen_at
        await phone.hear()
        daemon.signal(signal.SIGSTOP)
        frozen_at = time.time()

    placed = await place(bench, meanwhile=freeze)
    assert placed.dialled - frozen_at < 2.5
    assert await outcome_after(bench, placed) == "unavailable"
    daemon.signal(signal.SIGCONT)
    assert (await daemon.told())["ended"] == "DialogueLost"  # it thaws and must not go on
    await asyncio.sleep(0.5)
    healed = await place(bench, meanwhile=press_in_prompt)
    assert await outcome_after(bench, healed) == "given"


async def test_guard_killed_in_mid_prompt(bench: Bench, guard: Child, daemon: Child) -> None:
    killed_at = 0.0

    async def kill(phone: Phone) -> None:
        nonlocal killed_at
        await phone.hear()
        guard.signal(signal.SIGKILL)
        killed_at = time.time()

    placed = await place(bench, meanwhile=kill)
    assert placed.dialled - killed_at < 0.5
    assert await outcome_after(bench, placed) == "unavailable"


async def test_guard_frozen_the_dead_man_frees(bench: Bench, guard: Child, daemon: Child) -> None:
    guard.signal(signal.SIGSTOP)
    placed = await place(bench)
    assert DEADMAN_S - 0.5 < placed.waited < DEADMAN_S + 1
    await asyncio.sleep(DEADMAN_S)  # and the deadline is gone: the talk goes on past it
    assert placed.phone.ended_at is None
    assert await outcome_after(bench, placed) == "unavailable"


async def test_without_an_admins_limit_none_is_left(bench: Bench, daemon: Child) -> None:
    placed = await place(bench, "left", meanwhile=press_in_prompt)
    assert bench.variable("LEFT_AFTER") == "0"
    await placed.phone.hang_up()


@pytest.mark.parametrize("state", ["served", "absent", "guard frozen"])
async def test_the_admins_own_limit_survives(bench: Bench, guard: Child, state: str) -> None:
    daemon = await start_daemon(bench) if state != "absent" else None
    try:
        if state == "guard frozen":
            guard.signal(signal.SIGSTOP)
        placed = await place(bench, "limited")
        await placed.phone.ended(within=15)
        assert placed.phone.ended_by == "pbx"
        assert placed.phone.ended_at is not None
        assert abs(placed.phone.ended_at - placed.began - ADMIN_LIMIT_S) < 1.6  # EPOCH counts whole seconds
    finally:
        if daemon is not None:
            await daemon.stop()


async def test_an_admins_limit_sooner_than_the_prompt_fires_in_his_context(bench: Bench, daemon: Child) -> None:
    began = time.time()
    phone = await Phone.dial(bench.pbx, "sooner", number=bench.caller())
    await phone.ended(within=10)
    assert phone.ended_at is not None
    assert 2.5 < phone.ended_at - began < 4.5  # his 2 s, then at most 1 s after the return


async def test_row5_hang_up_in_the_prompt(bench: Bench, daemon: Child) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "1001", number=number)
    await phone.hear()
    await phone.hang_up()
    assert (await daemon.told())["ended"] == "CallerGone"
    (row,) = await asyncio.to_thread(cdr_of, bench.pbx, number)
    assert outcome(row) == "unavailable"
    assert bench.agent.dialled(number) is None
    assert await asyncio.to_thread(wait_idle, bench.pbx)
    # the h extension of the admin's own context ran, although the call ended in ours
    assert bench.variable("ENDED_" + row["linkedid"].replace(".", "")) == "unavailable"


async def test_row8_wrong_keys_first_and_many_after(bench: Bench, daemon: Child) -> None:
    async def press(phone: Phone) -> None:
        await phone.hear()
        for key in "9*#9":
            await phone.press(key, ms=80)
            await asyncio.sleep(0.1)  # a key pressed again within 45 ms would be the same key to Asterisk
        for _ in range(4):
            await phone.press("1", ms=80)
            await asyncio.sleep(0.1)

    placed = await place(bench, meanwhile=press)
    told = await daemon.told()
    assert told["key"] == "1"
    assert int(str(told["played_ms"])) < PROMPT_S * 1000
    assert await outcome_after(bench, placed) == "given"


async def test_row8_a_dozen_wrong_keys_are_silence(bench: Bench, daemon: Child) -> None:
    async def press(phone: Phone) -> None:
        await phone.hear()
        for number in range(12):
            await phone.press("#*90"[number % 4], ms=60)
            await asyncio.sleep(0.08)

    placed = await place(bench, meanwhile=press)
    told = await daemon.told()
    assert told["key"] != "1"
    assert abs(int(str(told["played_ms"])) - PROMPT_S * 1000) < 50
    assert await outcome_after(bench, placed) == "refused"


async def test_row14_a_call_that_enters_twice_is_recognisable(bench: Bench, daemon: Child) -> None:
    placed = await place(bench, "twice", meanwhile=press_in_prompt)
    first, second = await daemon.told(), await daemon.told()
    assert first["linked"] == second["linked"]
    assert first["uid"] == second["uid"]
    assert await outcome_after(bench, placed) == "refused"  # the last word of this daemon, which asks each time


HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "a,b", "a;b", "$(touch CANARY)", "${SHELL(touch CANARY)}", "^{SHELL(touch CANARY)}",
    "`touch CANARY`", "|touch CANARY", "a&&touch CANARY", "1%0a2", "1%0d%0aagi_arg_1:%20private", "1%00", "agi_arg_1: x",
    "${EVAL(${CALLERID(num)})}", "'; DROP TABLE call; --", "%22quoted%22", "\\\\", "x" * 300, "\u0159" * 60, "\u202e123",
    "<script>", "1\nagi_arg_1: private", "1\r\n2", "1\n\n200 result=49", "1\nagi_arg_3: x", "1\nHANGUP", "1\x1b[2J",
]  # fmt: skip


async def test_row34_hostile_numbers_and_names_reach_nothing(bench: Bench, daemon: Child, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    before = set(bench.pbx.monitor.iterdir())
    said = len(complaints(bench.pbx))

    async def one(text: str) -> None:
        planted = text.replace("CANARY", str(canary))
        name = "".join(character for character in planted if character >= " " and character != '"')
        phone = await Phone.dial(bench.pbx, "1001", number=planted, name=name)
        if phone.refused is None:
            await asyncio.sleep(0.3)
            await phone.press("1")
            await asyncio.sleep(1.5)
            await phone.hang_up()

    await asyncio.gather(*(one(text) for text in HOSTILE))
    assert await asyncio.to_thread(wait_idle, bench.pbx)
    assert not canary.exists()
    made = set(bench.pbx.monitor.iterdir()) - before
    assert made
    assert all(len(path.name) == 36 and path.suffix == ".raw" for path in made)
    assert not [line for line in complaints(bench.pbx)[said:] if "syntax error" in line or "Macro" in line]
    healed = await place(bench, meanwhile=press_in_prompt)
    assert await outcome_after(bench, healed) == "given"


async def test_the_guards_port_cannot_be_used_without_the_token(bench: Bench, daemon: Child) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.agi_port)
    writer.write(
        b"agi_network: yes\nagi_network_script: entry\nagi_channel: PJSIP/x-1\nagi_language: en\nagi_uniqueid: 1.1\n"
        b"agi_arg_1: support\nagi_arg_2: 1.1\n\n"
    )
    assert await reader.readline() == b'GET VARIABLE "CALLWARDEN_TOKEN"\n'
    writer.write(b"200 result=1 (guess)\n")
    assert await reader.read() == b""
    writer.close()
