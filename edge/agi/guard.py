"""The guard: a small process between Asterisk and the daemon, so that no caller waits for a daemon that is stuck.

FastAGI has no time-out: a channel waits for its socket for ever, and closing the socket frees it at once. The guard
holds the AGI port on loopback, passes bytes between Asterisk and the daemon's Unix socket, and closes Asterisk's
socket when the daemon is absent, has owed the next command for `deadline_s`, or its heartbeat is that late. The
heartbeat is a connection of its own on which the daemon's event loop writes a byte four times a second.

Standard library only, and no file of ours but the AGI parser: it must start at once and outlive every upgrade.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import resource
import signal
import sys

from edge.agi.protocol import MAX_BLOCK, MAX_LINE, AgiParser, Broken, EnvReceived, Reply

ENV_LIMIT_S = 2.0  # for Asterisk's environment; it arrives in one packet
CONNECTIONS = 1024  # silent ones included; each holds at most MAX_BLOCK bytes, for ENV_LIMIT_S
RETRY_S = 0.1  # how soon an absent daemon is looked for again


def say(line: str) -> None:
    """One line for the journal; never a caller's words."""
    print(f"callwarden-guard: {line}", file=sys.stderr, flush=True)


class Guard:
    """The listener, the heartbeat, and the sessions that pass."""

    def __init__(self, socket_path: str, deadline_s: float = 2.0, connections: int = CONNECTIONS) -> None:
        self.socket_path = socket_path
        self.deadline_s = deadline_s
        self.connections = connections
        self.callers: set[CallerSide] = set()
        self.turned_away = 0  # calls freed or refused since the daemon last heard of them
        self._last_beat = float("-inf")
        self._watch: asyncio.TimerHandle | None = None

    @property
    def daemon_alive(self) -> bool:
        """Whether the daemon's event loop was heard of within the deadline."""
        return asyncio.get_running_loop().time() - self._last_beat < self.deadline_s

    async def follow_heartbeat(self) -> None:
        """Keep a connection to the daemon, whichever process answers at the socket's path; for ever."""
        loop = asyncio.get_running_loop()
        said = ""
        while True:
            try:
                _, beat = await loop.create_unix_connection(lambda: Heartbeat(self), self.socket_path)
                state = f"the daemon is at {self.socket_path}"
                said = state if said == state else self._tell(state)
                await beat.ended.wait()
            except OSError as refused:
                state = f"no daemon at {self.socket_path}: {refused.strerror or refused}"
                said = state if said == state else self._tell(state)
            await asyncio.sleep(RETRY_S)

    @staticmethod
    def _tell(state: str) -> str:
        """Say what changed, once: a socket the guard may not open looks like silence otherwise."""
        say(state)
        return state

    def beat(self) -> None:
        """A byte of the heartbeat came."""
        loop = asyncio.get_running_loop()
        self._last_beat = loop.time()
        if self._watch is None:
            self._watch = loop.call_at(self._last_beat + self.deadline_s, self._check_beat)

    def _check_beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = None
        if self.daemon_alive:
            self._watch = loop.call_at(self._last_beat + self.deadline_s, self._check_beat)
        else:
            self.daemon_lost(f"no heartbeat for {self.deadline_s:g} s")

    def daemon_lost(self, why: str) -> None:
        """Free every caller."""
        self._last_beat = float("-inf")
        for caller in list(self.callers):
            caller.free(why)


