"""How long a capture should be, measured beside it: the time its caller was bridged, by the monotonic clock. Pure.

MixMonitor writes while the channel is bridged, also in a pause (digital silence), so the bytes of the spool file are
compared, not those that were kept. What cannot be known is not counted: behind a lost link or a restart the measuring
begins anew, with the bytes that are there then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: How far a recording may be off, of the bridged time.
SHARE: Final = 0.02
#: What it may be off at least, seconds: events of bridges reach the daemon within milliseconds, and within half a second
#: where a busy machine lets it wait, at the beginning and at the end. Calls under 50 s have this and not 2 %.
FLOOR_S: Final = 1.0


@dataclass(slots=True)
class Coverage:
    """`open_ended`: it records also while nobody is bridged (`wait = "record"`), so only what is missing is told."""

    open_ended: bool = False
    counted_ns: int = 0
    since_ns: int | None = None
    #: The spool file's length when counting began.
    from_size: int = 0
    #: Counting began in mid-call: that length was known but for what Asterisk had in its buffer.
    anew: bool = False
    #: Nobody tells of bridges now.
    blind: bool = False
    over: bool = False

    def bridged(self, now_ns: int) -> None:
        """The caller talks with somebody."""
        if not self.over and self.since_ns is None:
            self.since_ns = now_ns

    def unbridged(self, now_ns: int) -> None:
        """The caller waits."""
        if self.since_ns is not None:
            self.counted_ns += now_ns - self.since_ns
            self.since_ns = None

    def end(self, now_ns: int) -> None:
        """Nothing more is to be recorded: hang-up, or a stop."""
        self.unbridged(now_ns)
        self.over = True

    def lost(self) -> None:
        """The link is down: who is bridged is not known."""
        self.blind = self.blind or not self.over

    def again(self, size: int) -> None:
        """The link is up again, and who is bridged is told next."""
        if not self.over:
            self.counted_ns, self.since_ns, self.from_size, self.anew, self.blind = 0, None, size, size > 0, False

    def differs(self, size: int, byte_rate: int, buffer_ns: int) -> str:
        """What is wrong with a file of `size` bytes, in a few words; "" when nothing is, or nobody can say
        (nobody told of any bridge)."""
        if self.blind or not self.over or not self.counted_ns:
            return ""
        wanted, there = self.counted_ns / 1e9, (size - self.from_size) / byte_rate
        room = max(FLOOR_S, SHARE * wanted) + (buffer_ns / 1e9 if self.anew else 0)
        if wanted - there > room or (there - wanted > room and not self.open_ended):
            return f"{there:.1f} s recorded, {wanted:.1f} s bridged"
        return ""
