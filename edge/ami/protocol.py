"""AMI without sockets: bytes in, messages out, and the one encoder of actions.

A busy Asterisk writes about a hundred events per call and a few of them matter, so the first line, the event's name,
is read before anything else, and an unwanted event costs no more than finding its end.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edge.errors import CallwardenError

MAX_MESSAGE = 256 * 1024  # bytes without a blank line; no event of Asterisk comes near
MAX_ACTION_LINE = 1000  # bytes; Asterisk reads a line of an action into a buffer of 1025 (manager.c, inbuf)
MAX_ACTION_HEADERS = 120  # Asterisk takes 128 (AST_MAX_MANHEADERS)

_END = b"\r\n\r\n"
_EVENT = b"Event: "
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_ACTION_ID = b"\r\nActionID: "


@dataclass(frozen=True, slots=True)
class Message:
    """One response or event. `event` is empty for a response; OriginateResponse is an event that has a Response header."""

    event: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """A header's value; empty when it is missing, or when it came twice and differs (somebody wrote into a value)."""
        found = {value for key, value in self.headers if key == name}
        return found.pop() if len(found) == 1 else ""


class AmiStreamError(Exception):
    """What came is not AMI: the connection must be given up."""


class AmiParser:
    """Sans-I/O parser. Keeps events named in `wanted`, and every message that carries an ActionID."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = frozenset(name.encode() for name in wanted)
        self._buffer = bytearray()
        self._searched = 0
        self.banner = ""  #: the greeting line, once it came
        self.dropped = 0  #: unwanted events so far

    def feed(self, data: bytes) -> list[Message]:
        """The wanted messages that `data` completes, in order; how the bytes were cut does not matter. Raises AmiStreamError."""
        buffer = self._buffer
        buffer += data
        if not self.banner and not self._greeted():
            return []
        messages = []
        start = 0
        end = buffer.find(_END, max(self._searched - len(_END) + 1, 0))
        while end >= 0:
            message = self._message(bytes(buffer[start : end + 2]))
            if message is not None:
                messages.append(message)
            start = end + len(_END)
            end = buffer.find(_END, start)
        del buffer[:start]
        self._searched = len(buffer)
        if self._searched > MAX_MESSAGE:
            raise AmiStreamError("a message has no end")
        return messages

    def _greeted(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0 and len(self._buffer) <= 200:
            return False
        line = bytes(self._buffer[: max(end, 0)])
        if not line.startswith(b"Asterisk Call Manager/"):
            raise AmiStreamError("the peer is not Asterisk's manager")
        self.banner = line.decode("ascii", "replace")
        del self._buffer[: end + 2]
        return True

    def _message(self, raw: bytes) -> Message | None:
        raw = raw.lstrip(b"\r\n")  # TestEvent, for one, ends with two blank lines
        name = b""
        if raw.startswith(_EVENT):
            name = raw[len(_EVENT) : raw.index(b"\r\n")]
            if name not in self._wanted and _ACTION_ID not in raw:
                self.dropped += 1
                return None
        headers = []
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            key, colon, value = line.partition(":")
            if colon:
                headers.append((key, value.removeprefix(" ")))
        return Message(name.decode("ascii", "replace"), tuple(headers)) if headers else None


def encode(action: str, fields: Mapping[str, str], action_id: str) -> bytes:
    """One action. Raises CallwardenError ami.unsafe_value for a control character (a line feed is another header), for a
    comma outside a Secret (Asterisk splits some values at commas and runs what follows), and for what Asterisk would cut."""
    lines = []
    for key, value in (("Action", action), ("ActionID", action_id), *fields.items()):
        if _UNSAFE.search(value) or _UNSAFE.search(key) or ":" in key or ("," in value and key != "Secret"):
            raise CallwardenError(
                "ami.unsafe_value", "a value for AMI holds a forbidden character", where=f"{action}.{key}"
            )
        line = f"{key}: {value}\r\n".encode()
        if len(line) > MAX_ACTION_LINE:
            raise CallwardenError("ami.unsafe_value", "a value for AMI is too long", where=f"{action}.{key}")
        lines.append(line)
    if len(lines) > MAX_ACTION_HEADERS:
        raise CallwardenError("ami.unsafe_value", "an action for AMI has too many fields", where=action)
    return b"".join(lines) + b"\r\n"
