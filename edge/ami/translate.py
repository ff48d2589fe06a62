"""AMI's words to ours: events move the picture and become calls of the sink."""

from __future__ import annotations

from collections.abc import Callable

from edge.ami.protocol import Message
from edge.ami.reconcile import Picture
from edge.ports import ChannelSink

#: All that is read of the stream. UserEvent is not among them: any dialplan line can write one.
WANTED = frozenset({"Newchannel", "Rename", "Hangup", "BridgeEnter", "BridgeLeave", "BridgeDestroy"})


def apply(message: Message, picture: Picture, sink: ChannelSink | None, ended: Callable[[str], None]) -> None:
    """Move the picture by one event and tell the sink (None while a snapshot is being taken: the picture tells it then).

    A hang-up only goes to `ended`, which asks Asterisk: a caller can write line feeds into the number he shows, Asterisk
    22.10.1 passes them on, and so forge an event about somebody else's channel.
    """
    uid = message.get("Uniqueid")
    match message.event:
        case "Newchannel" if uid:
            picture.appeared(uid, message.get("Channel"))
        case "Rename" if uid:
            picture.appeared(uid, message.get("Newname"))
        case "Hangup" if uid:
            ended(uid)
        case "BridgeEnter" if uid:
            picture.entered(message.get("BridgeUniqueid"), uid)
            if sink is not None:
                sink.channel_bridged(uid)
        case "BridgeLeave" if uid:
            picture.left(message.get("BridgeUniqueid"), uid)
            if sink is not None and uid not in picture.bridged():
                sink.channel_unbridged(uid)
        case "BridgeDestroy":
            picture.bridges.pop(message.get("BridgeUniqueid"), None)
        case _:
            pass


def introduce(picture: Picture, sink: ChannelSink) -> None:
    """After a snapshot: who is alive, then who is in a bridge."""
    sink.link_up(dict(picture.channels))
    for uid in sorted(picture.bridged()):
        sink.channel_bridged(uid)
