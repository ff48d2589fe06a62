"""What the dialplan does by its second argument when the daemon cannot: refuses, announces, and never an emergency call."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig.checker import wait_idle
from rig.phone import Phone
from rig.tones import tone
from tests.asterisk.dialplan_kit import Bench, hang_up, open_bench, open_daemon, open_guard, press_in_prompt

pytestmark = pytest.mark.asterisk

DIAL = " same => n,Dial(PJSIP/agent,30)\n same => n,Hangup()\n"
REFUSE = f" same => n,Gosub(callwarden,s,1(support,refuse_call))\n{DIAL}"
EXTRA = rf"""
exten => silent,1,Set(CALLWARDEN_LAST_RESORT=)
{REFUSE}
exten => path,1,Set(CALLWARDEN_REFUSED_SOUND=${{CALLWARDEN_SOUNDS}}/cs/refused_call)
{REFUSE}
exten => say,1,Gosub(callwarden,s,1(support,announce))
{DIAL}
exten => broken,1,Set(CALLWARDEN_LAST_RESORT=/nowhere/at/all)
 same => n,Gosub(callwarden,s,1(support,announce))
{DIAL}
exten => empty,1,Set(CALLWARDEN_SOUNDS=/nowhere)
 same => n,Gosub(callwarden,s,1(support,announce))
{DIAL}
exten => h,1,Set(GLOBAL(ENDED_${{FILTER(0-9,${{CHANNEL(linkedid)}})}})=${{CALLWARDEN_OUTCOME}})
exten => 00112,1,NoOp()
{REFUSE}
exten => 0112,1,NoOp()
{REFUSE}
exten => 911,1,NoOp()
{REFUSE}
exten => 1123,1,NoOp()
{REFUSE}
exten => 999112,1,NoOp()
{REFUSE}
exten => 0,1,NoOp()
{REFUSE}
exten => 777,1,NoOp()
{REFUSE}
exten => named,1,Set(CALLWARDEN_NUMBER=+9-112)
{REFUSE}
exten => features,1,Set(__DYNAMIC_FEATURES=theirs)
 same => n,Gosub(callwarden,s,1(support))
 same => n,Set(GLOBAL(FEATURES_ONCE)=${{DYNAMIC_FEATURES}})
 same => n,Gosub(callwarden,s,1(support))
 same => n,Set(GLOBAL(FEATURES_TWICE)=${{DYNAMIC_FEATURES}})
{DIAL}
exten => header,1,Set(CALLWARDEN_HEADER=given\;call=1)
 same => n,Gosub(callwarden,s,1(support))
 same => n,Dial(PJSIP/agent1,30,b(callwarden-header^s^1))
