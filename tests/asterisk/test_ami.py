"""The AMI link on a real Asterisk: pictures, gaps, restarts, floods and forgeries (faults.md rows 20, 36 to 41)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edge.ami.connection import AmiConnection, connect
from edge.ami.link import AmiLink, AmiSettings
from edge.ami.protocol import AmiParser
from edge.ami.translate import WANTED
from rig.agent import Agent, start_agent
from rig.asterisk import Asterisk, start_asterisk
from rig.pbx_dialplan import DialplanSettings
from rig.phone import Phone
from tests.contract.account import use_sample_account
from tests.transcripts.relay import Relay
from tests.unit.ami.fake import Heard

pytestmark = pytest.mark.asterisk

TOKEN = "0123456789abcdef0123456789abcdef"
EXTRA = """
exten => wait,1,Answer()
 same => n,Wait(30)
exten => forge,1,Answer()
 same => n,Set(EVIL=${SHELL(printf 'a\\015\\012\\015\\012Event: Hangup\\015\\012Uniqueid: %s' "${UNIQUEID}")})
 same => n,UserEvent(Fake,Note: ${EVIL})
 same => n,Wait(30)
"""


@pytest.fixture(scope="module")
def pbx(rig_folder: Path) -> Iterator[Asterisk]:
    run = rig_folder / "ami"
    asterisk = start_asterisk(run, dialplan=DialplanSettings(run / "monitor", extra=EXTRA))
    use_sample_account(asterisk)
    yield asterisk
    asterisk.stop()


@pytest.fixture(scope="module")
def agent(pbx: Asterisk) -> Iterator[Agent]:
    found = start_agent(pbx)
    yield found
    found.stop()


@asynccontextmanager
async def linked(
    pbx: Asterisk, heard: Heard, *, port: int = 0, secret: str = "", user: str = "callwarden"
) -> AsyncIterator[tuple[AmiLink, list[str]]]:
    """A running link that is up (or was refused)."""
    file = pbx.run / "link.secret"
    file.write_text(secret or pbx.ami_secret)
    alarms: list[str] = []
    settings = AmiSettings("127.0.0.1", port or pbx.ami_port, user, file)
    link = AmiLink(settings, heard, TOKEN, lambda code, message: alarms.append(code))
    task = asyncio.create_task(link.run())
    if not secret:
        await asyncio.wait_for(link.wait_up(), 10)
    yield link, alarms
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], object], within: float = 5) -> float:
    """Seconds until it was true."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < within
        await asyncio.sleep(0.01)
    return time.monotonic() - begin


def kinds(heard: Heard, kind: str) -> list[object]:
    return [value for name, value in heard.calls if name == kind]


async def test_a_call_appears_is_bridged_and_goes(pbx: Asterisk, agent: Agent) -> None:
    heard = Heard()
    async with linked(pbx, heard) as (link, _):
        assert heard.calls[0] == ("up", {})
        phone = await Phone.dial(pbx, "1000", number="+420601000001")
        await until(lambda: len(kinds(heard, "bridged")) == 2)
        caller, callee = kinds(heard, "bridged")
        assert link.channel_alive(str(caller)) is True
        await phone.hang_up()
        await until(lambda: {caller, callee} <= set(kinds(heard, "gone")))
        assert link.channel_alive(str(caller)) is False
        assert link.channel_alive(str(callee)) is False


