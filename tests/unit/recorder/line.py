"""MixMonitor as the recorder meets it: frames of 20 ms through a buffer of 32 KiB into the spool file, and its mute.

What it is held to was tried on Asterisk 16 and 22 (tests/asterisk/test_pause.py does it on a real one).
"""

from __future__ import annotations

import asyncio
import os
import random

from edge.errors import CallwardenError
from formats.pcm import SILENCE, STORED
from tests.crash import capture_child as child

BUFFER = 32768
FRAME = 640


def _side(data: bytes, number: int, width: int) -> bytes:
    """One channel of interleaved samples."""
    out = bytearray(len(data) // 2)
    for byte in range(width):
        out[byte::width] = data[number * width + byte :: 2 * width]
    return bytes(out)


class Line(child.NoAsterisk):
    """One channel with one monitor. `said` is what an unpaused recording must hold, `secret` what was said muted."""

    up = True

    def __init__(self, monitor: str = "0x7f", seed: int = 1, codec: str = "sln") -> None:
        self.monitor = monitor
        self.width, self.silence = STORED[codec], SILENCE[codec]
        self.said = self.secret = b""
        self.muted = False
        self.deaf = False  # a mute that is acknowledged and has no effect
        self.refuses = False
        self.lost = False
        self.gone = False  # there is no such channel
        self.stopped: list[str] = []
        self.orders: list[bool] = []
        self._random = random.Random(seed)
        self._fds: list[int] = []
        self._buffers: list[bytes] = []

    def open(self, *paths: str) -> None:
        """The first bridge: one file for both sides, or one for each."""
        self._fds = [os.open(path, os.O_WRONLY | os.O_TRUNC) for path in paths]
        self._buffers = [b""] * len(paths)

    def put(self, data: bytes) -> None:
        """These very bytes into the first file, past the buffer."""
        os.write(self._fds[0], data)

    def frame(self) -> bytes:
        """One frame of speech: no byte of it is digital silence."""
        return bytes((self.silence + self._random.randrange(1, 256)) % 256 for _ in range(FRAME))

    def talk(self, frames: int, *, quiet: bool = False) -> None:
        """So many frames are spoken; `quiet`: both sides send digital silence."""
        for _ in range(frames):
            if not self._fds:
                return
            data = bytes([self.silence]) * FRAME if quiet else self.frame()
            if self.muted and not quiet:
                self.secret += data
            elif not self.muted:
                self.said += data
            self._write(bytes([self.silence]) * FRAME if self.muted and not self.deaf else data)

    def _write(self, data: bytes) -> None:
        sides = [data] if len(self._fds) == 1 else [_side(data, number, self.width) for number in (0, 1)]
        for n, side in enumerate(sides):
            self._buffers[n] += side
            if len(self._buffers[n]) >= BUFFER:
                os.write(self._fds[n], self._buffers[n][:BUFFER])
                self._buffers[n] = self._buffers[n][BUFFER:]

    def hang_up(self) -> None:
        """Flush and close."""
        for fd, buffer in zip(self._fds, self._buffers, strict=True):
            os.write(fd, buffer)
            os.close(fd)
        self._fds, self._buffers = [], []

    async def going_on(self, pause_s: float = 0.002) -> None:
        """Talk until cancelled, ten times as fast as people do."""
        while True:
            self.talk(1)
            await asyncio.sleep(pause_s)

    # ------------------------------------------------------------ edge.ports.Asterisk

    async def get_variable(self, channel_name: str, name: str) -> str:
        if self.gone:
            raise CallwardenError("ami.refused", "no such channel")
        return self.monitor

    async def mute_monitor(self, channel_name: str, monitor_id: str, on: bool) -> bool:
        self.orders.append(on)
        if self.lost:
            raise CallwardenError("ami.unknown", "no answer", retryable=True)
        if self.refuses or monitor_id != self.monitor:
            return False
        self.muted = on
        return True

    async def stop_monitor(self, channel_name: str, monitor_id: str) -> bool:
        if self.lost:
            raise CallwardenError("ami.down", "no link", retryable=True)
        self.stopped.append(monitor_id)
        self.hang_up()
        return True
