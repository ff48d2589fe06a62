"""The gate of a journal that was put back from a backup: shut until what was erased since then is erased here again.

Calls are not held up by it: it stands before what is given out (the local door's reads) and what is sent (sync).
"""

from __future__ import annotations

import asyncio

from edge.errors import CallwardenError


class Gate:
    """Open unless `shut` was called. Opening is for good."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._why = ""

    def shut(self, why: str) -> None:
        """Nothing is given out from now on, because of `why`, one sentence."""
        self._why = why
        self._open.clear()

    def open(self) -> None:
        """Serve. Repeats do nothing."""
        self._open.set()

    async def wait(self) -> None:
        """Until it is open."""
        await self._open.wait()

    def refusal(self) -> CallwardenError | None:
        """What a reader is told while it is shut; None when it is open."""
        return None if self._open.is_set() else pending(self._why)


def pending(why: str) -> CallwardenError:
    """The answer of a journal that does not serve yet."""
    return CallwardenError(
        "restore.pending",
        f"this edge was restored from a backup and does not give anything out yet: {why}",
        hint="it opens by itself when central answers; without central: callwarden restore --accept-without-tombstones",
        retryable=True,
    )
