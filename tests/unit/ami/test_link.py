"""The live link against a stand-in manager that fails in every way faults.md rows 36 to 41 name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge.ami.link import AmiLink, AmiSettings
from edge.errors import CallwardenError
from tests.unit.ami.fake import FakeManager, Heard, block

TOKEN = "0123456789abcdef0123456789abcdef"


class Bench:
    """A manager, a link, and what the link said."""

    def __init__(self, manager: FakeManager, folder: Path) -> None:
        self.manager = manager
        self.heard = Heard()
        self.alarms: list[str] = []
        secret = folder / "ami.secret"
        secret.write_text(manager.secret + "\n")
        self.settings = AmiSettings(
            *("127.0.0.1", manager.port, "callwarden", secret),
            heartbeat_s=0.05,
            alive_s=0.1,
            answer_limit_s=0.3,
            first_wait_s=0.01,
            longest_wait_s=0.05,
            auth_wait_s=0.4,
        )
        self.link = self.make()

    def make(self, **changes: float) -> AmiLink:
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        return AmiLink(settings, self.heard, TOKEN, lambda code, message: self.alarms.append(code))


@asynccontextmanager
async def running(link: AmiLink) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    manager = FakeManager()
    manager.channels = {"1.1": "PJSIP/a-1", "1.2": "PJSIP/b-2"}
    manager.bridges = {"br": ["1.1", "1.2"]}
    await manager.start()
    yield Bench(manager, tmp_path)
    await manager.stop()


async def up(link: AmiLink) -> None:
    await asyncio.wait_for(link.wait_up(), 60)


async def until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_link_up_tells_who_is_alive_then_who_is_bridged(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        assert bench.heard.calls[0] == ("up", {"1.1": "PJSIP/a-1", "1.2": "PJSIP/b-2"})
        assert bench.heard.calls[1:3] == [("bridged", "1.1"), ("bridged", "1.2")]
        assert bench.manager.globals["CALLWARDEN_TOKEN"] == TOKEN
        assert bench.manager.globals["CALLWARDEN_ALIVE"].isdigit()
        assert bench.link.channel_alive("1.1") is True
        assert bench.link.channel_alive("9.9") is False


async def test_events_move_the_picture_in_order(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        del bench.heard.calls[:]
        say = bench.manager.say
        say("Newchannel", Uniqueid="1.3", Channel="PJSIP/c-3")
        say("BridgeEnter", Uniqueid="1.3", BridgeUniqueid="br")
        say("UserEvent", UserEvent="Hangup", Uniqueid="1.1")
        say("Hangup", Uniqueid="1.3")
        say("Hangup", Uniqueid="1.3")
        say("Hangup", Uniqueid="7.7")
        await until(lambda: ("gone", "1.3") in bench.heard.calls)
        await asyncio.sleep(0.05)
        assert bench.heard.calls == [("bridged", "1.3"), ("gone", "1.3")]  # told once, strangers not at all
        assert bench.link.channel_alive("1.3") is False


async def test_events_in_the_middle_of_the_snapshot_win_over_it(bench: Bench) -> None:
    bench.manager.gone_since = {"1.1", "1.2"}
    bench.manager.during["CoreShowChannels"] = (
        block({"Event": "Hangup", "Uniqueid": "1.2"})
        + block({"Event": "Newchannel", "Uniqueid": "1.5", "Channel": "PJSIP/e-5"})
        + block({"Event": "Hangup", "Uniqueid": "1.1"})
    )
    async with running(bench.link):
        await up(bench.link)
        assert bench.heard.calls == [("up", {"1.5": "PJSIP/e-5"})]


async def test_row39_a_forged_hang_up_is_not_believed(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        for _ in range(5):
            bench.manager.forge("Hangup", Uniqueid="1.1")
        await until(lambda: bench.alarms == ["ami.forged"])
        bench.manager.forge("Hangup", Uniqueid="1.2")
        await asyncio.sleep(0.4)
        assert bench.alarms == ["ami.forged"]  # one alarm, however many
        assert bench.link.channel_alive("1.1") is True
        assert [kind for kind, _ in bench.heard.calls] == ["up", "bridged", "bridged"]
        bench.manager.say("Hangup", Uniqueid="1.1")
        await until(lambda: bench.heard.calls[-1] == ("gone", "1.1"))


async def test_row39_a_hang_up_forged_during_the_snapshot_is_not_believed(bench: Bench) -> None:
    bench.manager.during["CoreShowChannels"] = block({"Event": "Hangup", "Uniqueid": "1.2"})
    async with running(bench.link):
        await up(bench.link)
        assert bench.heard.calls[0] == ("up", {"1.1": "PJSIP/a-1", "1.2": "PJSIP/b-2"})


async def test_a_hang_up_that_was_never_announced_is_found_and_a_made_up_channel_forgotten(bench: Bench) -> None:
    link = bench.make(look_again_s=0.2)
    async with running(link):
        await up(link)
        bench.heard.calls.clear()
        del bench.manager.channels["1.2"]
        bench.manager.forge("Newchannel", Uniqueid="6.6", Channel="PJSIP/none-6")
        await until(lambda: {("gone", "1.2"), ("gone", "6.6")} <= set(bench.heard.calls))
        assert link.channel_alive("6.6") is False
        assert link.channel_alive("1.1") is True


async def test_row37_what_happened_in_a_gap_is_known_after_it(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        bench.manager.channels = {"1.2": "PJSIP/b-2", "2.1": "PJSIP/n-1"}
        bench.manager.bridges = {}
        bench.manager.drop()
        await until(lambda: sum(kind == "up" for kind, _ in bench.heard.calls) == 2)
        kinds = [kind for kind, _ in bench.heard.calls if kind in ("up", "down")]
        assert kinds == ["up", "down", "up"]
        assert bench.heard.calls[-1] == ("up", {"1.2": "PJSIP/b-2", "2.1": "PJSIP/n-1"})
        assert bench.link.channel_alive("1.1") is False


async def test_row36_the_stream_cut_at_every_byte(bench: Bench) -> None:
    """Whatever was cut, the link says up only with the whole picture, and the next connection has it."""
    async with running(bench.link):
        await up(bench.link)
        whole = bench.manager.sent
    assert whole > 1000
    for cut in range(1, whole):
        bench.heard.calls.clear()
        bench.manager.cut_after = cut
        link = bench.make(heartbeat_s=10)
        async with running(link):
            await up(link)
            assert bench.heard.calls[-3:] == [
                ("up", {"1.1": "PJSIP/a-1", "1.2": "PJSIP/b-2"}),
                ("bridged", "1.1"),
                ("bridged", "1.2"),
            ]
            ups = [alive for kind, alive in bench.heard.calls if kind == "up"]
            assert all(alive == bench.manager.channels for alive in ups)


async def test_row36_an_action_cut_off_is_unknown_and_never_repeated(bench: Bench) -> None:
    bench.manager.silent.add("StopMixMonitor")
    link = bench.make(answer_limit_s=5)
    async with running(link):
        await up(link)
        stopping = asyncio.create_task(link.stop_monitor("PJSIP/a-1", "0x1"))
        await until(lambda: any(action["Action"] == "StopMixMonitor" for action in bench.manager.actions))
        bench.manager.drop()
        with pytest.raises(CallwardenError) as unknown:
            await stopping
        assert unknown.value.code == "ami.unknown"
        await until(lambda: bench.manager.logins == 2)
        await up(link)
        assert sum(action["Action"] == "StopMixMonitor" for action in bench.manager.actions) == 1


async def test_no_answer_in_time_is_unknown(bench: Bench) -> None:
    bench.manager.silent.add("StopMixMonitor")
    async with running(bench.link):
        await up(bench.link)
        with pytest.raises(CallwardenError) as unknown:
            await bench.link.stop_monitor("PJSIP/a-1", "0x1")
        assert unknown.value.code == "ami.unknown"


async def test_an_unanswered_ping_gives_the_link_up(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        bench.manager.silent.add("Ping")
        await until(lambda: ("down", None) in bench.heard.calls)
        bench.manager.silent.clear()
        await until(lambda: bench.heard.calls[-1][0] == "bridged")
        assert bench.link.up


async def test_stop_variables_and_refusals(bench: Bench) -> None:
    async with running(bench.link):
        with pytest.raises(CallwardenError) as down:
            await bench.link.stop_monitor("PJSIP/a-1", "0x1")
        assert down.value.code == "ami.down"
        assert bench.link.channel_alive("1.1") is None
        await up(bench.link)
        bench.manager.monitors.add(("PJSIP/a-1", "0x1"))
        assert await bench.link.stop_monitor("PJSIP/a-1", "0x1") is True
        assert await bench.link.stop_monitor("PJSIP/a-1", "0x1") is False
        await bench.link.set_variable("PJSIP/a-1", "CALLWARDEN_OUTCOME", "withdrawn")
        assert await bench.link.get_variable("PJSIP/a-1", "CALLWARDEN_OUTCOME") == "withdrawn"
        assert await bench.link.get_variable("PJSIP/a-1", "NOTHING") == ""
        with pytest.raises(CallwardenError) as unsafe:
            await bench.link.set_variable("PJSIP/a-1", "X", "a,b")
        assert unsafe.value.code == "ami.unsafe_value"
        bench.manager.refused = {"StopMixMonitor": "Permission denied", "Getvar": "No such channel"}
        for refused in (bench.link.stop_monitor("PJSIP/a-1", "0x1"), bench.link.get_variable("PJSIP/a-1", "X")):
            with pytest.raises(CallwardenError) as no:
                await refused
            assert no.value.code == "ami.refused"


async def test_row40_a_wrong_password_is_one_alarm_and_few_attempts(bench: Bench) -> None:
    bench.manager.secret = "changed"
    async with running(bench.link):
        await asyncio.sleep(1.0)  # 0.4 s between attempts, a quarter either way
        assert bench.alarms == ["ami.auth"]
        assert 2 <= bench.manager.logins <= 4
        bench.settings.secret_file.write_text("changed")  # read anew at each attempt
        await up(bench.link)


async def test_row40_a_missing_secret_is_said(bench: Bench) -> None:
    bench.settings.secret_file.unlink()
    async with running(bench.link):
        await until(lambda: bench.alarms == ["ami.secret"])
        assert bench.manager.logins == 0


async def test_row40_an_account_without_rights_is_said(bench: Bench) -> None:
    bench.manager.refused["Setvar"] = "Permission denied"
    async with running(bench.link):
        await until(lambda: "ami.rights" in bench.alarms)
        assert not bench.link.up


async def test_row41_answers_in_any_order_and_twice(bench: Bench) -> None:
    """Two actions under way are answered in reverse, one of them twice, with an event that has a Response header between."""
    bench.manager.silent |= {"StopMixMonitor", "Getvar"}
    link = bench.make(alive_s=100, answer_limit_s=5, heartbeat_s=100)
    bench.manager.silent.discard("Getvar")
    async with running(link):
        await up(link)
        bench.manager.silent.add("Getvar")
        first = asyncio.create_task(link.stop_monitor("PJSIP/a-1", "0x1"))
        second = asyncio.create_task(link.get_variable("PJSIP/a-1", "X"))
        await until(lambda: bench.manager.actions[-1]["Action"] == "Getvar" and "Channel" in bench.manager.actions[-1])
        stop_id, get_id = (action["ActionID"] for action in bench.manager.actions[-2:])
        writer = next(iter(bench.manager._writers))
        writer.write(block({"Event": "OriginateResponse", "ActionID": stop_id, "Response": "Failure"}))
        writer.write(block({"Response": "Success", "ActionID": get_id, "Value": "x"}))
        writer.write(block({"Response": "Error", "ActionID": get_id, "Message": "late twin"}))
        writer.write(block({"Response": "Success", "ActionID": stop_id}))
        assert await second == "x"
        assert await first is True


async def test_a_restart_of_asterisk_is_noticed(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        bench.manager.drop()
        await until(lambda: bench.manager.logins == 2)
        assert bench.link.restarts == 0
        bench.manager.started = "10:05:00"
        bench.manager.channels, bench.manager.bridges = {}, {}
        bench.manager.drop()
        await until(lambda: bench.heard.calls[-1] == ("up", {}))
        assert bench.link.restarts == 1


async def test_a_token_lost_by_a_reload_is_set_again(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        del bench.manager.globals["CALLWARDEN_TOKEN"]
        await until(lambda: bench.manager.globals.get("CALLWARDEN_TOKEN") == TOKEN)
        sets = [a for a in bench.manager.actions if a["Action"] == "Setvar" and a["Variable"] == "CALLWARDEN_TOKEN"]
        assert len(sets) == 2  # not at each heartbeat: Asterisk logs every change


async def test_a_port_that_is_not_a_manager(bench: Bench) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        link = bench.make(port=server.sockets[0].getsockname()[1])
        async with running(link):
            await until(lambda: bench.alarms == ["ami.unreachable"])


async def test_a_leave_is_asked_about_before_it_counts(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        del bench.heard.calls[:]
        bench.manager.forge("BridgeLeave", Uniqueid="1.2", BridgeUniqueid="br")
        await until(lambda: "BridgeInfo" in [a["Action"] for a in bench.manager.actions[-1:]])
        await asyncio.sleep(0.05)
        assert bench.heard.calls == []
        assert dict(bench.link.with_channel("1.1")) == {"1.2": "PJSIP/b-2"}
        bench.manager.say("BridgeLeave", Uniqueid="1.2", BridgeUniqueid="br")
        await until(lambda: not bench.link.with_channel("1.1"))
        assert bench.heard.calls == [("unbridged", "1.2")]
        assert bench.heard.company[-1] == {"1.1", "1.2"}


async def test_a_forged_join_lasts_until_asterisk_is_asked(bench: Bench) -> None:
    bench.manager.channels["6.6"] = "PJSIP/evil-6"
    async with running(bench.link):
        await up(bench.link)
        bench.manager.forge("BridgeEnter", Uniqueid="6.6", BridgeUniqueid="br")
        await until(lambda: {"1.1", "1.2", "6.6"} in bench.heard.company)
        await until(lambda: dict(bench.link.with_channel("1.1")) == {"1.2": "PJSIP/b-2"})
        assert bench.heard.calls[-1] == ("unbridged", "6.6")


async def test_a_forged_name_is_not_who_orders_are_about(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        for event, field in (("Rename", "Newname"), ("Newchannel", "Channel")):
            bench.manager.forge(event, Uniqueid="1.1", **{field: "PJSIP/boss-9"})
            await until(lambda: bench.manager.actions[-1].get("Variable") == "CHANNEL")
            await asyncio.sleep(0.05)
            assert bench.link.channel_name("1.1") == "PJSIP/a-1"
            del bench.manager.actions[:]
            await until(lambda: bool(bench.manager.actions))
        bench.manager.channels["1.1"] = "PJSIP/a-2"
        bench.manager.forge("Rename", Uniqueid="1.1", Newname="PJSIP/a-2")
        await until(lambda: bench.link.channel_name("1.1") == "PJSIP/a-2")


async def test_company_changes_when_somebody_joins_and_when_he_hangs_up(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        bench.manager.say("Newchannel", Uniqueid="1.3", Channel="PJSIP/trunk-3")
        bench.manager.say("BridgeEnter", Uniqueid="1.3", BridgeUniqueid="br")
        await until(lambda: bench.link.with_channel("1.1").get("1.3") == "PJSIP/trunk-3")
        bench.manager.bridges["br"].remove("1.3")
        bench.manager.say("Hangup", Uniqueid="1.3")
        await until(lambda: dict(bench.link.with_channel("1.1")) == {"1.2": "PJSIP/b-2"})
        assert bench.heard.company[-1] == {"1.1", "1.2"}


async def test_holds_and_monitors_are_told(bench: Bench) -> None:
    async with running(bench.link):
        await up(bench.link)
        del bench.heard.calls[:]
        for event in ("Hold", "MusicOnHoldStart", "Unhold", "MusicOnHoldStop", "MixMonitorStart", "MixMonitorStop"):
            bench.manager.say(event, Uniqueid="1.2")
        await until(lambda: len(bench.heard.calls) == 6)
        words = [word for word, _ in bench.heard.calls]
        assert words == ["held", "held", "taken back", "taken back", "monitor on", "monitor off"]


async def test_mute_summon_device_and_hang_up(bench: Bench) -> None:
    bench.manager.monitors = {("PJSIP/a-1", "0x1")}
    async with running(bench.link):
        await up(bench.link)
        assert await bench.link.mute_monitor("PJSIP/a-1", "0x1", True) is True
        muted = bench.manager.actions[-1]
        assert (muted["Direction"], muted["State"], muted["MixMonitorID"]) == ("both", "1", "0x1")
        assert await bench.link.mute_monitor("PJSIP/a-1", "0x2", False) is False
        await bench.link.summon("PJSIP/a-1")
        digits = [a for a in bench.manager.actions if a["Action"] == "PlayDTMF"]
        assert [a["Digit"] for a in digits] == ["D", "A", "D"]
        assert {a["Receive"] for a in digits} == {"true"}
        await bench.link.set_device("cw-desk", "INUSE")
        assert bench.manager.globals["DEVICE_STATE(Custom:cw-desk)"] == "INUSE"
        for name, state in (("x)", "INUSE"), ("x", "RINGING")):
            with pytest.raises(CallwardenError) as refused:
                await bench.link.set_device(name, state)
            assert refused.value.code == "ami.unsafe_value"
        bench.manager.refused["MixMonitorMute"] = "Permission denied"
        with pytest.raises(CallwardenError) as refused:
            await bench.link.mute_monitor("PJSIP/a-1", "0x1", True)
        assert refused.value.code == "ami.refused"


@pytest.mark.parametrize(
    ("version", "interleave"),
    [
        ("22.10.1~dfsg+~cs6.15.60671435-1", True), ("22.4.1", False), ("23.0.0", True), ("16.28.0~dfsg-0+deb11u4", False),
        ("20.15.0", True), ("20.11.1", False), ("certified/20.7-cert4", False), ("", False), ("SVN-trunk-r1", False),
    ],
)  # fmt: skip
async def test_what_the_server_can_do(bench: Bench, version: str, interleave: bool) -> None:
    bench.manager.version = version
    async with running(bench.link):
        await up(bench.link)
        assert bench.link.ability.version == version
        assert bench.link.ability.interleave is interleave
