"""The real clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `edge.ports.Clock` with the machine's clocks."""

    def wall(self) -> datetime:
        """Now, aware, UTC."""
        return datetime.now(UTC)

    def wall_text(self) -> str:
        """Now as RFC 3339 with milliseconds and Z."""
        now = self.wall()
        return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC, nanoseconds."""
        return time.monotonic_ns()
