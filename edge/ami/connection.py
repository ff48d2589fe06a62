"""One connection to the manager: asyncio's side of it, and actions that find their answers by ActionID."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
from collections.abc import Callable, Mapping

from edge.ami.protocol import AmiParser, AmiStreamError, Message, encode
from edge.ami.translate import WANTED
from edge.errors import CallwardenError

CONNECT_LIMIT_S = 5.0
#: Asked of the kernel for what arrives while our event loop is busy (it may grant less): Asterisk disconnects a reader
#: whose socket is full for `writetimeout`.
RECEIVE_BUFFER = 4 * 1024 * 1024


class _Waiting:
    """An action under way: its response, and the events of its list."""

    def __init__(self, whole_list: bool) -> None:
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.items: list[Message] = []
        self.whole_list = whole_list
        self.response: Message | None = None


class AmiConnection(asyncio.Protocol):
    """From the banner to the end. `on_event` is called in order, on the event loop, for each wanted event."""

    def __init__(self, on_event: Callable[[Message], None]) -> None:
        self._on_event = on_event
        self._parser = AmiParser(WANTED)
        self._waiting: dict[str, _Waiting] = {}
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self.greeted = asyncio.Event()
        self.ended = asyncio.Event()
        self.why = ""  #: why it ended
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._parser.feed(data)
        except AmiStreamError as broken:
            self.end(str(broken))
            return
        if self._parser.banner:
            self.greeted.set()
        for message in messages:
            self._message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.why = self.why or (str(exc) if exc else "Asterisk closed the connection")
        self.ended.set()
        self.greeted.set()
        for action_id in list(self._waiting):
            waiting = self._waiting.pop(action_id)
            if not waiting.answer.done():
                waiting.answer.set_exception(unknown(self.why))

    def end(self, why: str) -> None:
        """Give the connection up."""
        self.why = self.why or why
        self.transport.abort()

    def _message(self, message: Message) -> None:
        action_id = message.get("ActionID")
        waiting = self._waiting.get(action_id) if action_id else None
        if waiting is None:
            if message.event in WANTED:
                self._on_event(message)
            return
        if message.event:
            waiting.items.append(message)
            if message.get("EventList") == "Complete" and waiting.response is not None:
                self._settle(action_id, waiting.response)
        elif waiting.response is None:  # a second response to one id would be a stray
            waiting.response = message
            if not waiting.whole_list or message.get("Response") != "Success":
                self._settle(action_id, message)

    def _settle(self, action_id: str, response: Message) -> None:
        waiting = self._waiting.pop(action_id)
        if not waiting.answer.done():
            waiting.answer.set_result(response)

    async def action(self, name: str, fields: Mapping[str, str], *, limit_s: float = 5.0) -> Message:
        """Send an action and return its response, whatever it says. Raises CallwardenError ami.unknown when no answer
        came: it may or may not have happened."""
        return (await self._act(name, fields, limit_s, whole_list=False))[0]

    async def listing(self, name: str, fields: Mapping[str, str], *, limit_s: float = 5.0) -> list[Message]:
        """The events of an action that answers with a list; empty when it is refused. Raises ami.unknown."""
        return (await self._act(name, fields, limit_s, whole_list=True))[1]

    async def _act(
        self, name: str, fields: Mapping[str, str], limit_s: float, *, whole_list: bool
    ) -> tuple[Message, list[Message]]:
        action_id = f"cw-{self._prefix}-{next(self._numbers)}"
        line = encode(name, fields, action_id)
        if self.ended.is_set():
            raise unknown(self.why)
        waiting = self._waiting[action_id] = _Waiting(whole_list)
        self.transport.write(line)
        try:
            async with asyncio.timeout(limit_s):
                return await waiting.answer, waiting.items
        except TimeoutError:
            raise unknown(f"no answer to {name} within {limit_s:g} s") from None
        finally:
            self._waiting.pop(action_id, None)


async def connect(host: str, port: int, on_event: Callable[[Message], None]) -> AmiConnection:
    """Connect and wait for the banner. Raises CallwardenError ami.unreachable."""
    loop = asyncio.get_running_loop()
    where = f"{host}:{port}"
    plug = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    plug.setblocking(False)
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await loop.sock_connect(plug, (host, port))
            _, connection = await loop.create_connection(lambda: AmiConnection(on_event), sock=plug)
            await connection.greeted.wait()
    except (OSError, TimeoutError) as failed:
        plug.close()
        raise _unreachable(where, str(failed) or "no answer") from failed
    if connection.ended.is_set():
        raise _unreachable(where, connection.why)
    return connection


def _unreachable(where: str, why: str) -> CallwardenError:
    hint = "is Asterisk running, and does manager.conf say enabled = yes and bindaddr = 127.0.0.1?"
    return CallwardenError(
        "ami.unreachable", f"the manager cannot be reached: {why}", hint=hint, retryable=True, where=where
    )


def unknown(why: str) -> CallwardenError:
    """The error for an action whose outcome nobody knows."""
    hint = "look at what is there before doing it again"
    return CallwardenError("ami.unknown", f"the outcome of an action is unknown: {why}", hint=hint, retryable=True)
