"""AMI's words to ours: events move the picture and become calls of the sink."""

from __future__ import annotations

from typing import Protocol

from edge.ami.protocol import Message
from edge.ami.reconcile import Picture
from edge.ports import ChannelSink

#: All that is read of the stream. UserEvent is not among them: any dialplan line can write one.
WANTED = frozenset(
    {
        "Newchannel",
        "Rename",
        "Hangup",
        "BridgeEnter",
        "BridgeLeave",
        "BridgeMerge",
        "BridgeDestroy",
        "LocalOptimizationEnd",
        "Hold",
        "Unhold",
        "MusicOnHoldStart",
        "MusicOnHoldStop",
        "MixMonitorStart",
        "MixMonitorStop",
    }
)


class Doubtful(Protocol):
    """Who asks Asterisk before an announcement is believed."""

    def hung_up(self, uid: str) -> None: ...
    def moved(self, bridge: str) -> None: ...
    def renamed(self, uid: str, name: str) -> None: ...


def apply(message: Message, picture: Picture, sink: ChannelSink | None, doubts: Doubtful) -> None:
    """Move the picture by one event and tell the sink (None while a snapshot is being taken: the picture tells it then).

    A caller can write line feeds into the number he shows, Asterisk 22.10.1 passes them on, and so forge an event about
    somebody else's channel. So a hang-up, another name of a channel (it is whom orders are about), and who is in a bridge
    are asked about. Who is said to have come is believed
    until the answer is there, which at worst pauses a recording; who is said to have left is there until Asterisk says so.
    """
    uid, bridge = message.get("Uniqueid"), message.get("BridgeUniqueid")
    match message.event:
        case "Newchannel" | "Rename" if uid:
            name = message.get("Channel" if message.event == "Newchannel" else "Newname")
            if sink is not None and picture.channels.get(uid, name) != name:
                doubts.renamed(uid, name)
            else:
                picture.appeared(uid, name)
        case "Hangup" if uid:
            doubts.hung_up(uid)
        case "BridgeEnter" if uid and bridge:
            picture.entered(bridge, uid, message.get("BridgeTechnology"))
            if sink is not None:
                sink.channel_bridged(uid)
                sink.company_changed(frozenset(picture.connected(uid)))
            doubts.moved(bridge)
        case "BridgeLeave" if uid and bridge and sink is None:
            picture.left(bridge, uid)
        case "BridgeLeave" | "BridgeDestroy" if bridge:
            doubts.moved(bridge)
        case "BridgeMerge":
            for name in ("ToBridgeUniqueid", "FromBridgeUniqueid"):
                if merged := message.get(name):
                    doubts.moved(merged)
        case "LocalOptimizationEnd":
            for name in ("LocalOneUniqueid", "LocalTwoUniqueid"):
                for crossed in picture.bridges_of(message.get(name)):
                    doubts.moved(crossed)
        case "Hold" | "MusicOnHoldStart" if uid and sink is not None:
            sink.channel_held(uid, True)
        case "Unhold" | "MusicOnHoldStop" if uid and sink is not None:
            sink.channel_held(uid, False)
        case "MixMonitorStart" | "MixMonitorStop" if uid and sink is not None:
            sink.monitor_seen(uid, message.event == "MixMonitorStart")
        case _:
            pass


def introduce(picture: Picture, sink: ChannelSink) -> None:
    """After a snapshot: who is alive, then who is in a bridge, then that everybody's company is to be judged."""
    sink.link_up(dict(picture.channels))
    bridged = picture.bridged()
    for uid in sorted(bridged):
        sink.channel_bridged(uid)
    if bridged:
        sink.company_changed(frozenset(bridged))
