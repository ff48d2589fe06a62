"""FastAGI without sockets: bytes in, events out, and the one encoder of commands.

What Asterisk sends is partly chosen by callers (name, number, extension), so everything is limited, and whatever does
not parse ends the session: a peer out of step would make every later answer belong to the wrong question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import CallwardenError

MAX_ENV_LINES = 128
MAX_LINE = 8 * 1024  # bytes, without the line feed
MAX_BLOCK = 64 * 1024  # bytes of a whole environment or of one reply
MAX_COMMAND = 2000  # bytes; Asterisk reads a command into a buffer of 2048 (AGI_BUF_LEN in res_agi.c)

_ENV_KEY = re.compile(r"agi_[a-z0-9_]{1,60}")
_OK = re.compile(r"200 result=(-?\d{1,9})(?: \((.*)\))?(?: endpos=(\d{1,18}))?", re.DOTALL)
_OPEN_VALUE = re.compile(r"200 result=-?\d{1,9} \(")
_REFUSED = re.compile(r"(510|511|520) ?(.*)")
#: No character that ends a line, ends a quoted argument or escapes one; no other control character either.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"\\\u0085\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EnvReceived:
    """The environment block, complete."""

    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `code` 200, 510 (unknown), 511 (dead channel) or 520 (usage); `result` is 0 unless code is 200;
    `data` is what stood in parentheses, or the text of a refusal; `endpos` in samples of the file's own rate."""

    code: int
    result: int = 0
    data: str | None = None
    endpos: int | None = None


@dataclass(frozen=True, slots=True)
class Hangup:
    """Asterisk said HANGUP without being asked."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The peer does not speak AGI, or is out of step. Always the last event; later bytes are ignored."""

    reason: str


Event = EnvReceived | Reply | Hangup | Broken


class AgiParser:
    """Sans-I/O parser of Asterisk's side of one session. Holds at most `MAX_BLOCK` bytes and one line."""

    def __init__(self) -> None:
        self._tail = b""
        self._env: dict[str, str] | None = {}
        self._lines: list[str] = []  # of an unfinished reply
        self._size = 0  # bytes of the present block
        self._broken = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, in order. How the bytes were cut does not matter."""
        events: list[Event] = []
        if self._broken:
            return events
        *lines, tail = (self._tail + data).split(b"\n")
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
            if isinstance(event, Broken):
                self._tail = b""
                return events
        if len(tail) > MAX_LINE:
            events.append(self._break("line too long"))
            tail = b""
        self._tail = tail
        return events

    def _break(self, reason: str) -> Broken:
        self._broken = True
        self._lines.clear()
        return Broken(reason)

    def _line(self, raw: bytes) -> Event | None:
        self._size += len(raw) + 1
        if len(raw) > MAX_LINE:
            return self._break("line too long")
        if self._size > MAX_BLOCK:
            return self._break("block too long")
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            return self._break("not UTF-8")
        if "\x00" in line:
            return self._break("NUL in a line")
        if self._env is not None:
            return self._env_line(line, self._env)
        return self._reply_line(line)

    def _env_line(self, line: str, env: dict[str, str]) -> Event | None:
        if line == "":
            self._env = None
            self._size = 0
            return EnvReceived(env)
        key, colon, value = line.partition(":")
        if not colon or not _ENV_KEY.fullmatch(key):
            return self._break("not a line of an environment")
        if key in env:  # a line feed in a caller's name or number can forge a line, but never the only one
            return self._break("a key came twice")
        if len(env) >= MAX_ENV_LINES:
            return self._break("too many lines")
        if any(character < " " or character == "\x7f" for character in value):
            return self._break("control character in a value")
        env[key] = value.removeprefix(" ")
        return None

    def _reply_line(self, line: str) -> Event | None:
        if self._lines:
            self._lines.append(line)
            if self._lines[0].startswith("520-"):
                return self._done(Reply(520, data="\n".join(self._lines))) if line.startswith("520 ") else None
            return self._value() if line.endswith(")") else None
        if line == "HANGUP":
            self._size = 0
            return Hangup()
        if line.startswith("520-"):
            self._lines = [line]
            return None
        refused = _REFUSED.fullmatch(line)
        if refused:
            return self._done(Reply(int(refused[1]), data=refused[2]))
        if line.startswith("100 "):  # "Trying", never the answer
            self._size = 0
            return None
        self._lines = [line]
        if _OPEN_VALUE.match(line) and not re.search(r"\)(?: endpos=\d+)?$", line):
            return None  # the value holds a line feed: read on
        return self._value()

    def _value(self) -> Event:
        found = _OK.fullmatch("\n".join(self._lines))
        if not found:
            return self._break("not an answer")
        endpos = None if found[3] is None else int(found[3])
        return self._done(Reply(200, int(found[1]), found[2], endpos))

    def _done(self, reply: Reply) -> Reply:
        self._lines = []
        self._size = 0
        return reply


def encode(*words: str) -> bytes:
    """One command line from its words, the first bare, the others quoted: `encode("SET VARIABLE", "NAME", "value")`.

    Raises CallwardenError agi.unsafe_value for a word that could end the argument or the line, or for a line that
    Asterisk would cut: nothing is escaped, because nothing that needs escaping has a reason to be sent.
    """
    for word in words:
        if _UNSAFE.search(word):
            message = f"a value for AGI holds a forbidden character: {word!r}"
            raise CallwardenError("agi.unsafe_value", message, where=words[0])
    line = " ".join([words[0], *(f'"{word}"' for word in words[1:])]).encode()
    if len(line) > MAX_COMMAND:
        raise CallwardenError("agi.unsafe_value", f"a command of {len(line)} bytes is too long for AGI", where=words[0])
    return line + b"\n"
