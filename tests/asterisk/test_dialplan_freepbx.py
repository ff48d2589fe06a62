"""FreePBX's side: its hook contexts around the shipped files, on Asterisk 22 (its hooks by Gosub) and 16 (by Macro).

The contexts below stand where FreePBX's own stand and call the hooks as FreePBX does: extensions.conf reads the override
file, then what the GUI made, then the custom file, then the fixed contexts; of two equal lines the first counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.checker import wait_idle
from rig.phone import Phone
from rig.places import PROJECT
from rig.programs import programs
from rig.tones import CALLER, listen
from tests.asterisk.dialplan_kit import Bench, asterisk16, hang_up, open_bench, open_daemon, press_in_prompt

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(300)]

GENERATED = """
[ext-did]
exten => 420555100200,1,Gosub(sub-record-check,s,1(in,420555100200,force))
 same => n,Goto(from-internal,201,1)
[ext-did-catchall]
exten => _.,1,Set(GLOBAL(CAUGHT)=yes)
 same => n,Goto(from-internal,201,1)
[customdests]
exten => dest-1,1,Gosub(callwarden-freepbx,support,1())
 same => n,Goto(ext-queues,400,1)
[ext-queues]
exten => 400,1,Answer()
 same => n,Gosub(sub-record-check,s,1(q,400,force))
 same => n,Queue(support)
 same => n,Hangup()
[from-internal]
exten => 201,1,Gosub(sub-record-check,s,1(exten,201,force))
 same => n,Dial(PJSIP/agent,30)
 same => n,Hangup()
[outrt-1]
exten => _9X.,1,CALLTRUNK
 same => n,Hangup()
[macro-dialout-trunk]
exten => s,1,Set(OUTNUM=${ARG2})
 same => n,Set(DIAL_TRUNK_OPTIONS=T)
 same => n,CALLHOOK
 same => n,Dial(PJSIP/${OUTNUM}@trunk,30,${DIAL_TRUNK_OPTIONS}b(func-apply-sipheaders^s^1,(1))EMAIL)
 same => n,LEAVE
[func-apply-sipheaders]
exten => s,1,Return()
[sub-send-obroute-email]
exten => s,1,NoOp(made by the GUI)
 same => n,Set(GLOBAL(MAILED)=${ARG1})
 same => n,Return()
[sub-record-check]
exten => s,1,NoOp(made by the GUI)
 same => n,MixMonitor(MONITOR/freepbx-${UNIQUEID}.wav)
 same => n,Return()
"""
FIXED = """
[from-pstn-custom]
include => callwarden-from-pstn
[from-pstn]
include => from-pstn-custom
include => ext-did
include => ext-did-post-custom
include => from-did-direct
include => ext-did-catchall
[ext-did-post-custom]
[from-did-direct]
[macro-dialout-trunk-predial-hook]
exten => s,1,LEAVE
"""
#: How each calls its hooks: what became Gosub in version 17, and the U() that newer ones end Dial's options with.
BY_GOSUB = {
    "CALLTRUNK": "Gosub(macro-dialout-trunk,s,1(1,${FILTER(0-9,${EXTEN:1})}))",
    "CALLHOOK": "Gosub(macro-dialout-trunk-predial-hook,s,1())",
    "LEAVE": "Return()",
    "EMAIL": "U(sub-send-obroute-email^${OUTNUM}^1)",
}
BY_MACRO = {
    "CALLTRUNK": "Macro(dialout-trunk,1,${FILTER(0-9,${EXTEN:1})})",
    "CALLHOOK": "Macro(dialout-trunk-predial-hook,)",
    "LEAVE": "MacroExit()",
    "EMAIL": "",
}


def contexts(monitor: Path, hooks: dict[str, str]) -> str:
    """FreePBX's extensions.conf in its order, as contexts behind the rig's own."""
    custom = (PROJECT / "dialplan/freepbx/extensions_custom.conf").read_text()
    lines = [line for line in custom.splitlines() if not line.startswith("#include")]  # the rig includes it already
    override = (PROJECT / "dialplan/freepbx/extensions_override_freepbx.conf").read_text()
    text = "\n".join([override, GENERATED, *lines, FIXED]).replace("MONITOR", str(monitor))
    for word, call in hooks.items():
        text = text.replace(word, call)
    return text


@pytest.fixture(scope="module", params=["22", "16"])
def bench(request: pytest.FixtureRequest, rig_folder: Path) -> Iterator[Bench]:
    version = request.param
    run = rig_folder / f"dialplan-freepbx-{version}"
    way_in = "exten => did,1,Goto(from-pstn,420555100200,1)\nexten => other,1,Goto(from-pstn,420999,1)\n"
    way_in += "exten => queue,1,Goto(customdests,dest-1,1)\n"
    hooks = BY_MACRO if version == "16" else BY_GOSUB
    with open_bench(
        run,
        extra=way_in + contexts(run / "monitor", hooks),
        agents_extra="exten => _59X.,1,Goto(outrt-1,${FILTER(0-9,${EXTEN:1})},1)\n",
        variables={"CALLWARDEN_INBOUND": "support", "CALLWARDEN_OUTBOUND": "outbound"},
        found=asterisk16() if version == "16" else programs(),
    ) as bench:
        assert bench.pbx.programs.version.startswith(version)
        yield bench


def recorded(bench: Bench) -> list[str]:
    """What FreePBX itself recorded."""
    return [path.name for path in bench.pbx.monitor.glob("freepbx-*")]


@pytest.mark.parametrize("ext", ["did", "other", "queue"])
async def test_a_caller_is_asked_and_reaches_the_agent(bench: Bench, ext: str) -> None:
    async with open_daemon(bench) as daemon:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, ext, number=number)
        await press_in_prompt(phone)
        told = await daemon.told()
        assert (told["script"], told["key"]) == ("entry", "1")
        await bench.agent_dialled(number)
        await hang_up(phone)
    assert f"cw=given;call={'c' * 32}" in await bench.tags(number)
    assert recorded(bench) == []


async def test_a_number_without_a_route_is_caught_as_before(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "other", number=number)
    await bench.agent_dialled(number)
    await hang_up(phone)
    assert bench.variable("CAUGHT") == "yes"


async def test_a_called_party_is_asked_and_freepbx_mails_all_the_same(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        leg = await desk.dial("59420555100201")
        told = await daemon.told()
        assert (told["script"], told["key"]) == ("callee", "1")
        await leg.hear()
        await asyncio.sleep(1)
        assert listen(leg.audio()[-8000:], CALLER)
        await hang_up(leg)
    (tag,) = (await bench.tags("agent1"))[-1:]
    assert f"cw=given;call={'c' * 32}" in tag
    if bench.pbx.programs.version.startswith("22"):
        assert bench.variable("MAILED") == "420555100201"
    assert recorded(bench) == []


async def test_with_nothing_running_calls_go_in_and_out_unrecorded(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "did", number=number)
    await bench.agent_dialled(number)
    await hang_up(phone)
    assert await bench.tags(number) == ["cw=unavailable"]
    before = len(bench.trunk.calls())
    async with bench.desk() as desk:
        leg = await desk.dial("59420555100200")
        await bench.trunk_answered(before)
        await leg.hear()
        await hang_up(leg)
    assert await asyncio.to_thread(wait_idle, bench.pbx)
    assert recorded(bench) == []
