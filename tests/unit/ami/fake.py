"""A stand-in for Asterisk's manager on a real socket, that can refuse, stay silent, cut the line, or say odd things."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

Fields = dict[str, str]


class FakeManager:
    """channels: uniqueid to name; bridges: id to uniqueids. `silent`: actions never answered. `cut_after`: bytes sent on one
    connection before it is dropped (then it is reset to None, so the next connection lives)."""

    def __init__(self) -> None:
        self.channels: dict[str, str] = {}
        self.bridges: dict[str, list[str]] = {}
        self.technologies: dict[str, str] = {}
        self.version = "22.10.1~dfsg"
        self.globals: dict[str, str] = {}
        self.variables: dict[tuple[str, str], str] = {}
        self.monitors: set[tuple[str, str]] = set()
        self.actions: list[Fields] = []
        self.silent: set[str] = set()
        self.refused: dict[str, str] = {}
        self.gone_since: set[str] = set()  # listed, but not there any more when asked about
        self.during: dict[str, bytes] = {}  # sent in the middle of an action's list
        self.started = "10:00:00"
        self.secret = "s3cret"
        self.cut_after: int | None = None
        self.logins = 0
        self.sent = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()

    def drop(self) -> None:
        """Cut every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def say(self, event: str, **fields: str) -> None:
        """An event to every connection, and the truth behind it."""
        if event == "Hangup":
            self.channels.pop(fields["Uniqueid"], None)
        elif event == "Newchannel":
            self.channels[fields["Uniqueid"]] = fields["Channel"]
        elif event == "BridgeEnter":
            self.bridges.setdefault(fields["BridgeUniqueid"], []).append(fields["Uniqueid"])
        elif event == "BridgeLeave":
            self.bridges[fields["BridgeUniqueid"]].remove(fields["Uniqueid"])
        elif event == "BridgeDestroy":
            self.bridges.pop(fields["BridgeUniqueid"])
        self.forge(event, **fields)

    def forge(self, event: str, **fields: str) -> None:
        """An event to every connection, and no truth behind it."""
        for writer in self._writers:
            self._send(writer, block({"Event": event, "Privilege": "call,all", **fields}))

    def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.cut_after is not None:
            data = data[: self.cut_after - self.sent]
        writer.write(data)
        self.sent += len(data)
        if self.cut_after is not None and self.sent >= self.cut_after:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.sent = 0
        self._send(writer, b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                raw = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in raw.strip().split("\r\n"))
                self.actions.append(fields)
                if fields["Action"] not in self.silent and not writer.is_closing():
                    self._answer(writer, fields)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self._writers.discard(writer)
        self.cut_after = None
        writer.close()

    def _answer(self, writer: asyncio.StreamWriter, fields: Fields) -> None:
        name, action_id = fields["Action"], {"ActionID": fields["ActionID"]}
        good: Fields = {"Response": "Success", **action_id}
        if name in self.refused:
            self._send(writer, block({"Response": "Error", **action_id, "Message": self.refused[name]}))
        elif name == "Login":
            self.logins += 1
            right = fields["Secret"] == self.secret
            message = "Authentication accepted" if right else "Authentication failed"
            self._send(writer, block({"Response": "Success" if right else "Error", **action_id, "Message": message}))
        elif name == "CoreStatus":
            self._send(writer, block({**good, "CoreStartupDate": "2026-11-22", "CoreStartupTime": self.started}))
        elif name == "CoreSettings":
            self._send(writer, block({**good, "AsteriskVersion": self.version}))
        elif name in ("PlayDTMF", "Hangup"):
            self._send(writer, block(good))
        elif name == "Setvar":
            place = fields.get("Channel")
            if place is None:
                self.globals[fields["Variable"]] = fields["Value"]
            else:
                self.variables[place, fields["Variable"]] = fields["Value"]
            self._send(writer, block(good))
        elif name == "Getvar":
            if fields["Variable"] == "UNIQUEID":
                there = fields["Channel"] in self.channels.keys() - self.gone_since
                error = {"Response": "Error", **action_id, "Message": "No such channel"}
                self._send(writer, block({**good, "Value": fields["Channel"]} if there else error))
                return
            if fields["Variable"] == "CHANNEL":
                self._send(writer, block({**good, "Value": self.channels.get(fields["Channel"], "")}))
                return
            value = self.variables.get((fields.get("Channel", ""), fields["Variable"]), "")
            value = value or (self.globals.get(fields["Variable"], "") if "Channel" not in fields else "")
            self._send(writer, block({**good, "Variable": fields["Variable"], "Value": value}))
        elif name in ("StopMixMonitor", "MixMonitorMute"):
            key = (fields["Channel"], fields["MixMonitorID"])
            found = key in self.monitors
            if name == "StopMixMonitor":
                self.monitors.discard(key)
            self._send(
                writer, block(good if found else {"Response": "Error", **action_id, "Message": "Could not stop"})
            )
        else:
            self._listing(writer, name, fields, action_id)

    def _listing(self, writer: asyncio.StreamWriter, name: str, fields: Fields, action_id: Fields) -> None:
        items: list[Fields] = []
        if name == "CoreShowChannels":
            items = [
                {"Event": "CoreShowChannel", **action_id, "Channel": channel, "Uniqueid": uid}
                for uid, channel in self.channels.items()
            ]
        elif name == "BridgeList":
            items = [
                {
                    "Event": "BridgeListItem",
                    **action_id,
                    "BridgeUniqueid": bridge,
                    "BridgeTechnology": self.technologies.get(bridge, "simple_bridge"),
                }
                for bridge in self.bridges
            ]
        elif name == "BridgeInfo":
            members = self.bridges.get(fields["BridgeUniqueid"], [])
            items = [{"Event": "BridgeInfoChannel", **action_id, "Uniqueid": uid} for uid in members]
        start: Fields = {"Response": "Success", **action_id}
        if name == "Ping":
            self._send(writer, block({**start, "Ping": "Pong"}) + b"\r\n")
            return
        self._send(writer, block({**start, "EventList": "start"}))
        for item in items[:1]:
            self._send(writer, block(item))
        self._send(writer, self.during.get(name, b""))
        for item in items[1:]:
            self._send(writer, block(item))
        self._send(writer, block({"Event": f"{name}Complete", **action_id, "EventList": "Complete"}))


def block(fields: Mapping[str, str]) -> bytes:
    """One message."""
    return "".join(f"{key}: {value}\r\n" for key, value in fields.items()).encode() + b"\r\n"


class Heard:
    """A ChannelSink that writes down what it hears."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.company: list[frozenset[str]] = []

    def channel_gone(self, channel_uid: str) -> None:
        self.calls.append(("gone", channel_uid))

    def channel_bridged(self, channel_uid: str) -> None:
        self.calls.append(("bridged", channel_uid))

    def channel_unbridged(self, channel_uid: str) -> None:
        self.calls.append(("unbridged", channel_uid))

    def company_changed(self, channel_uids: frozenset[str]) -> None:
        self.company.append(channel_uids)

    def channel_held(self, channel_uid: str, on: bool) -> None:
        self.calls.append(("held" if on else "taken back", channel_uid))

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        self.calls.append(("monitor on" if on else "monitor off", channel_uid))

    def link_up(self, alive: Mapping[str, str]) -> None:
        self.calls.append(("up", dict(alive)))

    def link_down(self) -> None:
        self.calls.append(("down", None))
