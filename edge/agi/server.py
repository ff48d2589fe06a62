"""The daemon's AGI door: a Unix socket that only the guard connects to."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from edge.agi import variables
from edge.agi.dialogue import SIMPLE_LIMIT_S, AgiDialogue
from edge.agi.protocol import EnvReceived
from edge.agi.request import AgiRequest, read_request
from edge.agi.wire import AgiWire
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports import CallerGone, DialogueLost, Handler

log = structlog.get_logger("edge.agi")

BEAT_S = 0.25  # the guard calls us late after 2 s: eight beats
SESSIONS = 400
_TURNED_AWAY = re.compile(rb"turned_away=(\d{1,9})")
_CONTEXT = re.compile(r"[A-Za-z0-9_.-]{0,80}")


class AgiServer:
    """Accepts sessions, checks that the peer knows the token, and gives each to `handler` in a task of its own.

    socket_path: at most about 100 bytes (AF_UNIX). token: what the AMI link put into the global CALLWARDEN_TOKEN.
    mode, gid: of the socket, 0660 and a shared group when the guard has an id of its own. on_turned_away: called with
    the number of calls the guard freed or turned away since it last told us.
    """

    def __init__(
        self,
        socket_path: str | Path,
        token: str,
        handler: Handler,
        *,
        limit: int = SESSIONS,
        mode: int = 0o600,
        gid: int | None = None,
        beat_s: float = BEAT_S,
        on_turned_away: Callable[[int], None] | None = None,
    ) -> None:
        if len(token) < 16:
            raise CallwardenError(
                "agi.weak_token", "the AGI token is shorter than 16 characters", hint="let `callwarden init` write one"
            )
        self._path = Path(socket_path)
        self._token = token.encode()
        self._handler = handler
        self._limit = limit
        self._mode = mode
        self._gid = gid
        self._beat_s = beat_s
        self._on_turned_away = on_turned_away
        self._sessions: dict[AgiWire, asyncio.Task[None]] = {}
        self._wires: set[AgiWire] = set()
        self._guards: set[AgiWire] = set()
        self._server: asyncio.Server | None = None
        self._beats: asyncio.Task[None] | None = None
        self._inode = 0

    @property
    def sessions(self) -> int:
        """Dialogues going on now."""
        return len(self._sessions)

    @property
    def guards(self) -> int:
        """Guards that hear our heartbeat: 0 means no call can be asked."""
        return len(self._guards)

    async def start(self) -> None:
        """Listen. The socket appears by rename, so a guard meets the old one or the new one, never none in between.
        Raises CallwardenError agi.socket."""
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fresh.unlink(missing_ok=True)
            listener.bind(str(fresh))
            fresh.chmod(self._mode)
            if self._gid is not None:
                os.chown(fresh, -1, self._gid)
            listener.listen(512)
            self._inode = fresh.stat().st_ino
            fresh.rename(self._path)
        except OSError as refused:
            listener.close()
            raise CallwardenError(
                "agi.socket",
                f"cannot listen for AGI: {refused.strerror or refused}",
                hint="check agi_socket: its folder must exist and be ours, and the path must be under 100 bytes",
                where=str(self._path),
            ) from refused
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._wire, sock=listener)
        self._beats = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Stop listening and end every session: their callers go on in the dialplan at once."""
        if self._beats is not None:
            self._beats.cancel()
        if self._server is not None:
            self._server.close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        tasks = list(self._sessions.values())
        for wire in list(self._wires):
            wire.end("the daemon is stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ connections

    def _wire(self) -> AgiWire:
        wire = AgiWire(self._session, self._guard, self._ended)
        self._wires.add(wire)
        return wire

    def _session(self, wire: AgiWire, env: EnvReceived) -> None:
        if len(self._sessions) >= self._limit:
            log.warning("session refused: too many", limit=self._limit)
            wire.end("too many sessions")
            return
        try:
            request = read_request(env.values)
        except CallwardenError as bad:
            log.warning("session refused", code=bad.code, why=bad.message)
            wire.end(bad.message)
            return
        hit("agi.env_read")
        self._sessions[wire] = asyncio.create_task(self._serve(wire, request))

    def _guard(self, wire: AgiWire, hello: bytes) -> None:
        self._guards.add(wire)
        wire.send_raw(b".")
        told = _TURNED_AWAY.search(hello)
        if told and int(told[1]) and self._on_turned_away is not None:
            self._on_turned_away(int(told[1]))

    def _ended(self, wire: AgiWire) -> None:
        self._wires.discard(wire)
        self._guards.discard(wire)

    async def _beat(self) -> None:
        """From the event loop on purpose: when it is stuck, no caller may wait for it."""
        while True:
            for guard in self._guards:
                guard.send_raw(b".")
            await asyncio.sleep(self._beat_s)

    # ------------------------------------------------------------ one session

    async def _serve(self, wire: AgiWire, request: AgiRequest) -> None:
        where = request.channel_uid
        try:
            await self._converse(wire, request)
        except CallerGone:
            log.info("caller hung up", channel=where)
        except DialogueLost as lost:
            log.warning("dialogue lost", channel=where, why=str(lost))
        except CallwardenError as failed:
            log.warning("dialogue failed", channel=where, code=failed.code, why=failed.message)
        except Exception:
            log.exception("dialogue failed: this is a bug", channel=where)
        finally:
            self._sessions.pop(wire, None)
            wire.finish()

    async def _converse(self, wire: AgiWire, request: AgiRequest) -> None:
        # Asked for, not taken from the arguments: those end up in logs, channel listings and the CDR's lastdata.
        shown = (await wire.command("GET VARIABLE", variables.TOKEN, limit_s=SIMPLE_LIMIT_S)).data or ""
        if not hmac.compare_digest(shown.encode(), self._token):
            log.warning("session refused: wrong token", channel=request.channel_uid)
            wire.end("wrong token")
            return
        hit("agi.token_checked")
        context = (await wire.command("GET VARIABLE", variables.CALLED_FROM, limit_s=SIMPLE_LIMIT_S)).data or ""
        queue = ""
        if not request.policy_name:
            queue = (await wire.command("GET VARIABLE", variables.QUEUE, limit_s=SIMPLE_LIMIT_S)).data or ""
        dialogue = AgiDialogue(wire, request, context if _CONTEXT.fullmatch(context) else "", queue)
        await self._handler(dialogue)
        hit("agi.done")
