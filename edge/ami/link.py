"""The live link to Asterisk's manager: connects for ever, rebuilds the picture each time, keeps a heartbeat.

Implements `edge.ports.Asterisk`. Nothing is replayed after a disconnect, by neither side: the picture is made anew, and
an action without an answer is reported as unknown, never sent again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.ami.actions import Ability, Actions, ability_of
from edge.ami.connection import AmiConnection, connect
from edge.ami.doubts import Doubts
from edge.ami.protocol import Message
from edge.ami.reconcile import Picture, bridges_listed, channels_listed, members_listed
from edge.ami.translate import apply, introduce
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports import ChannelSink

log = structlog.get_logger("edge.ami")

TOKEN_GLOBAL = "CALLWARDEN_TOKEN"  # noqa: S105 - a variable's name; edge/agi/variables.py has it for the other side
ALIVE_GLOBAL = "CALLWARDEN_ALIVE"
DEADMAN_GLOBAL = "CALLWARDEN_DEADMAN"  # read by dialplan/callwarden.conf; an admin's own value wins


@dataclass(frozen=True, slots=True)
class AmiSettings:
    """Where and as whom, and how patient (seconds). A wrong password is tried again only every `auth_wait_s`: Asterisk or
    fail2ban may count."""

    host: str
    port: int
    user: str
    secret_file: Path
    heartbeat_s: float = 3.0
    alive_s: float = 10.0
    look_again_s: float = 30.0
    answer_limit_s: float = 5.0
    first_wait_s: float = 0.25
    longest_wait_s: float = 5.0
    auth_wait_s: float = 30.0
    dead_man_s: int = 60


class AmiLink(Actions):
    """Runs until cancelled. `on_alarm(code, message)` is called once per trouble, not once per attempt."""

    def __init__(
        self,
        settings: AmiSettings,
        sink: ChannelSink,
        token: str,
        on_alarm: Callable[[str, str], None] = lambda code, message: None,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._token = token
        self._on_alarm = on_alarm
        self._alarmed = ""
        self._picture = Picture()
        self._connection: AmiConnection | None = None
        self._started_at = ""
        self._show_at = 0.0
        self._look_at = 0.0
        self._changed = asyncio.Condition()
        self._doubts = Doubts(
            self._picture, sink, lambda message: on_alarm("ami.forged", message), settings.answer_limit_s
        )
        self.ability = Ability()  #: of the server at hand, known from the first link-up on
        self.restarts = 0  #: times Asterisk was seen to have started anew

    @property
    def up(self) -> bool:
        """Connected, and the picture is true."""
        return self._connection is not None

    async def wait_up(self) -> None:
        """Return as soon as the link is up."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.up)

    def channel_alive(self, channel_uid: str) -> bool | None:
        """Whether the channel exists; None while the link is down."""
        return channel_uid in self._picture.channels if self.up else None

    def channel_name(self, channel_uid: str) -> str | None:
        """Its name now, None when no such channel is known."""
        return self._picture.channels.get(channel_uid)

    def with_channel(self, channel_uid: str) -> Mapping[str, str]:
        """See `edge.ports.Asterisk.with_channel`."""
        return self._picture.company(channel_uid)

    def in_bridge(self, channel_uid: str) -> bool:
        """Whether the channel is in some bridge."""
        return bool(self._picture.bridges_of(channel_uid))

    def kept_apart(self, channel_uid: str) -> bool:
        """Whether it is in a bridge whose members do not hear each other: parked, or in a waiting room."""
        return any(bridge in self._picture.apart for bridge in self._picture.bridges_of(channel_uid))

    # ------------------------------------------------------------ keeping it up

    async def run(self) -> None:
        """Connect, stay, reconnect, for ever."""
        settings = self._settings
        wait = settings.first_wait_s
        while True:
            pause = wait
            wait = min(wait * 2, settings.longest_wait_s)
            try:
                await self._once()
            except CallwardenError as failed:
                log.warning("manager link down", code=failed.code, why=failed.message)
                self._alarm(failed)
                if failed.code in ("ami.auth", "ami.secret"):
                    pause = settings.auth_wait_s
            if await self._down():
                pause = wait = settings.first_wait_s
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads reconnects, guards nothing

    async def _once(self) -> None:
        connection = await connect(self._settings.host, self._settings.port, self._event)
        try:
            await self._login(connection)
            await self._snapshot(connection)
            self._connection = connection
            self._doubts.connected(connection)
            self._look_at = time.monotonic() + self._settings.look_again_s
            self._alarmed = ""
            log.info("manager link up", channels=len(self._picture.channels))
            introduce(self._picture, self._sink)
            async with self._changed:
                self._changed.notify_all()
            while not connection.ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.heartbeat_s):
                        await connection.ended.wait()
                if not connection.ended.is_set():
                    await self._heartbeat(connection)
            raise CallwardenError("ami.lost", f"the manager link was lost: {connection.why}", retryable=True)
        finally:
            connection.end("given up")

    async def _down(self) -> bool:
        """Tell the sink if it was told we were up; whether we were."""
        was_up = self.up
        self._connection = None
        self._doubts.connected(None)
        if was_up:
            self._sink.link_down()
        return was_up

    async def _login(self, connection: AmiConnection) -> None:
        try:
            secret = self._settings.secret_file.read_text().strip()
        except OSError as unreadable:
            raise CallwardenError(
                "ami.secret",
                f"the manager's secret cannot be read: {unreadable.strerror}",
                where=str(self._settings.secret_file),
            ) from unreadable
        self._picture.begin()  # events begin with the login
        self._doubts.begin()
        fields = {"Username": self._settings.user, "Secret": secret}
        answer = await connection.action("Login", fields, limit_s=self._settings.answer_limit_s)
        if answer.get("Response") != "Success":
            raise CallwardenError(
                "ami.auth",
                f"the manager refused the login: {answer.get('Message')}",
                hint="compare the secret file with manager.conf, its permit lines and allowmultiplelogin",
                retryable=True,
                where=f"{self._settings.user}@{self._settings.host}:{self._settings.port}",
            )
        # FullyBooted goes only to accounts that may read `system`, so the start is asked for.
        status = await connection.action("CoreStatus", {}, limit_s=self._settings.answer_limit_s)
        self._note_start(f"{status.get('CoreStartupDate')} {status.get('CoreStartupTime')}")
        settings = await connection.action("CoreSettings", {}, limit_s=self._settings.answer_limit_s)
        self.ability = ability_of(settings.get("AsteriskVersion"))

    async def _snapshot(self, connection: AmiConnection) -> None:
        limit = self._settings.answer_limit_s
        await self._show(connection)
        hit("ami.snapshot")
        listed = channels_listed(await connection.listing("CoreShowChannels", {}, limit_s=limit))
        bridged = {}
        listing = await connection.listing("BridgeList", {}, limit_s=limit)
        for bridge, technology in bridges_listed(listing).items():
            self._picture.keeps(bridge, technology)
            info = await connection.listing("BridgeInfo", {"BridgeUniqueid": bridge}, limit_s=limit)
            bridged[bridge] = members_listed(info)
        await self._doubts.settle(connection)
        self._picture.finish(listed, bridged)

    async def _heartbeat(self, connection: AmiConnection) -> None:
        """Prove that the link answers. Asterisk logs every change of a global (verbose 2), so those are changed seldom."""
        await connection.action("Ping", {}, limit_s=self._settings.answer_limit_s)
        if time.monotonic() >= self._show_at:
            await self._show(connection)
        if time.monotonic() >= self._look_at:
            await self._refresh(connection)

    async def _show(self, connection: AmiConnection) -> None:
        """The globals: the token, where a reload with clearglobalvars=yes took it, and the sign of life."""
        limit = self._settings.answer_limit_s
        shown = await connection.action("Getvar", {"Variable": TOKEN_GLOBAL}, limit_s=limit)
        changes = {ALIVE_GLOBAL: str(int(time.time()))}
        if shown.get("Value") != self._token:
            changes[TOKEN_GLOBAL] = self._token
            deadman = await connection.action("Getvar", {"Variable": DEADMAN_GLOBAL}, limit_s=limit)
            if not deadman.get("Value"):
                changes[DEADMAN_GLOBAL] = str(self._settings.dead_man_s)
        for name, value in changes.items():
            answer = await connection.action("Setvar", {"Variable": name, "Value": value}, limit_s=limit)
            if answer.get("Response") != "Success":
                raise CallwardenError(
                    "ami.rights",
                    f"the manager refused to set a global variable: {answer.get('Message')}",
                    hint="the account needs write = call,reporting (dialplan/manager.callwarden.conf.sample)",
                )
        self._show_at = time.monotonic() + self._settings.alive_s

    def _event(self, message: Message) -> None:
        apply(message, self._picture, self._sink if self.up else None, self._doubts)

    async def _refresh(self, connection: AmiConnection) -> None:
        """Look again at all channels: one that left unseen is gone, one that was made up is forgotten."""
        before = set(self._picture.channels)
        listing = await connection.listing("CoreShowChannels", {}, limit_s=self._settings.answer_limit_s)
        for uid in self._picture.stale(channels_listed(listing), before):
            self._doubts.hung_up(uid)
        self._look_at = time.monotonic() + self._settings.look_again_s

    def _note_start(self, started_at: str) -> None:
        if self._started_at not in ("", started_at):
            self.restarts += 1
            log.warning("Asterisk was restarted", at=started_at)
        self._started_at = started_at

    def _alarm(self, failed: CallwardenError) -> None:
        if failed.code != self._alarmed:
            self._alarmed = failed.code
            self._on_alarm(failed.code, failed.message)

    # ------------------------------------------------------------ edge.ports.Asterisk

    async def _act(self, action: str, fields: Mapping[str, str]) -> Message:
        connection = self._connection
        if connection is None:
            raise CallwardenError("ami.down", "there is no link to Asterisk's manager", retryable=True)
        return await connection.action(action, fields, limit_s=self._settings.answer_limit_s)