exten => own,1,Set(CALLWARDEN_NUMBER=777)
 same => n,Set(CALLWARDEN_EMERGENCY=112-777)
{REFUSE}
"""


@pytest.fixture(scope="module")
def bench(rig_folder: Path) -> Iterator[Bench]:
    with open_bench(rig_folder / "dialplan-failures", extra=EXTRA) as bench:
        yield bench


@pytest.mark.parametrize("ext", ["1011", "path"])
async def test_refused_with_words_when_nothing_listens(bench: Bench, ext: str) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    await phone.hear()
    await phone.ended(20)
    assert phone.ended_by == "pbx"
    assert len(phone.audio()) > 8000, "less than a second was heard"
    assert await bench.tags(number) == ["cw=unavailable"]
    assert bench.agent.dialled(number) is None


async def test_refused_without_words_where_there_are_none(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "silent", number=number)
    assert phone.refused == 403
    assert await bench.tags(number) == ["cw=unavailable"]
    assert bench.agent.dialled(number) is None


async def test_refused_by_a_frozen_daemon_within_the_guards_deadline(bench: Bench) -> None:
    async with open_daemon(bench) as daemon:
        daemon.signal(signal.SIGSTOP)
        began = time.time()
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, "1011", number=number)
        await phone.hear()
        assert time.time() - began < 3.5
        await phone.ended(20)
        assert await bench.tags(number) == ["cw=unavailable"]
        assert bench.agent.dialled(number) is None
    assert await asyncio.to_thread(wait_idle, bench.pbx)


async def test_a_caller_who_is_asked_is_not_refused(bench: Bench) -> None:
    async with open_daemon(bench):
        for key, word in (("1", "given"), ("2", "refused")):
            number = bench.caller()
            phone = await Phone.dial(bench.pbx, "1011", number=number)
            await press_in_prompt(phone, key)
            await bench.agent_dialled(number)
            await hang_up(phone)
            assert await bench.tags(number) == [f"cw={word};call={'c' * 32}"]


@pytest.mark.parametrize("ext", ["112", "9112", "00112", "0112", "911", "named", "own"])
async def test_an_emergency_number_is_never_refused(bench: Bench, ext: str) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    assert phone.refused is None
    await bench.agent_dialled(number)
    await hang_up(phone)


@pytest.mark.parametrize("ext", ["1123", "999112", "0", "777"])
async def test_what_only_looks_like_one_is(bench: Bench, ext: str) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    await phone.ended(20)
    assert bench.agent.dialled(number) is None


async def test_an_emergency_call_is_held_3_s_at_most_by_a_frozen_guard(bench: Bench) -> None:
    async with open_guard(bench) as guard:
        guard.signal(signal.SIGSTOP)
        number = bench.caller()
        began = time.time()
        phone = await Phone.dial(bench.pbx, "112", number=number)
        assert await bench.agent_dialled(number) - began < 4.5
        await hang_up(phone)


async def test_announced_when_nothing_listens_and_the_call_goes_on(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "say", number=number)
    heard = await phone.hear()
    assert await bench.agent_dialled(number) > heard + 1.0
    await hang_up(phone)
    assert await bench.tags(number) == ["cw=unavailable"]


@pytest.mark.parametrize("ext", ["broken", "empty"])
async def test_a_last_resort_that_cannot_speak_does_not_stop_the_call(bench: Bench, ext: str) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, ext, number=number)
    await bench.agent_dialled(number)
    await hang_up(phone)
    assert await bench.tags(number) == ["cw=unavailable"]


async def test_a_caller_who_hangs_up_in_the_refusal_leaves_nothing(bench: Bench) -> None:
    number = bench.caller()
    phone = await Phone.dial(bench.pbx, "1011", number=number)
    await phone.hear()
    await phone.hang_up()
    assert await asyncio.to_thread(wait_idle, bench.pbx)
    assert await bench.tags(number) == ["cw=unavailable"]


async def test_a_feature_code_comes_back_to_the_bridge(bench: Bench) -> None:
    async with open_daemon(bench) as daemon, bench.desk() as desk:
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, "1041", number=number, voice=tone("caller"))
        await press_in_prompt(phone)
        leg = await desk.pick_up()
        assert (await daemon.told())["script"] == "entry"
        await phone.hear()
        before = len(phone.heard)
        for key in "*9":
            await phone.press(key)
            await asyncio.sleep(0.1)
        told = await daemon.told()
        assert (told["script"], told["feature"]) == ("feature", "withdraw")
        assert int(str(told["played_ms"])) > 2900
        assert phone.ended_at is None
        await phone.hear()  # the agent again
        assert len(phone.heard) > before
        daemon.signal(signal.SIGSTOP)
        for key in "*9":
            await phone.press(key)
            await asyncio.sleep(0.1)
        await asyncio.sleep(3)
        at = len(leg.heard)
        await leg.hear()  # a frozen daemon keeps nobody out of the bridge for more than the guard's 2 s
        assert len(leg.heard) > at
        assert phone.ended_at is None
        await hang_up(phone)


async def test_the_admins_own_features_stay_beside_ours(bench: Bench) -> None:
    async with open_daemon(bench):
        number = bench.caller()
        phone = await Phone.dial(bench.pbx, "features", number=number)
        await press_in_prompt(phone)
        await phone.quiet(1)
        await bench.agent_dialled(number)
        await hang_up(phone)
    assert bench.variable("FEATURES_ONCE") == "theirs#cwapi#cwwithdraw"
    assert bench.variable("FEATURES_TWICE") == "theirs#cwapi#cwwithdraw"


async def test_the_agents_phone_is_told_by_a_header(bench: Bench) -> None:
    async with bench.desk() as desk:
        dialling = asyncio.create_task(Phone.dial(bench.pbx, "header", number=bench.caller()))
        leg = await desk.pick_up()
        assert leg.invite.headers["x-callwarden"] == "given;call=1"
        await hang_up(await dialling)
        dialling = asyncio.create_task(Phone.dial(bench.pbx, "1041", number=bench.caller()))
        leg = await desk.pick_up()
        assert "x-callwarden" not in leg.invite.headers
        await hang_up(await dialling)
