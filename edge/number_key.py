"""Telephone numbers as keyed hashes: the one form in which a number outlives its call.

The key is 32 random bytes in a slot that can be overwritten, so whoever takes the journal cannot try all numbers, and
destroying one slot makes every remembered number meaningless. Write order `number key`: slot written and synced, then the
row that names it; a kill between leaves a slot that no row names, which the next start sweeps.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from edge.failpoints import hit
from edge.ports import MemoryBook, Slots

#: Keeps this use of the key apart from any other.
_LABEL: Final = b"callwarden number v1\n"


class NumberKey:
    """HMAC-SHA256 of numbers in E.164 under this edge's key."""

    def __init__(self, journal: MemoryBook, slots: Slots) -> None:
        self._journal = journal
        self._slots = slots
        self._making = asyncio.Lock()

    async def known(self, e164: str) -> str | None:
        """The number's HMAC, 64 hex digits; None while there is no key, and so nothing that could be known of it. Raises
        CallwardenError vault.* journal.*."""
        slot = await self._journal.memory_slot()
        return None if slot is None else _digest(await self._slots.read(slot), e164)

    async def digest(self, e164: str) -> str:
        """The same, making the key when there is none. Raises CallwardenError vault.* journal.*."""
        return (await self.hasher())(e164)

    async def hasher(self) -> Callable[[str], str]:
        """`digest` of many numbers with one look at the key; not to be kept. Raises CallwardenError vault.* journal.*."""
        async with self._making:
            slot = await self._journal.memory_slot()
            if slot is None:
                slot = await self._slots.put(secrets.token_bytes(32))
                hit("number_key.slot_synced")
                await self._journal.set_memory_slot(slot)
        return partial(_digest, await self._slots.read(slot))


def _digest(key: bytes, e164: str) -> str:
    return hmac.new(key, _LABEL + e164.encode(), hashlib.sha256).hexdigest()
