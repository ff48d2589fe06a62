"""How many refused attempts an address had lately: so many are logged and answered as such, the rest is told to wait.

A right token always passes, whatever came from its address: many people share the address of a proxy. Tokens are 256 random
bits, so waiting protects nobody's token; it keeps whoever tries from filling central's log, whose entries stay for good.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

#: Refused attempts of one address that are answered and logged one by one, in each window.
LOGGED: Final = 10
WINDOW_S: Final = 60.0
#: Entries of all addresses together in a window: whoever has many addresses fills the log no faster.
LOGGED_ALL: Final = 100
#: Addresses remembered; the one that was quiet longest is forgotten first.
ADDRESSES: Final = 4096


@dataclass(slots=True)
class _Window:
    began: float
    count: int = 0


@dataclass(slots=True)
class Guesses:
    """Counts per address and together. Times are monotonic seconds."""

    _seen: OrderedDict[str, _Window] = field(default_factory=OrderedDict)
    _all: _Window = field(default_factory=lambda: _Window(0.0))
    #: Attempts since the last entry that got none of their own.
    unlogged: int = 0

    def refused(self, peer: str | None, now: float) -> tuple[bool, int]:
        """Count one. Whether it gets an entry of its own, and for how many whole seconds the address should wait (0: it need not)."""
        window = self._window(network(peer), now)
        window.count += 1
        if now - self._all.began >= WINDOW_S:
            self._all = _Window(now)
        wait = 0 if window.count <= LOGGED else max(1, round(window.began + WINDOW_S - now))
        if wait or self._all.count >= LOGGED_ALL:
            self.unlogged += 1
            return False, wait
        self._all.count += 1
        return True, 0

    def take_unlogged(self) -> int:
        """How many had no entry; they are counted from 0 again."""
        count, self.unlogged = self.unlogged, 0
        return count

    def forget(self) -> None:
        """Begin anew, for every address."""
        self._seen.clear()
        self._all = _Window(0.0)

    def _window(self, name: str, now: float) -> _Window:
        window = self._seen.pop(name, None)
        if window is None or now - window.began >= WINDOW_S:
            window = _Window(now)
        self._seen[name] = window
        if len(self._seen) > ADDRESSES:
            self._seen.popitem(last=False)
        return window


def network(peer: str | None) -> str:
    """The address; of IPv6 the /64, which one host has whole."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
