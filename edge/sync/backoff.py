"""How long to wait after a failure: doubling from 0.5 s to 60 s, jittered so that a fleet does not return as one."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.5
LAST_S = 60.0


class Backoff:
    """Seconds until the next try. `uniform()` gives a number in [0, 1)."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._failures = 0

    def success(self) -> None:
        """Begin anew."""
        self._failures = 0

    def failure(self) -> float:
        """Count one more failure; the wait in seconds, between half and the whole of the doubled span."""
        span = min(LAST_S, FIRST_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return span * (0.5 + self._uniform() / 2)
