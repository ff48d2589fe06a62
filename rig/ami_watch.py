"""Watches a running Asterisk by its manager interface, under the rig's own account: what events said, in order."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from rig.asterisk import Asterisk


class AmiWatch:
    """A context: while it is open every event is kept. Values are as Asterisk sent them."""

    def __init__(self, pbx: Asterisk) -> None:
        self._pbx = pbx
        self.events: list[dict[str, str]] = []

    @property
    def user_events(self) -> list[dict[str, str]]:
        """Events that a dialplan or AGI raised with UserEvent()."""
        return [event for event in self.events if event.get("Event") == "UserEvent"]

    def action(self, name: str, **fields: str) -> None:
        """Send an action; its answer comes among the events."""
        lines = [f"Action: {name}", *(f"{key}: {value}" for key, value in fields.items())]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def __enter__(self) -> AmiWatch:
        self._socket = socket.create_connection(("127.0.0.1", self._pbx.ami_port), timeout=10)
        self._socket.settimeout(None)
        self.action("Login", Username="rig", Secret=self._pbx.ami_secret)
        self._thread = threading.Thread(target=self._until_the_end, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # Asterisk may have gone before
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _until_the_end(self) -> None:
        """An Asterisk that stops resets the connection, which is an end like any other."""
        with contextlib.suppress(ConnectionError):
            self._read()

    def _read(self) -> None:
        with self._socket.makefile("r", encoding="utf-8", errors="replace", newline="\r\n") as lines:
            event: dict[str, str] = {}
            for line in lines:
                text = line.rstrip("\r\n")
                if text:
                    key, _, value = text.partition(": ")
                    event[key] = value
                elif event:
                    self.events.append(event)
                    event = {}
