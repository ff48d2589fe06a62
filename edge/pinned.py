"""The keys this edge believes: the trust file, and what orders made of it since.

Every part of the daemon holds the one `PinnedKeys`, whose keys are exchanged in it: a key that an order removes counts
nowhere from then on. Edges' own keys are the trust file's alone, so a new one of this edge changes nothing that was ordered.
The trust file wins once somebody changed another key in it by hand: those are not the ones that were amended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import structlog

from edge.model.entities import ReceiptRow
from edge.model.ordered import PinnedRow
from formats.keyset import KeyEntry, KeySet

log = structlog.get_logger("edge")


class PinnedNotes(Protocol):
    """What is needed of the journal."""

    async def pinned(self) -> PinnedRow | None: ...
    async def pin(
        self, row: PinnedRow, receipt: ReceiptRow | None, *, due_at: str | None, facts: Mapping[str, Any]
    ) -> None: ...
    async def unpin(self) -> None: ...
    async def alarm(self, code: str, message: str, *, where: str = "") -> None: ...


class PinnedKeys(KeySet):
    """A key set whose keys are exchanged in place. SHA-256 (hex) of the trust file it was read from: `file_sha256` of its
    keys but edges' own, as one key set document; `whole_sha256` of its bytes, which is what older journals noted."""

    file_sha256: str = ""
    whole_sha256: str = ""

    @classmethod
    def of_file(cls, data: bytes) -> PinnedKeys:
        """The keys of a trust file. Raises FormatError."""
        found = cls(KeySet.load(data).entries)
        people = KeySet.of(one for one in found.entries if one.role != "edge")
        object.__setattr__(found, "file_sha256", hashlib.sha256(people.dump()).hexdigest())
        object.__setattr__(found, "whole_sha256", hashlib.sha256(data).hexdigest())
        return found

    def become(self, keys: KeySet) -> None:
        """From now on these count."""
        object.__setattr__(self, "entries", keys.entries)
        self.__post_init__()

    async def take_up(self, journal: PinnedNotes) -> None:
        """At the start of the daemon: what orders left, beside the file's keys of edges, unless another key in the trust file
        was changed since."""
        row = await journal.pinned()
        if row is None:
            return
        if row.file_sha256 == self.whole_sha256 != self.file_sha256:
            row = replace(row, file_sha256=self.file_sha256)
            await journal.pin(row, None, due_at=None, facts={"file_sha256": row.file_sha256})
        if row.file_sha256 != self.file_sha256:
            await journal.unpin()
            what = f"the trust file was changed by hand since order {row.jti}: it alone counts now"
            await journal.alarm("auth.trust_file", f"{what}; fix: have the key set ordered again if that was not meant")
            return
        own = [one for one in self.entries if one.role == "edge"]
        ordered = KeySet.load(row.keyset.encode()).entries
        self.become(KeySet.of([*own, *(one for one in ordered if one.role != "edge")]))
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
    counts already and stays. One who only will count does not do: anybody may cancel that."""
    for role in ("store", "dpo", "witness"):
        if before.active(now).with_role(role) and not any(
            one.retired is None for one in keys.active(now).with_role(role)
        ):
            return role
    return None


def without(keys: KeySet, kids: frozenset[str]) -> KeySet:
    """`keys` less `kids`."""
    return KeySet.of(one for one in keys.entries if one.kid not in kids)


__all__ = ["PinnedKeys", "lacking", "replaced", "without"]