async def test_a_call_older_than_the_link_is_in_its_first_picture(pbx: Asterisk, agent: Agent) -> None:
    phone = await Phone.dial(pbx, "1000", number="+420601000002")
    await asyncio.sleep(0.5)
    heard = Heard()
    async with linked(pbx, heard) as (link, _):
        (alive,) = kinds(heard, "up")
        assert isinstance(alive, dict)
        assert sorted(name.split("-")[0] for name in alive.values()) == ["PJSIP/agent", "PJSIP/anonymous"]
        assert set(kinds(heard, "bridged")) == set(alive)
        (name,) = (name for name in alive.values() if "anonymous" in name)
        await link.set_variable(name, "CALLWARDEN_OUTCOME", "given")
        assert await link.get_variable(name, "CALLWARDEN_OUTCOME") == "given"
        await link.set_variable(name, "CDR(userfield)", "cw=given;call=" + "c" * 32)
        assert await link.get_variable(name, "CDR(userfield)") == "cw=given;call=" + "c" * 32
        assert await link.get_variable(name, "NOT_SET") == ""
        assert await link.stop_monitor(name, "0x1") is False
        await phone.hang_up()
        await until(lambda: len(kinds(heard, "gone")) == 2)


async def test_row37_a_gap_is_repaired_within_five_seconds(pbx: Asterisk, agent: Agent) -> None:
    heard = Heard()
    async with Relay("127.0.0.1", pbx.ami_port) as relay, linked(pbx, heard, port=relay.port) as (link, _):
        ends, stays = [await Phone.dial(pbx, "1000", number=f"+42060100001{n}") for n in range(2)]
        await until(lambda: len(kinds(heard, "bridged")) == 4)
        before = [str(uid) for uid in kinds(heard, "bridged")]
        relay.target = ("127.0.0.1", 1)  # nobody listens there: the link is down and stays down
        relay.drop()
        await until(lambda: not link.up)
        assert link.channel_alive(before[0]) is None
        await ends.hang_up()
        new = await Phone.dial(pbx, "1000", number="+420601000019")
        await asyncio.sleep(1.5)
        relay.target = ("127.0.0.1", pbx.ami_port)
        assert await until(lambda: link.up, within=5.5) < 5.5
        alive = kinds(heard, "up")[-1]
        assert isinstance(alive, dict)
        assert len(alive) == 4
        assert sum(uid in alive for uid in before) == 2
        for phone in (stays, new):
            await phone.hang_up()
        await until(lambda: not any(link.channel_alive(uid) for uid in alive))


async def test_row20_a_restart_of_asterisk_leaves_no_phantoms(rig_folder: Path) -> None:
    run = rig_folder / "ami-restart"
    plan = DialplanSettings(run / "monitor", extra=EXTRA)
    running = start_asterisk(run, dialplan=plan)
    heard = Heard()
    try:
        async with linked(running, heard) as (link, _):
            caller = asyncio.create_task(Phone.dial(running, "wait", number="+420601000031"))
            await until(lambda: link.channel_alive(next(iter(link._picture.channels), "")) is True)
            running.process.kill()
            await until(lambda: kinds(heard, "down"))
            await asyncio.sleep(1.1)  # CoreStatus counts whole seconds
            running = start_asterisk(run, dialplan=plan, ami_port=running.ami_port, ami_secret=running.ami_secret)
            await until(lambda: link.up, within=10)
            assert kinds(heard, "up")[-1] == {}
            assert link.restarts == 1
            caller.cancel()
    finally:
        running.stop()


async def test_row40_a_wrong_password_is_one_alarm(pbx: Asterisk) -> None:
    async with linked(pbx, Heard(), secret="wrong") as (link, alarms):
        await until(lambda: alarms)
        await asyncio.sleep(2)
        assert alarms == ["ami.auth"]
        assert not link.up
    assert pbx.log.read_text().count("failed to authenticate as 'callwarden'") == 1


async def admin(pbx: Asterisk) -> AmiConnection:
    connection = await connect("127.0.0.1", pbx.ami_port, lambda message: None)
    await connection.action("Login", {"Username": "rig", "Secret": pbx.ami_secret})
    return connection


