"""What would go by a day, and why; what is kept although its time is over, and by what. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from edge.retention.expiry import house_before
from edge.retention.kept import Kept
from edge.retention.schedule import Due, Kind
from edge.retention.sight import Sight
from edge.retention.terms import Standing, TermsBook
from formats.ids import format_time

#: Most things that are named one by one; the totals count all.
LISTED: Final = 1000
_OF_HOUSE: Final[tuple[Kind, Kind, Kind]] = ("orders", "alarms", "exports")
_KINDS: Final[tuple[Kind, ...]] = ("evidence", "refusals", "metadata", "notices", "statistics")


class Plan:
    """Raises CallwardenError journal.*, vault.*."""

    def __init__(self, sight: Sight, kept: Kept, terms: TermsBook) -> None:
        self._sight = sight
        self._kept = kept
        self._terms = terms

    async def make(self, at: datetime, policy: str | None = None) -> dict[str, Any]:
        """`at` (RFC 3339), `policies` (each: policy, acts, waits), `items` due by then (class, id, call, policy, due_at, why,
        state, held, bytes of recordings; at most `LISTED`, `left_off` more), `totals` by class (goes, held, waits, later,
        bytes, next). States: `goes`; `held`: something keeps it; `waits`: for an approval. `policy`: this one's only."""
        tally = _Tally(at)
        policies = []
        scopes: dict[str, Standing] = {}
        for policy_id, version in await self._sight.journal.kept_versions():
            if policy is not None and policy_id != policy:
                continue
            if policy_id not in scopes:
                scopes[policy_id] = await self._terms.standing(policy_id)
            standing = scopes[policy_id]
            async for recordings in self._kept.recordings(policy_id, version, standing, at, all_of_them=True):
                for row, one in recordings:
                    tally.add("recordings", row.recording_id, row.call_id, policy_id, one, standing, row.bytes)
            async for calls in self._kept.calls(policy_id, version, standing, at, _KINDS, all_of_them=True):
                for call, kind, one in calls:
                    tally.add(kind, call.call_id, call.call_id, policy_id, one, standing)
        for name, standing in sorted(scopes.items()):
            policies.append({"policy": name, "acts": standing.acts, "waits": list(standing.waits)})
        if policy is None:
            standing = await self._terms.standing("")
            policies.append({"policy": "", "acts": standing.acts, "waits": list(standing.waits)})
            counts = await self._sight.journal.house_counts(*(house_before(kind, standing, at) for kind in _OF_HOUSE))
            for kind, count in zip(_OF_HOUSE, counts, strict=True):
                tally.count(kind, count, standing)
        return {"at": format_time(at), "policies": policies, **tally.said()}


class _Tally:
    def __init__(self, at: datetime) -> None:
        self._at = at
        self._items: list[dict[str, Any]] = []
        self._left_off = 0
        self._totals: dict[str, dict[str, Any]] = {}

    def add(
        self, kind: Kind, name: str, call_id: str, policy: str, one: Due, standing: Standing, size: int | None = None
    ) -> None:
        total = self._total(kind)
        due_at = None if one.at is None else format_time(one.at)
        if one.at is None or one.at > self._at:
            total["later"] += 1
            if due_at is not None:
                total["next"] = min(total["next"] or due_at, due_at)
            return
        state = "held" if one.held else "goes" if standing.acts else "waits"
        total[state] += 1
        if size is not None and state == "goes":
            total["bytes"] += size
        if len(self._items) >= LISTED:
            self._left_off += 1
            return
        item = {
            "class": kind, "id": name, "call": call_id, "policy": policy, "due_at": due_at, "why": one.why,
            "state": state, "held": list(one.held),
        }  # fmt: skip
        self._items.append(item if size is None else {**item, "bytes": size})

    def count(self, kind: Kind, many: int, standing: Standing) -> None:
        self._total(kind)["goes" if standing.acts else "waits"] += many

    def said(self) -> Mapping[str, Any]:
        items = sorted(self._items, key=lambda item: (item["due_at"], item["class"], item["id"]))
        return {"items": items, "left_off": self._left_off, "totals": self._totals}

    def _total(self, kind: Kind) -> dict[str, Any]:
        fresh: dict[str, Any] = {"goes": 0, "held": 0, "waits": 0, "later": 0, "bytes": 0, "next": None}
        return self._totals.setdefault(kind, fresh)
