"""Free loopback ports, chosen at start."""

from __future__ import annotations

import random
import socket

# Below Linux's ephemeral range (32768 and up), so no outgoing connection of anybody's takes one meanwhile.
_FIRST, _LAST = 10_000, 32_700
_chance = random.SystemRandom()


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A loopback port nobody listens on; kind SOCK_DGRAM or SOCK_STREAM."""
    for _ in range(200):
        port = _chance.randrange(_FIRST, _LAST)
        if _free(port, kind):
            return port
    raise OSError("no free loopback port found in 200 tries")


def free_tcp_port() -> int:
    """A loopback TCP port nobody listens on."""
    return free_port(socket.SOCK_STREAM)


def free_range(size: int) -> tuple[int, int]:
    """First and last of `size` UDP ports in a row whose samples are free, starting on an even one (RTP's rule)."""
    for _ in range(200):
        first = _chance.randrange(_FIRST, _LAST - size, 2)
        if all(_free(port, socket.SOCK_DGRAM) for port in range(first, first + size, max(1, size // 50))):
            return first, first + size - 1
    raise OSError(f"no {size} free UDP ports in a row found in 200 tries")


def _free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