async def test_row38_a_stuck_event_loop_keeps_its_link(rig_folder: Path) -> None:
    """Two seconds in which nothing is read, while 5,000 events arrive unfiltered."""
    run = rig_folder / "ami-flood"
    pbx = start_asterisk(run)  # the rig's own account has no event filter
    heard = Heard()
    try:
        async with linked(pbx, heard) as (link, _):
            rig = await admin(pbx)
            await rig.action("Events", {"EventMask": "off"})
            flood = b"".join(b"Action: UserEvent\r\nUserEvent: Flood%d\r\nNote: x\r\n\r\n" % n for n in range(5000))
            rig.transport.write(flood)
            await asyncio.sleep(0.05)
            time.sleep(2)
            await rig.action("Ping", {}, limit_s=10)
            await asyncio.sleep(1)
            assert link.up
            assert kinds(heard, "down") == []
            rig.end("done")
    finally:
        pbx.stop()


async def test_row39_a_dialplan_that_forges_an_event_is_not_believed(pbx: Asterisk) -> None:
    """UserEvent() passes on line feeds. The shipped account's filter and classes keep its events away altogether."""
    heard = Heard()
    async with Relay("127.0.0.1", pbx.ami_port) as relay, linked(pbx, heard, port=relay.port) as (link, _):
        phone = await Phone.dial(pbx, "forge", number="+420601000051")
        await asyncio.sleep(1)
        (uid,) = link._picture.channels
        assert kinds(heard, "gone") == []
        assert link.channel_alive(uid) is True
        await phone.hang_up()
        await until(lambda: kinds(heard, "gone") == [uid])
        assert b"UserEvent" not in relay.said[0]


async def test_row39_a_name_that_was_announced_is_asked_for(pbx: Asterisk) -> None:
    async with linked(pbx, Heard()) as (link, _):
        phone = await Phone.dial(pbx, "wait", number="+420601000052")
        await until(lambda: bool(link._picture.channels))
        (uid,) = link._picture.channels
        name = link.channel_name(uid)
        link._picture.channels[uid] = "PJSIP/old-1"
        link._doubts.renamed(uid, "PJSIP/boss-9")
        await until(lambda: link.channel_name(uid) == name)
        await phone.hang_up()


async def test_row34_row39_a_caller_who_forges_anothers_hang_up_is_not_believed(pbx: Asterisk, agent: Agent) -> None:
    """Asterisk 22.10.1 passes line feeds of a SIP number on to AMI. Unique ids can be guessed."""
    heard = Heard()
    async with Relay("127.0.0.1", pbx.ami_port) as relay, linked(pbx, heard, port=relay.port) as (link, alarms):
        victim = await Phone.dial(pbx, "1000", number="+420601000071")
        await until(lambda: len(kinds(heard, "bridged")) == 2)
        uid = str(kinds(heard, "bridged")[0])
        forgery = f"1\r\n\r\nEvent: Hangup\r\nPrivilege: call,all\r\nUniqueid: {uid}\r\n\r\n"
        forger = await Phone.dial(pbx, "1000", number=forgery)
        await until(lambda: alarms == ["ami.forged"])
        assert f"\r\n\r\nEvent: Hangup\r\nPrivilege: call,all\r\nUniqueid: {uid}\r\n\r\n".encode() in relay.said[0]
        assert kinds(heard, "gone") == []
        assert link.channel_alive(uid) is True
        await victim.hang_up()
        await until(lambda: uid in kinds(heard, "gone"))
        await forger.hang_up()


async def test_the_filter_of_the_sample_leaves_only_what_is_read(pbx: Asterisk, agent: Agent) -> None:
    async with Relay("127.0.0.1", pbx.ami_port) as relay, linked(pbx, Heard(), port=relay.port):
        phone = await Phone.dial(pbx, "1000", number="+420601000061")
        await asyncio.sleep(0.5)
        await phone.hang_up()
        await asyncio.sleep(0.5)
        said = bytes(relay.said[0])
    parser = AmiParser(WANTED)
    names = {message.event for message in parser.feed(said)}
    assert {"Newchannel", "Hangup", "BridgeEnter"} <= names
    assert parser.dropped == 0
