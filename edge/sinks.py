"""Hands what happens to channels to everybody who wants to hear it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from edge.ports import ChannelSink

log = structlog.get_logger("edge")


class Sinks:
    """Hands what happens to channels to everybody who listens, in order: what one files, the next may find."""

    def __init__(self) -> None:
        self._sinks: tuple[ChannelSink, ...] = ()
        self.was_up = False
        #: Called at every link-up, before anybody else: the server's abilities are known now.
        self.met: Callable[[], None] = lambda: None

    def heard_by(self, *sinks: ChannelSink) -> None:
        """Who listens."""
        self._sinks = sinks

    def channel_gone(self, channel_uid: str) -> None:
        for sink in self._sinks:
            sink.channel_gone(channel_uid)

    def channel_bridged(self, channel_uid: str) -> None:
        for sink in self._sinks:
            sink.channel_bridged(channel_uid)

    def channel_unbridged(self, channel_uid: str) -> None:
        for sink in self._sinks:
            sink.channel_unbridged(channel_uid)

    def company_changed(self, channel_uids: frozenset[str]) -> None:
        for sink in self._sinks:
            sink.company_changed(channel_uids)

    def channel_held(self, channel_uid: str, on: bool) -> None:
        for sink in self._sinks:
            sink.channel_held(channel_uid, on)

    def monitor_seen(self, channel_uid: str, on: bool) -> None:
        for sink in self._sinks:
            sink.monitor_seen(channel_uid, on)

    def link_up(self, alive: Mapping[str, str]) -> None:
        self.was_up = True
        log.info("AMI link is up", channels=len(alive))
        self.met()
        for sink in self._sinks:
            sink.link_up(alive)

    def link_down(self) -> None:
        for sink in self._sinks:
            sink.link_down()
