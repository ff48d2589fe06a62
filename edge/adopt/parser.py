"""The caged child from outside (`edge.adopt.reader`): descriptors in, checked answers out.

What the child says is not believed either: it has read what somebody brought. Everything blocks.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import msgspec

from edge.errors import CallwardenError
from formats.wavscan import Sound

#: How long an answer may take, seconds: a few reads of a file's beginning, or a batch of call records.
ANSWER_S: Final = 60.0
_MOST: Final = 256 * 1024


class _Answer(msgspec.Struct):
    cage: str = ""
    sound: Sound | None = None
    error: tuple[str, str] | None = None
    end: bool = False


_decode_answer = msgspec.json.Decoder(_Answer)
_decode_rows = msgspec.json.Decoder(list[tuple[str, str, str, str, str, str, str, str, str]])


class Parser:
    """One child for many files; a new one when it died over a file. `cage`: `seccomp` or `limits`."""

    def __init__(self) -> None:
        self.cage = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def __enter__(self) -> Parser:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child. Repeats do nothing."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def sound(self, fd: int, size: int) -> Sound:
        """What sound the file holds. Raises CallwardenError adopt.* for one that is not taken."""
        self._ask(b"w", fd)
        answer = self._hear(_decode_answer)
        if answer.error is not None:
            raise CallwardenError(*_bounded(answer.error))
        found = answer.sound
        if found is None or found.data_at < 0 or found.data_bytes < 1 or found.data_at + found.data_bytes > size:
            raise self._broken("its answer contradicts the file")
        return found

    def records(self, fd: int) -> Iterator[tuple[str, ...]]:
        """Rows of call records, as `edge.adopt.cdr.rows`. Raises CallwardenError adopt.cdr."""
        self._ask(b"c", fd)
        while True:
            packet = self._packet()
            if packet[:1] == b"[":
                try:
                    yield from _decode_rows.decode(packet)
                except msgspec.MsgspecError as error:
                    raise self._broken("its rows are none") from error
                continue
            answer = self._decoded(_decode_answer, packet)
            if answer.error is not None:
                raise CallwardenError(*_bounded(answer.error))
            if answer.end:
                return
            raise self._broken("it answers something else")

    # ------------------------------------------------------------ the line

    def _begin(self) -> None:
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(ANSWER_S)
        with theirs:
            number = theirs.fileno()
            environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "edge.adopt.reader", str(number)], pass_fds=(number,), env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        self._line = ours
        self.cage = self._hear(_decode_answer).cage
        if self.cage not in ("seccomp", "limits"):
            raise self._broken("it did not say that it is caged")

    def _ask(self, what: bytes, fd: int) -> None:
        if self._line is None:
            self._begin()
        assert self._line is not None
        try:
            socket.send_fds(self._line, [what], [fd])
        except OSError as error:
            raise self._broken("it is gone") from error

    def _hear(self, decoder: msgspec.json.Decoder[_Answer]) -> _Answer:
        return self._decoded(decoder, self._packet())

    def _decoded(self, decoder: msgspec.json.Decoder[_Answer], packet: bytes) -> _Answer:
        try:
            return decoder.decode(packet)
        except msgspec.MsgspecError as error:
            raise self._broken("its answer is none") from error

    def _packet(self) -> bytes:
        assert self._line is not None
        try:
            packet = self._line.recv(_MOST)
        except OSError as error:
            raise self._broken("it did not answer in time") from error
        if not packet:
            raise self._broken("it died")
        return packet

    def _broken(self, why: str) -> CallwardenError:
        """The child is ended; the next question makes a new one."""
        self.close()
        return CallwardenError(
            "adopt.reader", f"the process that looks into files broke over this one: {why}",
            hint="the file was not touched; look at it with care",
        )  # fmt: skip


def _bounded(error: tuple[str, str]) -> tuple[str, str]:
    code, message = error
    known = code.startswith("adopt.") and code.isascii() and len(code) < 40
    return (code if known else "adopt.reader"), "".join(c for c in message[:300] if c.isprintable())
