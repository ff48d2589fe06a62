"""The picture of what exists in Asterisk: channels and bridges, from a snapshot and the events around it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from edge.ami.protocol import Message

#: A bridge of this technology keeps channels apart from each other: a parking lot, a waiting room.
HOLDING: Final = "holding_bridge"
_HALVES: Final = {";1": ";2", ";2": ";1"}


@dataclass(slots=True)
class Picture:
    """channels: uniqueid to name of all that exist; bridges: bridge id to the uniqueids in it; apart: bridges whose
    members do not hear each other.

    A snapshot is a list that takes a while, and events arrive in the middle of it. Between `begin` and `finish` the
    events are believed over the list: what appeared since is added, what went since stays gone.
    """

    channels: dict[str, str] = field(default_factory=dict)
    bridges: dict[str, set[str]] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    _came: dict[str, str] = field(default_factory=dict)
    _went: set[str] = field(default_factory=set)
    _left: set[tuple[str, str]] = field(default_factory=set)
    _open: bool = False

    def begin(self) -> None:
        """Nothing known before counts: after a reconnect nothing was replayed."""
        self.channels, self.bridges, self.apart = {}, {}, set()
        self._came, self._went, self._left = {}, set(), set()
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
        for bridge in self.bridges_of(uid):
            self._leave(bridge, uid)
        if self._open:
            self._went.add(uid)
            return True
        return self.channels.pop(uid, None) is not None

    def stale(self, listed: Mapping[str, str], before: Collection[str]) -> list[str]:
        """Channels of ours that a list does not name although they were there `before` it was asked for."""
        return [uid for uid in self.channels if uid in before and uid not in listed]

    def entered(self, bridge: str, uid: str, technology: str = "") -> None:
        """A channel is in this bridge now."""
        self._left.discard((bridge, uid))
        self.bridges.setdefault(bridge, set()).add(uid)
        self.keeps(bridge, technology)

    def keeps(self, bridge: str, technology: str) -> None:
        """What sort of bridge this is."""
        if technology == HOLDING:
            self.apart.add(bridge)

    def left(self, bridge: str, uid: str) -> None:
        """A channel left this bridge; an empty bridge is forgotten."""
        if self._open:
            self._left.add((bridge, uid))
        self._leave(bridge, uid)

    def _leave(self, bridge: str, uid: str) -> None:
        members = self.bridges.get(bridge, set())
        members.discard(uid)
        if not members:
            self.forget(bridge)

    def forget(self, bridge: str) -> None:
        """There is no such bridge."""
        self.bridges.pop(bridge, None)
        self.apart.discard(bridge)

    def bridged(self) -> set[str]:
        """Every channel that is in some bridge."""
        return set().union(*self.bridges.values())

    def bridges_of(self, uid: str) -> list[str]:
        """The bridges that name this channel: one, or two for the moment of a move."""
        return [bridge for bridge, members in self.bridges.items() if uid in members]

    # ------------------------------------------------------------ who hears whom

    def company(self, uid: str) -> dict[str, str]:
        """uniqueid to name of everybody else who is in the bridge this channel is in, Local pairs followed through.

        A half of a Local pair stands for itself only while nobody is to be found behind it. In a bridge that keeps its
        members apart nobody is with anybody.
        """
        found = {}
        for other in self.connected(uid) - {uid}:
            name = self.channels.get(other, "")
            if self._other_half(name) is None or not self._behind(other):
                found[other] = name
        return found

    def connected(self, uid: str) -> set[str]:
        """This channel and all that it hears, both halves of Local pairs among them."""
        seen, waiting = {uid}, self.bridges_of(uid)
        done: set[str] = set()
        while waiting:
            bridge = waiting.pop()
            if bridge in done or bridge in self.apart:
                continue
            done.add(bridge)
            for member in self.bridges[bridge]:
                seen.add(member)
                half = self._other_half(self.channels.get(member, ""))
                if half is not None:
                    seen.add(half)
                    waiting += self.bridges_of(half)
        return seen

    def _behind(self, uid: str) -> bool:
        """Whether the other half of this Local channel is in a bridge, or is itself the half behind which somebody is."""
        half = self._other_half(self.channels.get(uid, ""))
        return half is None or any(b not in self.apart for b in self.bridges_of(half)) or not self.bridges_of(uid)

    def _other_half(self, name: str) -> str | None:
        """The uniqueid of the other channel of a Local pair."""
        if not name.startswith("Local/") or name[-2:] not in _HALVES:
            return None
        wanted = name[:-2] + _HALVES[name[-2:]]
        return next((uid for uid, other in self.channels.items() if other == wanted), None)


def channels_listed(messages: Iterable[Message]) -> dict[str, str]:
    """Uniqueid to name from the events of CoreShowChannels."""
    found = {m.get("Uniqueid"): m.get("Channel") for m in messages if m.event == "CoreShowChannel"}
    found.pop("", None)
    return found


def bridges_listed(messages: Iterable[Message]) -> dict[str, str]:
    """Bridge ids to technologies from the events of BridgeList."""
    found = {m.get("BridgeUniqueid"): m.get("BridgeTechnology") for m in messages if m.event == "BridgeListItem"}
    found.pop("", None)
    return found


def members_listed(messages: Iterable[Message]) -> list[str]:
    """Uniqueids from the events of BridgeInfo."""
    return [m.get("Uniqueid") for m in messages if m.event == "BridgeInfoChannel" and m.get("Uniqueid")]
