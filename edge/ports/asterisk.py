"""Asterisk as stages see it: the dialogue with one channel, the manager link, and who hears what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol


class CallerGone(Exception):
    """The caller hung up during the dialogue."""


class DialogueLost(Exception):
    """The AGI session ended or went out of step: nothing more can be said to this channel by AGI."""


class Dialogue(Protocol):
    """One AGI session, in the words of a call. Every method may raise CallerGone or DialogueLost."""

    script: str
    """How the dialplan came here: `entry` (an inbound caller), `callee` (a called party, before the two are joined),
    `feature` (a feature code, or an errand of ours, inside a bridge)."""
    feature: str
    """Of `feature` only: `errand` `withdraw` `pause` `resume` `start`."""
    on_failure: str
    """What the dialplan does by itself when we are dead: `unrecorded` `announce` `refuse_call`, "" when it says nothing."""
    channel_uid: str
    channel_name: str
    linked_id: str
    policy_name: str
    caller_number: str
    caller_name: str
    dialled: str
    context: str
    queue: str
    """Where the call goes next, as the dialplan says (CALLWARDEN_QUEUE); asked for only when it names no policy."""
    language: str

    async def answer(self) -> None: ...
    async def play(self, path: str, keys: str, offset_ms: int = 0) -> tuple[str, int]:
        """Play a file (absolute path, no extension) from `offset_ms`; any of `keys` stops it (none: cannot be stopped).

        Returns (the key or "", the position reached in milliseconds from the file's start).
        """
        ...

    async def wait_key(self, timeout_ms: int) -> str:
        """One key or "" after the time-out."""
        ...

    async def discard_keys(self) -> None:
        """Drop digits that were queued before now."""
        ...

    async def set_variable(self, name: str, value: str) -> None: ...
    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Several at once, in order; values are words."""
        ...

    async def get_variable(self, name: str) -> str: ...
    async def start_monitor(self, path: str, options: str) -> str:
        """EXEC MixMonitor; returns the monitor id. `path` is ours alone. Raises CallerGone when a HANGUP came first."""
        ...

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None: ...


class Asterisk(Protocol):
    """The AMI link in our words."""

    @property
    def up(self) -> bool: ...
    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        """StopMixMonitor by id; True when Asterisk confirmed. Raises CallwardenError ami.* when the outcome is unknown."""
        ...

    async def set_variable(self, channel_name: str, name: str, value: str) -> None: ...
    async def get_variable(self, channel_name: str, name: str) -> str:
        """Empty when unset. Raises CallwardenError ami.*."""
        ...

    def channel_alive(self, channel_uid: str) -> bool | None:
        """From the picture; None while the link is down."""
        ...

    def channel_name(self, channel_uid: str) -> str | None:
        """Its name now (masquerades rename), None when it is not known."""
        ...

    def with_channel(self, channel_uid: str) -> Mapping[str, str]:
        """uniqueid -> name of everybody else who is in the bridge this channel is in now, Local pairs followed through."""
        ...

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        """MixMonitorMute, both directions, by id; True when Asterisk acknowledged. Raises ami.* when that is unknown."""
        ...

    async def summon(self, channel_name: str) -> None:
        """Have the channel open the AGI script `feature` with the word `errand` from inside its bridge: the digits
        D A D, received (features.conf names them `cwapi`). Raises ami.*. Nothing comes while it is in no bridge."""
        ...

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        """Raise an AMI UserEvent; names and values are words of [A-Za-z0-9_.:-]."""
        ...

    async def set_device(self, name: str, state: str) -> None:
        """DEVICE_STATE(Custom:name) for lamps: `INUSE` or `NOT_INUSE`."""
        ...


class ChannelSink(Protocol):
    """Who wants to hear what happens to channels. Called on the event loop, must not block."""

    def channel_gone(self, channel_uid: str) -> None: ...
    def channel_bridged(self, channel_uid: str) -> None: ...
    def channel_unbridged(self, channel_uid: str) -> None: ...
    def company_changed(self, channel_uids: frozenset[str]) -> None:
        """Who is in the bridge of these channels is no longer what it was: judge each anew by `Asterisk.with_channel`."""
        ...

    def channel_held(self, channel_uid: str, on: bool) -> None:
        """This channel put the others on hold, or took them back."""
        ...

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        """A MixMonitor began or was stopped on this channel; whose is not said."""
        ...

    def link_up(self, alive: Mapping[str, str]) -> None:
        """After every (re)connect: channel_uid -> channel name of all channels that exist now."""
        ...

    def link_down(self) -> None: ...


Handler = Callable[[Dialogue], Awaitable[None]]
