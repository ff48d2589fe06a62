"""Orders that fail for a reason nobody thought of: said once, and tried less and less often. In memory: a start tries them anew."""

from __future__ import annotations

from typing import Final

import structlog

from edge.ports import Clock, Journal
from formats.orders import OrderClaims

log = structlog.get_logger("retention")

#: So often an order is tried at every pass. What is over by itself (a race with another order) is over by then.
TRIES: Final = 5
#: Then it waits, twice as long after each further try, seconds.
FIRST_WAIT_S: Final = 6.0
LONGEST_WAIT_S: Final = 600.0


class Stuck:
    """Which orders wait because of a bug."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._tries: dict[str, int] = {}
        self._until: dict[str, int] = {}

    def waits(self, jti: str) -> bool:
        """Whether it is too early for the next try."""
        return self._clock.mono_ns() < self._until.get(jti, 0)

    def over(self, jti: str) -> None:
        """It was carried out without a bug."""
        self._tries.pop(jti, None)
        self._until.pop(jti, None)

    async def failed(self, jti: str, claims: OrderClaims | None, bug: Exception) -> None:
        """One more try ended with `bug`, which has just been caught. Its text may hold anything, so the alarm has its type alone."""
        tries = self._tries[jti] = self._tries.get(jti, 0) + 1
        if tries in (1, TRIES):
            log.exception("an order failed: this is a bug", order=jti, tries=tries)
        if tries >= TRIES:
            wait = min(FIRST_WAIT_S * 2.0 ** min(tries - TRIES, 16), LONGEST_WAIT_S)
            self._until[jti] = self._clock.mono_ns() + round(wait * 1e9)
        if tries == TRIES:
            what = "an order" if claims is None else f"{claims.cmd} of a {claims.target.kind}"
            await self._journal.alarm(
                "command.stuck",
                f"order {jti} ({what}) cannot be carried out, {type(bug).__name__}: this is a bug, and the log says where. It is"
                f" tried again, every {LONGEST_WAIT_S / 60:.0f} minutes at last, and at a start of the daemon",
                where=jti,
            )
