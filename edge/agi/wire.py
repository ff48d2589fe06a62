"""One connection on the daemon's AGI socket: either a call's session or the guard's heartbeat."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any

from edge.agi.protocol import MAX_LINE, AgiParser, Broken, EnvReceived, Event, Hangup, Reply, encode
from edge.errors import CallwardenError
from edge.ports import CallerGone, DialogueLost

#: First word of the guard's own connection; sessions begin with `agi_`.
GUARD_HELLO = b"callwarden-guard"
#: Seconds for the whole environment to arrive.
ENV_LIMIT_S = 2.0


class AgiWire(asyncio.Protocol):
    """Asyncio's side of one connection. `on_env` gets the session once its environment is complete, `on_guard` a
    guard's greeting, `on_end` every connection at its end."""

    def __init__(
        self,
        on_env: Callable[[AgiWire, EnvReceived], None],
        on_guard: Callable[[AgiWire, bytes], None],
        on_end: Callable[[AgiWire], None],
    ) -> None:
        self._on_env = on_env
        self._on_guard = on_guard
        self._on_end = on_end
        self._parser = AgiParser()
        self._hello: bytes | None = None  # collected while the peer may be a guard
        self._started = False
        self._pending: asyncio.Future[Reply] | None = None
        self._closed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport
        self.gone = False  #: a HANGUP line came
        self.lost = ""  #: why nothing more can be said, once that is so

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(ENV_LIMIT_S, self.end, "the environment did not arrive in time")

    def data_received(self, data: bytes) -> None:
        if self.lost:
            return
        if not self._started and (self._hello is not None or data.startswith(GUARD_HELLO[:1])):
            self._greeting(data)
            return
        for event in self._parser.feed(data):
            self._event(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.lost = self.lost or "the connection was closed"
        self._closed.set()
        self._settle()
        self._on_end(self)

    # ------------------------------------------------------------ what came in

    def _greeting(self, data: bytes) -> None:
        self._hello = (self._hello or b"") + data
        line, feed, _ = self._hello.partition(b"\n")
        if feed and line.split(b" ")[0] == GUARD_HELLO:
            self._started = True
            self._stop_timer()
            self._on_guard(self, line)
        elif feed or len(self._hello) > MAX_LINE:
            self.end("neither a guard nor a session")

    def _event(self, event: Event) -> None:
        if isinstance(event, EnvReceived):
            self._started = True
            self._stop_timer()
            self._on_env(self, event)
        elif isinstance(event, Hangup):
            self.gone = True
            self._settle()
        elif isinstance(event, Broken):
            self.end(f"out of step: {event.reason}")
        elif self._pending is None or self._pending.done():
            self.end("out of step: an answer to no question")
        else:
            self._pending.set_result(event)

    def _settle(self) -> None:
        """A waiting question will get no answer that counts."""
        if self._pending is not None and not self._pending.done():
            self._pending.set_exception(self._why())

    def _why(self) -> CallerGone | DialogueLost:
        return CallerGone() if self.gone else DialogueLost(self.lost)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self, reason: str) -> None:
        """Close now; whoever waits gets DialogueLost (CallerGone when a HANGUP came before)."""
        self.lost = self.lost or reason
        self._settle()
        self.transport.abort()

    def finish(self) -> None:
        """Close in order after the last answer: Asterisk's dialplan goes on."""
        self.lost = self.lost or "the session is finished"
        self.transport.close()

    # ------------------------------------------------------------ questions

    async def command(self, *words: str, limit_s: float) -> Reply:
        """Send one command, wait for its answer, at most `limit_s` seconds.

        Raises CallerGone after a HANGUP (also one that came before the answer) or on code 511, DialogueLost when the
        peer is gone, late, or refuses the command (510, 520), and CallwardenError agi.unsafe_value before sending.
        """
        line = encode(*words)
        if self.gone or self.lost:
            raise self._why()
        self._pending = asyncio.get_running_loop().create_future()
        self.transport.write(line)
        try:
            async with asyncio.timeout(limit_s):
                reply = await self._pending
        except TimeoutError:
            self.end(f"no answer to {words[0]} within {limit_s:g} s")
            raise DialogueLost(self.lost) from None
        finally:
            self._pending = None
        await self._refuse_stale()
        if reply.code == 511:
            self.gone = True
            raise CallerGone
        if reply.code != 200:
            self.end(f"Asterisk refused {words[0]}: {reply.code} {reply.data or ''}".strip())
            raise DialogueLost(self.lost)
        return reply

    async def _refuse_stale(self) -> None:
        """An answer read after the guard freed the caller (we were stuck) counts for nothing, however good it is."""
        socket: Any = self.transport.get_extra_info("socket")
        if socket is None or self.transport.is_closing():
            raise self._why()
        poll = select.poll()
        poll.register(socket.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            try:
                async with asyncio.timeout(1.0):
                    await self._closed.wait()
            except TimeoutError:
                self.end("the connection was closed")
            raise self._why()

    def send_raw(self, data: bytes) -> None:
        """For the heartbeat only."""
        if not self.transport.is_closing():
            self.transport.write(data)


def unsafe(what: str, value: str) -> CallwardenError:
    """The error for a value that has no business in a dialplan argument."""
    return CallwardenError("agi.unsafe_value", f"{what} holds a forbidden character: {value!r}", where=what)
