"""Asterisk 16 (Debian bullseye): the dialplan's promises hold there too, also when it is entered from a Macro()."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.checker import wait_idle
from rig.phone import Phone
from rig.programs import old_programs
from tests.asterisk.dialplan_kit import PROMPT_S, Bench, hang_up, open_bench, open_daemon, open_guard, press_in_prompt

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

DEADMAN_S = 5
ADMIN_LIMIT_S = 9
MACRO = f"""
exten => macro,1,Macro(asked,support)
 same => n,Set(GLOBAL(AFTER_MACRO)=${{CALLWARDEN_OUTCOME}})
 same => n,Dial(PJSIP/agent,30)
exten => refused,1,Macro(regulated,support)
 same => n,Dial(PJSIP/agent,30)
exten => 911,1,Macro(regulated,support)
 same => n,Dial(PJSIP/agent,30)
exten => left,1,Set(TIMEOUT(absolute)={ADMIN_LIMIT_S})
 same => n,Gosub(callwarden,s,1(support))
 same => n,Set(GLOBAL(LEFT_AFTER)=${{TIMEOUT(absolute)}})
 same => n,Dial(PJSIP/agent,30)
[macro-asked]
exten => s,1,Gosub(callwarden,s,1(${{ARG1}}))
[macro-regulated]
exten => s,1,Gosub(callwarden,s,1(${{ARG1}},refuse_call))
"""


@pytest.fixture(scope="module")
def bench(rig_folder: Path) -> Iterator[Bench]:
    found = old_programs()
    assert found.version.startswith("16.")
    variables = {"CALLWARDEN_DEADMAN": str(DEADMAN_S)}
    with open_bench(rig_folder / "asterisk16", extra=MACRO, variables=variables, found=found) as bench:
        yield bench


@pytest.mark.parametrize("ext", ["1001", "macro"])
@pytest.mark.parametrize(("key", "word"), [("1", "given"), ("2", "refused"), ("", "refused")])
async def test_asked(bench: Bench, ext: str, key: str, word: str) -> None:
    async with open_daemon(bench) as daemon:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        if key:
            await press_in_prompt(phone, key)
        told = await daemon.told()
        assert told["key"] == key
        if not key:
            assert abs(int(str(told["played_ms"])) - PROMPT_S * 1000) < 50
        await bench.agent_dialled(number)
        await asyncio.sleep(2.5)
        if word == "given":
            assert Path(str(told["spool"])).stat().st_size > 0
        assert ("spool" in told) == (word == "given")
        await hang_up(phone)
        assert await bench.tags(number) == [f"cw={word};call={'c' * 32}"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_no_guard_no_wait(bench: Bench, ext: str) -> None:
    number = bench.caller()
    began = time.time()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    assert await bench.agent_dialled(number) - began < 1.0
    await hang_up(phone)
    assert await bench.tags(number) == ["cw=unavailable"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_a_frozen_daemon_costs_2_s(bench: Bench, ext: str) -> None:
    async with open_daemon(bench) as daemon:
        daemon.signal(signal.SIGSTOP)
        number = bench.caller()
        began = time.time()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        assert await bench.agent_dialled(number) - began < 2.5
        await hang_up(phone)
        assert await bench.tags(number) == ["cw=unavailable"]


@pytest.mark.parametrize("ext", ["1001", "macro"])
async def test_killed_in_the_prompt_the_call_goes_on_at_once(bench: Bench, ext: str) -> None:
    async with open_daemon(bench) as daemon:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        await phone.hear()
        killed = time.time()
        daemon.signal(signal.SIGKILL)
        assert await bench.agent_dialled(number) - killed < PROMPT_S + 1.0
        await hang_up(phone)
        assert await bench.tags(number) == ["cw=unavailable"]


async def test_a_frozen_guard_is_left_by_the_dead_mans_switch(bench: Bench) -> None:
    async with open_guard(bench) as guard:
        guard.signal(signal.SIGSTOP)
        number = bench.caller()
        began = time.time()
        phone = await Phone.dial(bench.pbx, "1001", number=number)
        waited = await bench.agent_dialled(number) - began
        assert DEADMAN_S - 1 < waited < DEADMAN_S + 2.5
        await hang_up(phone)
    assert await asyncio.to_thread(wait_idle, bench.pbx)


async def test_what_is_left_of_the_admins_limit_applies_again(bench: Bench) -> None:
    async with open_daemon(bench):
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, "left", number=number)
        await bench.agent_dialled(number)
        left = float(bench.variable("LEFT_AFTER"))
        assert 1 <= left <= ADMIN_LIMIT_S - PROMPT_S + 1
        await hang_up(phone)


async def test_refused_from_a_macro_but_no_emergency_call(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "refused", number=number)
    await phone.hear()
    await phone.ended(20)
    assert bench.agent.dialled(number) is None
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "911", number=number)
    await bench.agent_dialled(number)
    await hang_up(phone)


async def test_a_called_party_is_asked(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        leg = await desk.dial("9420555100201")
        told = await daemon.told()
        assert (told["script"], told["key"]) == ("callee", "1")
        await leg.hear()
        await hang_up(leg)


async def test_a_feature_code_comes_back_to_the_bridge(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        phone = await Phone.dial(bench.pbx, "1041", number=bench.caller())
        await press_in_prompt(phone)
        await desk.pick_up()
        assert (await daemon.told())["script"] == "entry"
        await phone.hear()
        for key in "*9":
            await phone.press(key)
            await asyncio.sleep(0.1)
        told = await daemon.told()
        assert (told["script"], told["feature"]) == ("feature", "withdraw")
        await phone.hear()
        assert phone.ended_at is None
        await hang_up(phone)
