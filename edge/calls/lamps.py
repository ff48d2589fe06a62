"""Lamps of desk phones: one per name that a policy gives, lit while any call of it is recorded.

Asterisk keeps the state of custom devices over its own restart, so after every (re)connect each lamp is set anew.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from edge.errors import CallwardenError
from edge.ports import Asterisk

log = structlog.get_logger("calls")


class Lamps:
    """Which calls keep which lamp lit. A lamp that cannot be set is logged: nothing of a call depends on it."""

    def __init__(self, asterisk: Asterisk) -> None:
        self._asterisk = asterisk
        self._lit: dict[str, set[str]] = {}

    async def lit(self, name: str, call_id: str) -> None:
        """This call is recorded from now on. An empty name is no lamp."""
        if not name:
            return
        calls = self._lit.setdefault(name, set())
        calls.add(call_id)
        if len(calls) == 1:
            await self._set(name)

    async def dark(self, call_id: str) -> None:
        """This call is not recorded any more, or is over."""
        for name, calls in self._lit.items():
            if call_id in calls:
                calls.discard(call_id)
                if not calls:
                    await self._set(name)

    async def refresh(self, names: Iterable[str]) -> None:
        """After a (re)connect: these lamps, and all known ones, show what is true now."""
        for name in sorted({n for n in names if n} | set(self._lit)):
            await self._set(name)

    async def _set(self, name: str) -> None:
        state = "INUSE" if self._lit.get(name) else "NOT_INUSE"
        try:
            await self._asterisk.set_device(name, state)
        except CallwardenError as error:
            log.warning("a lamp could not be set", lamp=name, state=state, why=error.message)
