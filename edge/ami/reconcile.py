"""The picture of what exists in Asterisk: channels and bridges, from a snapshot and the events around it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from edge.ami.protocol import Message


@dataclass(slots=True)
class Picture:
    """channels: uniqueid to name of all that exist; bridges: bridge id to the uniqueids in it.

    A snapshot is a list that takes a while, and events arrive in the middle of it. Between `begin` and `finish` the
    events are believed over the list: what appeared since is added, what went since stays gone.
    """

    channels: dict[str, str] = field(default_factory=dict)
    bridges: dict[str, set[str]] = field(default_factory=dict)
    _came: dict[str, str] = field(default_factory=dict)
    _went: set[str] = field(default_factory=set)
    _left: set[tuple[str, str]] = field(default_factory=set)
    _open: bool = False

    def begin(self) -> None:
        """Nothing known before counts: after a reconnect nothing was replayed."""
        self.channels, self.bridges, self._came, self._went, self._left = {}, {}, {}, set(), set()
        self._open = True

    def finish(self, listed: Mapping[str, str], bridged: Mapping[str, Iterable[str]]) -> None:
        """Take the lists of CoreShowChannels and BridgeInfo."""
        self.channels = {uid: name for uid, name in {**listed, **self._came}.items() if uid not in self._went}
        for bridge, members in bridged.items():
            for uid in members:
                if uid in self.channels and (bridge, uid) not in self._left:
                    self.bridges.setdefault(bridge, set()).add(uid)
        self._came, self._went, self._left, self._open = {}, set(), set(), False

    def appeared(self, uid: str, name: str) -> None:
        """A channel exists, under this name (also after a rename)."""
        if self._open:
            self._came[uid] = name
        else:
            self.channels[uid] = name

    def gone(self, uid: str) -> bool:
        """A channel no longer exists; False when it was not known. For what Asterisk confirmed, not for a mere event."""
        for members in self.bridges.values():
            members.discard(uid)
        if self._open:
            self._went.add(uid)
            return True
        return self.channels.pop(uid, None) is not None

    def stale(self, listed: Mapping[str, str], before: Collection[str]) -> list[str]:
        """Channels of ours that a list does not name although they were there `before` it was asked for."""
        return [uid for uid in self.channels if uid in before and uid not in listed]

    def entered(self, bridge: str, uid: str) -> None:
        """A channel is in this bridge now."""
        self._left.discard((bridge, uid))
        self.bridges.setdefault(bridge, set()).add(uid)

    def left(self, bridge: str, uid: str) -> None:
        """A channel left this bridge; an empty bridge is forgotten."""
        if self._open:
            self._left.add((bridge, uid))
        members = self.bridges.get(bridge, set())
        members.discard(uid)
        if not members:
            self.bridges.pop(bridge, None)

    def bridged(self) -> set[str]:
        """Every channel that is in some bridge."""
        return set().union(*self.bridges.values())


def channels_listed(messages: Iterable[Message]) -> dict[str, str]:
    """Uniqueid to name from the events of CoreShowChannels."""
    found = {m.get("Uniqueid"): m.get("Channel") for m in messages if m.event == "CoreShowChannel"}
    found.pop("", None)
    return found


def bridges_listed(messages: Iterable[Message]) -> list[str]:
    """Bridge ids from the events of BridgeList."""
    return [m.get("BridgeUniqueid") for m in messages if m.event == "BridgeListItem" and m.get("BridgeUniqueid")]


def members_listed(messages: Iterable[Message]) -> list[str]:
    """Uniqueids from the events of BridgeInfo."""
    return [m.get("Uniqueid") for m in messages if m.event == "BridgeInfoChannel" and m.get("Uniqueid")]
