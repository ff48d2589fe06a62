"""The daemon's AGI door and the dialogue, against a stand-in for Asterisk on the real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.agi.request import read_request
from edge.agi.server import AgiServer
from edge.errors import CallwardenError
from edge.ports import CallerGone, Dialogue, DialogueLost
from tests.unit.agi.fake import ENV, TOKEN, FakeAsterisk, env_bytes

Talk = Callable[[Dialogue], Awaitable[object]]


class Desk:
    """Runs one talk per session and keeps what came of it."""

    def __init__(self) -> None:
        self.talk: Talk = lambda dialogue: dialogue.answer()
        self.outcomes: asyncio.Queue[object] = asyncio.Queue()
        self.dialogues: list[Dialogue] = []

    async def handle(self, dialogue: Dialogue) -> None:
        self.dialogues.append(dialogue)
        try:
            self.outcomes.put_nowait(await self.talk(dialogue))
        except BaseException as error:
            self.outcomes.put_nowait(error)
            raise


@asynccontextmanager
async def serving(folder: Path, **options: int) -> AsyncIterator[tuple[Desk, Path, AgiServer]]:
    desk = Desk()
    path = folder / "agi.sock"
    server = AgiServer(path, TOKEN, desk.handle, **options)
    await server.start()
    yield desk, path, server
    await server.close()


async def outcome_of(talk: Talk, folder: Path, **answers: str | Callable[[str], str]) -> tuple[object, list[str]]:
    """What a talk returned or raised, and the commands Asterisk saw after the greeting."""
    async with serving(folder) as (desk, path, _):
        desk.talk = talk
        fake = await FakeAsterisk.unix(path)
        fake.answers = dict(answers)
        running = asyncio.create_task(fake.run())
        result = await asyncio.wait_for(desk.outcomes.get(), 60)
        fake.writer.close()
        await running
        return result, fake.commands[2:]


async def test_play_gives_key_and_milliseconds(tmp_path: Path) -> None:
    result, said = await outcome_of(
        lambda d: d.play("/prompts/ask", "12", 500), tmp_path, STREAM="200 result=49 endpos=20000"
    )
    assert result == ("1", 2500)
    assert said == ['STREAM FILE "/prompts/ask" "12" "4000"']


async def test_row7_missing_prompt_is_not_played_and_not_a_hangup(tmp_path: Path) -> None:
    result, said = await outcome_of(
        lambda d: d.play("/prompts/ask", "12", 500),
        tmp_path,
        STREAM="200 result=-1 endpos=0",
        CHANNEL="200 result=6",
    )
    assert result == ("", 500)
    assert said[-1] == "CHANNEL STATUS"


async def test_row5_hangup_in_the_prompt(tmp_path: Path) -> None:
    result, _ = await outcome_of(lambda d: d.play("/p/ask", "1"), tmp_path, STREAM="200 result=-1 endpos=80\nHANGUP")
    assert isinstance(result, CallerGone)


async def test_wait_key_and_discard(tmp_path: Path) -> None:
    queued = ["200 result=50", "200 result=35"]

    async def talk(dialogue: Dialogue) -> str:
        await dialogue.discard_keys()
        return await dialogue.wait_key(3000)

    def digit(line: str) -> str:
        if line.endswith(" 3000"):
            return "200 result=42"
        return queued.pop(0) if queued else "200 result=0"

    result, said = await outcome_of(talk, tmp_path, WAIT=digit)
    assert result == "*"
    assert len(said) == 4


async def test_row6_hangup_before_the_answer_of_mixmonitor_is_gone(tmp_path: Path) -> None:
    result, _ = await outcome_of(
        lambda d: d.start_monitor("/spool/ab12.raw", "D"), tmp_path, EXEC="HANGUP\n200 result=0"
    )
    assert isinstance(result, CallerGone)


async def test_monitor_gives_its_id(tmp_path: Path) -> None:
    result, said = await outcome_of(
        lambda d: d.start_monitor("/spool/ab12.raw", "D"),
        tmp_path,
        **{"GET VARIABLE CALLWARDEN_MONITOR": "200 result=1 (0x7f00)"},
    )
    assert result == "0x7f00"
    assert said[:2] == [
        'SET VARIABLE "CALLWARDEN_MONITOR" ""',
        'EXEC "MixMonitor" "/spool/ab12.raw,Di(CALLWARDEN_MONITOR)"',
    ]


async def test_several_variables_are_one_command(tmp_path: Path) -> None:
    _, said = await outcome_of(
        lambda d: d.set_variables({"CALLWARDEN_CALL": "ab", "CDR(userfield)": "cw=given;call=ab"}), tmp_path
    )
    assert said == ['EXEC "MSet" "CALLWARDEN_CALL=ab,CDR(userfield)=cw=given;call=ab"']


async def test_monitor_without_an_id_is_lost(tmp_path: Path) -> None:
    result, _ = await outcome_of(lambda d: d.start_monitor("/spool/ab12.raw", "D"), tmp_path)
    assert isinstance(result, DialogueLost)


@pytest.mark.parametrize(
    "talk",
    [
        lambda d: d.start_monitor("/spool/a,D,touch /x", "D"),
        lambda d: d.start_monitor("/spool/../etc/a", "D"),
        lambda d: d.start_monitor("relative", "D"),
        lambda d: d.start_monitor("/spool/a", "D,x"),
        lambda d: d.play("/p/${SHELL(id)}", "1"),
        lambda d: d.play("/p/ask", "1x"),
        lambda d: d.user_event("Consent", {"Call": "a,b"}),
        lambda d: d.user_event("Consent\nX", {}),
        lambda d: d.set_variables({"X": "a,Y=b"}),
        lambda d: d.set_variables({"X=1,Y": "a"}),
        lambda d: d.set_variable("X=1,Y", "a"),
        lambda d: d.set_variable("X", 'a"b'),
        lambda d: d.get_variable("SHELL(id -u)"),
    ],
)
async def test_row11_row34_nothing_pointed_is_sent(talk: Talk, tmp_path: Path) -> None:
    result, said = await outcome_of(talk, tmp_path)
    assert isinstance(result, CallwardenError)
    assert result.code == "agi.unsafe_value"
    assert said == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("510 Invalid or unknown command", DialogueLost),
        ("520-Usage\nx\n520 End of proper usage.", DialogueLost),
        ("511 Command Not Permitted on a dead channel", CallerGone),
        ("nonsense", DialogueLost),
        ("200 result=0\n200 result=0", DialogueLost),
    ],
)
async def test_row10_refusals_and_nonsense_end_the_dialogue(answer: str, kind: type, tmp_path: Path) -> None:
    async def talk(dialogue: Dialogue) -> None:
        await dialogue.answer()
        await dialogue.answer()

    result, _ = await outcome_of(talk, tmp_path, ANSWER=answer)
    assert isinstance(result, kind)


async def test_row10_an_environment_byte_by_byte_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, path, _):
        fake = await FakeAsterisk.unix(path, b"")

        async def trickle() -> None:
            for byte in env_bytes():
                fake.writer.write(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(trickle())
        await asyncio.wait_for(fake.closed_after(), 60)
        dripping.cancel()
        assert desk.dialogues == []


async def test_row10_an_answer_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, path, _):
        fake = await FakeAsterisk.unix(path)
        await fake.run(limit=2)
        assert await fake.next_command() == "ANSWER"
        fake.writer.write(b"200 resu")
        assert isinstance(await asyncio.wait_for(desk.outcomes.get(), 60), DialogueLost)
        await asyncio.wait_for(fake.closed_after(), 60)


async def test_a_stuck_daemon_does_not_count_an_answer_that_came_too_late(tmp_path: Path) -> None:
    """The key was pressed, then the guard freed the caller while we were stuck: the answer must not be taken."""
    async with serving(tmp_path) as (desk, path, _):

        async def talk(dialogue: Dialogue) -> tuple[str, int]:
            playing = asyncio.create_task(dialogue.play("/prompts/ask", "1"))
            await asyncio.sleep(0)
            line = await fake.next_command()
            assert line.startswith("STREAM")
            fake.reply("200 result=49 endpos=8000")
            fake.writer.close()
            await fake.writer.wait_closed()
            return await playing  # both the answer and the end lie in the socket now

        desk.talk = talk
        fake = await FakeAsterisk.unix(path)
        await fake.run(limit=2)
        assert isinstance(await asyncio.wait_for(desk.outcomes.get(), 60), DialogueLost)


async def test_row13_a_peer_without_the_token_learns_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, path, server):
        for answer in (
            "200 result=0",
            "200 result=1 (wrong)",
            f"200 result=1 ({TOKEN}x)",
            f"200 result=1 ({TOKEN[:-1]})",
        ):
            fake = await FakeAsterisk.unix(path)
            fake.answers = {"GET VARIABLE CALLWARDEN_TOKEN": answer}
            await asyncio.wait_for(fake.run(), 60)
            assert fake.commands == ['GET VARIABLE "CALLWARDEN_TOKEN"']
        assert desk.dialogues == []
        assert server.sessions == 0


async def test_request_fields_reach_the_dialogue(tmp_path: Path) -> None:
    async with serving(tmp_path) as (desk, path, _):
        fake = await FakeAsterisk.unix(path)
        await fake.run()
        found = desk.dialogues[0]
        assert (found.channel_uid, found.linked_id, found.policy_name) == ("1795309622.7", "1795309622.7", "support")
        assert (found.caller_number, found.caller_name, found.dialled) == ("+420777123456", "Alice", "1001")
        assert (found.context, found.language, found.channel_name) == ("from-callers", "en", ENV["agi_channel"])


@pytest.mark.parametrize(
    "change",
    [
        {"agi_arg_2": None},
        {"agi_arg_1": None},
        {"agi_uniqueid": None},
        {"agi_channel": "PJSIP/x,y"},
        {"agi_arg_1": "../etc"},
        {"agi_arg_2": "1; rm"},
        {"agi_network_script": "other"},
        {"agi_language": "en/../.."},
    ],
)
async def test_row9_wrong_requests_are_refused(change: dict[str, str | None], tmp_path: Path) -> None:
    with pytest.raises(CallwardenError):
        read_request({key: value for key, value in {**ENV, **change}.items() if value is not None})
    async with serving(tmp_path) as (desk, path, _):
        fake = await FakeAsterisk.unix(path, env_bytes(**change))
        assert await fake.closed_after() < 1
        assert desk.dialogues == []


@pytest.mark.parametrize(("presentation", "number"), [("0", "+420777123456"), ("35", ""), ("67", "+420777123456")])
def test_a_withheld_number_is_not_taken(presentation: str, number: str) -> None:
    assert read_request({**ENV, "agi_callingpres": presentation}).caller_number == number


async def test_sessions_are_limited(tmp_path: Path) -> None:
    async with serving(tmp_path, limit=2) as (_, path, server):
        held = [await FakeAsterisk.unix(path) for _ in range(2)]
        for fake in held:
            await fake.next_command()
        assert server.sessions == 2
        third = await FakeAsterisk.unix(path)
        assert await third.closed_after() < 1
        for fake in held:
            fake.writer.close()


async def test_closing_the_server_frees_every_caller(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path, server):
        fake = await FakeAsterisk.unix(path)
        await fake.next_command()
        await server.close()
        assert await fake.closed_after() < 1
        assert not path.exists()


async def test_a_successor_keeps_its_socket_when_the_old_one_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path, old), serving(tmp_path) as (desk, _, _new):
        await old.close()
        fake = await FakeAsterisk.unix(path)
        await fake.run()
        assert len(desk.dialogues) == 1


async def test_the_guard_hears_the_event_loop(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, path, server):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"callwarden-guard 1 turned_away=0\n")
        assert await asyncio.wait_for(reader.readexactly(4), 60) == b"...."
        assert server.guards == 1
        writer.close()


async def test_a_socket_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    server = AgiServer(tmp_path / "no" / "agi.sock", TOKEN, Desk().handle)
    with pytest.raises(CallwardenError) as refused:
        await server.start()
    assert refused.value.code == "agi.socket"


def test_a_weak_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallwardenError):
        AgiServer(tmp_path / "a", "", Desk().handle)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ("entry", "", "", "support")),
        ({"agi_arg_3": "refuse_call"}, ("entry", "", "refuse_call", "support")),
        ({"agi_network_script": "callee", "agi_arg_3": ""}, ("callee", "", "", "support")),
        ({"agi_network_script": "feature", "agi_arg_1": "withdraw"}, ("feature", "withdraw", "", "")),
        ({"agi_network_script": "feature", "agi_arg_1": "errand"}, ("feature", "errand", "", "")),
    ],
)
def test_how_the_dialplan_came_here(changes: dict[str, str], wanted: tuple[str, str, str, str]) -> None:
    request = read_request({**ENV, **changes})
    assert (request.script, request.feature, request.on_failure, request.policy_name) == wanted


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"agi_network_script": "errand"}, "agi_network_script"),
        ({"agi_network_script": "feature", "agi_arg_1": "erase"}, "agi_arg_1"),
        ({"agi_network_script": "feature", "agi_arg_1": ""}, "agi_arg_1"),
        ({"agi_arg_3": "shout"}, "agi_arg_3"),
    ],
)
def test_an_unknown_word_of_the_dialplan_is_refused(changes: dict[str, str], where: str) -> None:
    with pytest.raises(CallwardenError) as refused:
        read_request({**ENV, **changes})
    assert refused.value.where == where
