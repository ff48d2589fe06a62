"""The keys this edge believes: the trust file, and what orders made of it since.

Every part of the daemon holds the one `PinnedKeys`, whose keys are exchanged in it: a key that an order removes counts
nowhere from then on. The trust file wins once somebody changed it by hand: its SHA-256 is not the one that was amended.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import msgspec
import structlog

from edge.model.ordered import PinnedRow
from formats.keyset import KeyEntry, KeySet

log = structlog.get_logger("edge")


class PinnedNotes(Protocol):
    """What is needed of the journal."""

    async def pinned(self) -> PinnedRow | None: ...
    async def unpin(self) -> None: ...
    async def alarm(self, code: str, message: str, *, where: str = "") -> None: ...


class PinnedKeys(KeySet):
    """A key set whose keys are exchanged in place. `file_sha256`: of the trust file it was read from."""

    file_sha256: str = ""

    @classmethod
    def of_file(cls, data: bytes) -> PinnedKeys:
        """The keys of a trust file. Raises FormatError."""
        found = cls(KeySet.load(data).entries)
        object.__setattr__(found, "file_sha256", hashlib.sha256(data).hexdigest())
        return found

    def become(self, keys: KeySet) -> None:
        """From now on these count."""
        object.__setattr__(self, "entries", keys.entries)
        self.__post_init__()

    async def take_up(self, journal: PinnedNotes) -> None:
        """At the start of the daemon: what orders left, unless the trust file was changed since."""
        row = await journal.pinned()
        if row is None:
            return
        if row.file_sha256 != self.file_sha256:
            await journal.unpin()
            what = f"the trust file was changed by hand since order {row.jti}: it alone counts now"
            await journal.alarm("auth.trust_file", f"{what}; fix: have the key set ordered again if that was not meant")
            return
        self.become(KeySet.load(row.keyset.encode()))
        log.info("the pinned keys are those of an order", order=row.jti)


def replaced(old: KeySet, new: KeySet, now: str, acts_at: str) -> tuple[KeySet, dict[str, Any]]:
    """`new` in the place of `old` at `now`, and what that changes: `added` and `removed` (kids), `acts_at`.

    A key that was not pinned in that role and for that owner counts from `acts_at` on; one that is not listed any more is
    retired now, and stays for what it signed before. A key that stays neither begins earlier nor ends later than it did.
    Edges' own keys stay.
    """
    known = {one.kid: one for one in old.entries if one.role != "edge"}
    listed = {one.kid: one for one in new.entries}
    kept: list[KeyEntry] = [one for one in old.entries if one.role == "edge"]
    added, removed = [], []
    for kid, one in listed.items():
        before = known.get(kid)
        if before is not None and (before.role, before.owner) == (one.role, one.owner):
            begins = max(filter(None, (before.not_before, one.not_before)), default=None)
            ends = min(filter(None, (before.retired, one.retired)), default=None)
            kept.append(msgspec.structs.replace(one, not_before=begins, retired=ends))
        else:
            added.append(kid)
            kept.append(msgspec.structs.replace(one, not_before=max(acts_at, one.not_before or "")))
    for kid, one in known.items():
        if kid not in listed:
            if one.retired is None or one.retired > now:
                removed.append(kid)
            kept.append(msgspec.structs.replace(one, retired=min(now, one.retired or now)))
    return KeySet.of(kept), {"added": sorted(added), "removed": sorted(removed), "acts_at": acts_at if added else None}


def lacking(keys: KeySet, before: KeySet, now: str) -> str | None:
    """A role without which this edge could not be told anything any more: one that somebody has now and that nobody has who
    counts, or will."""
    for role in ("store", "dpo", "witness"):
        if before.active(now).with_role(role) and not any(
            one.retired is None or one.retired > now for one in keys.with_role(role)
        ):
            return role
    return None


def without(keys: KeySet, kids: frozenset[str], now: str) -> KeySet:
    """`keys` less those of `kids` that do not count yet."""
    return KeySet.of(one for one in keys.entries if one.kid not in kids or not one.not_before or one.not_before <= now)


__all__ = ["PinnedKeys", "lacking", "replaced", "without"]
