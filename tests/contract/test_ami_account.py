"""What the shipped manager account may and may not do, seen by two clients that share no code: ours and panoramisk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import panoramisk
import pytest

from edge.ami.connection import connect
from rig.asterisk import Asterisk

pytestmark = pytest.mark.asterisk

#: An action that would let a thief of the account reach files, programs, audio or other accounts.
REFUSED = {
    "MixMonitor": {"Channel": "Local/x@from-callers-1;1", "File": "x.wav"},
    "Originate": {"Channel": "Local/1000@from-callers", "Application": "NoOp"},
    "Command": {"Command": "core show version"},
    "GetConfig": {"Filename": "manager.conf"},
    "UpdateConfig": {"SrcFilename": "manager.conf", "DstFilename": "manager.conf"},
    "AGI": {"Channel": "Local/x@from-callers-1;1", "Command": "NOOP"},
    "ModuleLoad": {"LoadType": "reload"},
    "MuteAudio": {"Channel": "Local/x@from-callers-1;1", "Direction": "in", "State": "on"},
    "Filter": {"Operation": "Add", "Filter": "Event: .*"},
    "Reload": {},
    "DBPut": {"Family": "x", "Key": "y", "Val": "z"},
}
#: What the edge needs; a missing channel is an answer, a missing right is not.
ALLOWED = {
    "Ping": {},
    "CoreStatus": {},
    "CoreSettings": {},
    "CoreShowChannels": {},
    "BridgeList": {},
    "BridgeInfo": {"BridgeUniqueid": "none"},
    "Setvar": {"Variable": "CALLWARDEN_ALIVE", "Value": "1"},
    "Getvar": {"Variable": "CALLWARDEN_ALIVE"},
    "StopMixMonitor": {"Channel": "Local/x@from-callers-1;1", "MixMonitorID": "0x1"},
    "MixMonitorMute": {"Channel": "Local/x@from-callers-1;1", "Direction": "both", "State": "1"},
    "Hangup": {"Channel": "Local/x@from-callers-1;1"},
    "PlayDTMF": {"Channel": "Local/x@from-callers-1;1", "Digit": "D", "Receive": "true"},
}
Ask = Callable[[str, dict[str, str]], Awaitable[tuple[str, str]]]


@pytest.fixture(params=["ours", "panoramisk"])
async def ask(request: pytest.FixtureRequest, manager: Asterisk) -> AsyncIterator[Ask]:
    """A logged-in client: action and fields to (Response, Message)."""
    if request.param == "ours":
        connection = await connect("127.0.0.1", manager.ami_port, lambda message: None)
        login = await connection.action("Login", {"Username": "callwarden", "Secret": manager.ami_secret})
        assert login.get("Response") == "Success"

        async def by_ours(action: str, fields: dict[str, str]) -> tuple[str, str]:
            answer = await connection.action(action, fields)
            return answer.get("Response"), answer.get("Message")

        yield by_ours
        connection.end("done")
        return
    logging.getLogger("panoramisk.manager").setLevel(logging.ERROR)
    other = panoramisk.Manager(
        loop=asyncio.get_running_loop(),
        host="127.0.0.1",
        port=manager.ami_port,
        username="callwarden",
        secret=manager.ami_secret,
    )
    await other.connect()

    async def by_panoramisk(action: str, fields: dict[str, str]) -> tuple[str, str]:
        answer = await asyncio.wait_for(other.send_action({"Action": action, **fields}), 5)
        first = answer[0] if isinstance(answer, list) else answer
        return first.response, first.message or ""

    yield by_panoramisk
    other.close()


@pytest.mark.parametrize("action", REFUSED)
async def test_refused(ask: Ask, action: str) -> None:
    response, message = await ask(action, REFUSED[action])
    assert (response, message) == ("Error", "Permission denied")


@pytest.mark.parametrize("action", ALLOWED)
async def test_allowed(ask: Ask, action: str) -> None:
    _, message = await ask(action, ALLOWED[action])
    assert message != "Permission denied"
    assert "Invalid/unknown command" not in message