class Heartbeat(asyncio.Protocol):
    """The guard's own connection to the daemon."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._told = 0
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._told = self._guard.turned_away
        transport.write(b"callwarden-guard 1 turned_away=%d\n" % self._told)

    def data_received(self, data: bytes) -> None:
        self._guard.turned_away -= self._told  # only a daemon that answers has heard it
        self._told = 0
        self._guard.beat()

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.daemon_lost("the daemon is gone")
        self.ended.set()


class CallerSide(asyncio.Protocol):
    """Asterisk's side of one session."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._parser = AgiParser()
        self._held = b""  # the environment, until it is whole: the daemon sees no half session
        self._whole = False
        self._daemon: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        guard = self._guard
        peer = transport.get_extra_info("peername")
        guard.callers.add(self)
        if not peer or not ipaddress.ip_address(peer[0]).is_loopback:
            self.free("a peer that is not this host")
        elif len(guard.callers) > guard.connections:
            self.free("too many connections")
        elif not guard.daemon_alive:
            self.free("no daemon")
        else:
            self._arm(ENV_LIMIT_S, "the environment did not arrive in time")

    def data_received(self, data: bytes) -> None:
        owes = False
        for event in self._parser.feed(data):
            if isinstance(event, Broken):
                self.free(f"Asterisk's side is out of step: {event.reason}")
                return
            owes = owes or isinstance(event, EnvReceived | Reply)
            self._whole = self._whole or isinstance(event, EnvReceived)
        if owes:
            self._arm(self._guard.deadline_s, "the daemon owed the next command")
        if self._daemon is not None:
            self._daemon.write(data)
            return
        self._held += data
        if self._whole and self._opening is None:
            self._opening = asyncio.create_task(self._open())
        elif len(self._held) > MAX_BLOCK:
            self.free("Asterisk's side talks without an answer")

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_unix_connection(lambda: DaemonSide(self), self._guard.socket_path)
        except OSError as refused:
            self.free(f"the daemon does not answer: {refused.strerror or refused}")
            return
        if self.transport.is_closing():
            transport.abort()
            return
        self._daemon = transport
        transport.write(self._held)
        self._held = b""

    def commanded(self, data: bytes) -> None:
        """A whole command of the daemon goes to Asterisk, which owes the answer now."""
        self._disarm()
        self.transport.write(data)

    def finished(self) -> None:
        """The daemon closed: Asterisk's dialplan goes on. What was written before still arrives."""
        self._disarm()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._guard.callers.discard(self)
        if self._daemon is not None:
            self._daemon.close()

    def free(self, why: str) -> None:
        """Close both sides at once, count it and say so."""
        if not self.transport.is_closing():
            self._guard.turned_away += 1
            say(f"freed a call: {why}")
        self._disarm()
        self.transport.abort()
        if self._daemon is not None:
            self._daemon.abort()

    def _arm(self, seconds: float, why: str) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.free, why)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DaemonSide(asyncio.Protocol):
    """The daemon's side of one session. Only whole lines pass."""

    def __init__(self, caller: CallerSide) -> None:
        self._caller = caller
        self._tail = b""

    def data_received(self, data: bytes) -> None:
        whole, feed, self._tail = (self._tail + data).rpartition(b"\n")
        if len(self._tail) > MAX_LINE:
            self._caller.free("the daemon's command has no end")
        elif feed:
            self._caller.commanded(whole + feed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._caller.finished()


async def run_guard(listen: str, socket_path: str, deadline_s: float = 2.0) -> None:
    """Serve until SIGTERM or SIGINT. listen: "HOST:PORT" with a loopback address, port 0 for any (said on stderr).
    Raises OSError when the port is taken, ValueError when the address is not a loopback's."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address: whoever reaches the AGI port commands Asterisk")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    guard = Guard(socket_path, deadline_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CallerSide(guard), host, int(port), backlog=512, reuse_address=True)
    say("listening on {}:{}".format(*server.sockets[0].getsockname()[:2]))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    follower = asyncio.create_task(guard.follow_heartbeat())
    await stop.wait()
    follower.cancel()
    server.close()
    guard.daemon_lost("the guard is stopping")


def main(argv: list[str] | None = None) -> int:
    """`python -m edge.agi.guard --listen H:P --socket PATH`; 0 stopped, 2 usage, 8 port taken."""
    parser = argparse.ArgumentParser(prog="callwarden guard", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:4573", metavar="HOST:PORT")
    parser.add_argument("--socket", required=True, metavar="PATH", help="the daemon's AGI socket")
    parser.add_argument("--deadline", type=float, default=2.0, metavar="SECONDS")
    chosen = parser.parse_args(argv)
    try:
        asyncio.run(run_guard(chosen.listen, chosen.socket, chosen.deadline))
    except ValueError as wrong:
        say(str(wrong))
        return 2
    except OSError as taken:
        say(f"error: {chosen.listen}: cannot listen: {taken.strerror or taken} [environment.port]")
        say("  hint: does another guard listen there? [asterisk] agi_listen and CALLWARDEN_AGI name the port")
        return 8
    return 0


if __name__ == "__main__":
    sys.exit(main())
