"""What we ask Asterisk to do, in the words of `edge.ports.Asterisk`. Nothing here is ever sent twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge.ami.protocol import Message
from edge.errors import CallwardenError

#: The feature `cwapi` of the shipped features.conf: these digits, as if the channel had pressed them.
SUMMONS: Final = "DAD"
#: How long each of them is, and the pause after it, milliseconds. Asterisk makes pauses of 45 ms between digits of its
#: own (AST_MIN_DTMF_GAP) and gives a code up after `featuredigittimeout` (1 s unless told).
SUMMON_DIGIT_MS: Final = 100
SUMMON_GAP_MS: Final = 60
_VERSION: Final = re.compile(r"(?:certified[/-])?(\d{1,3})\.(\d{1,3})")
#: First release of each branch whose MixMonitor knows the option D (interleaved two channels, raw only); older ones take
#: it without a word and write one channel. Tried: 22.10.1 has it, 16.28 has not.
_INTERLEAVES: Final = {20: 15, 21: 10, 22: 5}
_DEVICE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GLOBAL: Final = re.compile(r"[A-Z_]+(?:[0-9a-f]{32})?")
_EVENT_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_DEVICE_STATES: Final = frozenset({"INUSE", "NOT_INUSE"})


@dataclass(frozen=True, slots=True)
class Ability:
    """What the server at hand can do. `version` as it names itself, "" when it was not seen yet; `interleave`: MixMonitor
    has the option D; `beep`: it has B."""

    version: str = ""
    interleave: bool = False
    beep: bool = False


def ability_of(version: str) -> Ability:
    """From the AsteriskVersion of CoreSettings ("22.10.1~dfsg+~cs6.15.60671435-1"). What cannot be read can do nothing."""
    found = _VERSION.match(version)
    if not found:
        return Ability(version)
    major, minor = int(found[1]), int(found[2])
    since = _INTERLEAVES.get(major, 0 if major > max(_INTERLEAVES) else None)
    return Ability(version, since is not None and minor >= since, major >= 13)


class Actions:
    """The acting half of the link. `_act` sends one action and returns its response."""

    async def _act(self, action: str, fields: Mapping[str, str]) -> Message:
        raise NotImplementedError

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        """StopMixMonitor by id; False when Asterisk knows no such channel or monitor. Raises ami.refused (no right),
        ami.down, ami.unknown."""
        return _done(await self._act("StopMixMonitor", {"Channel": channel_name, "MixMonitorID": monitor_id}))

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        """MixMonitorMute of both directions by id. Returns and raises as `stop_monitor`."""
        fields = {
            "Channel": channel_name,
            "Direction": "both",
            "State": "1" if on else "0",
            "MixMonitorID": monitor_id,
        }
        return _done(await self._act("MixMonitorMute", fields))

    async def summon(self, channel_name: str) -> None:
        """See `edge.ports.Asterisk.summon`. Raises ami.refused (no such channel), ami.down, ami.unknown."""
        for digit in SUMMONS:
            fields = {"Channel": channel_name, "Digit": digit, "Duration": str(SUMMON_DIGIT_MS), "Receive": "true"}
            accepted(await self._act("PlayDTMF", fields), channel_name)
            await asyncio.sleep((SUMMON_DIGIT_MS + SUMMON_GAP_MS) / 1000)

    async def set_device(self, name: str, state: str) -> None:
        """See `edge.ports.Asterisk.set_device`. Raises ami.unsafe_value for anything but a plain name and state."""
        if not _DEVICE.fullmatch(name) or state not in _DEVICE_STATES:
            raise CallwardenError("ami.unsafe_value", f"no lamp and state for Asterisk: {name!r} {state!r}", where=name)
        accepted(await self._act("Setvar", {"Variable": f"DEVICE_STATE(Custom:{name})", "Value": state}), name)

    async def user_event(self, name: str, fields: Mapping[str, str]) -> None:
        """See `edge.ports.Asterisk.user_event`. Raises ami.unsafe_value, ami.refused (no class `user`), ami.*."""
        for word in (name, *fields, *fields.values()):
            if not _EVENT_WORD.fullmatch(word):
                raise CallwardenError("ami.unsafe_value", f"no word for an event: {word!r}", where=name)
        accepted(await self._act("UserEvent", {"UserEvent": name, **fields}), name)

    async def hang_up(self, channel_name: str) -> None:
        """End this channel (a policy's `on_failure_midcall`). Raises ami.refused, ami.down, ami.unknown."""
        accepted(await self._act("Hangup", {"Channel": channel_name}), channel_name)

    async def set_variable(self, channel_name: str, name: str, value: str) -> None:
        """Raises CallwardenError ami.refused (no such channel), ami.down, ami.unknown."""
        fields = {"Channel": channel_name, "Variable": name, "Value": value}
        accepted(await self._act("Setvar", fields), channel_name)

    async def get_global(self, name: str) -> str:
        """A global variable; "" when unset. Raises ami.unsafe_value, ami.refused, ami.*."""
        return accepted(await self._act("Getvar", {"Variable": _plain(name)}), name).get("Value")

    async def set_global(self, name: str, value: str) -> None:
        """As `get_global`. Raises the same."""
        accepted(await self._act("Setvar", {"Variable": _plain(name), "Value": value}), name)

    async def get_variable(self, channel_name: str, name: str) -> str:
        """Empty when unset. Raises ami.refused, ami.down, ami.unknown."""
        answer = await self._act("Getvar", {"Channel": channel_name, "Variable": name})
        return accepted(answer, channel_name).get("Value")


def _plain(name: str) -> str:
    if not _GLOBAL.fullmatch(name):
        raise CallwardenError("ami.unsafe_value", f"no global's name: {name!r}", where=name)
    return name


def _done(answer: Message) -> bool:
    if answer.get("Message") == "Permission denied":
        raise refused(answer, "")
    return answer.get("Response") == "Success"


def accepted(answer: Message, where: str) -> Message:
    """The answer, when it is a success. Raises CallwardenError ami.refused."""
    if answer.get("Response") != "Success":
        raise refused(answer, where)
    return answer


def refused(answer: Message, where: str) -> CallwardenError:
    """Asterisk said no."""
    return CallwardenError("ami.refused", f"Asterisk refused: {answer.get('Message')}", where=where)
