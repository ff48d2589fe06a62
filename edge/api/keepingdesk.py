"""How long things are kept, and what must not go: plans, approvals, holds. Each act is audited with who asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, time
from typing import Any, Final

from edge.api.deps import ApiDeps, Json, RetentionDesk
from edge.api.desk import Desk
from edge.api.words import only, unknown_call
from edge.errors import CallwardenError
from edge.model.holds import HOLD_KINDS, HoldRow

_HOLD_ID = re.compile(r"[0-9a-f]{6,32}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
#: Members of a hold that is to be placed.
_MEMBERS: Final = frozenset({"kind", "scope", "target", "reason", "case", "label"})


class KeepingDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps, desk: Desk) -> None:
        self._deps, self._desk = deps, desk

    async def plan(self, policy: str, at: str) -> Json:
        """What would go by `at` (a day or RFC 3339; "": in 30 days), of `policy` ("": of all). Raises usage.time."""
        return dict(await self._retention.plan(policy or None, _moment(at)))

    async def run(self, uid: int) -> Json:
        """Have the daemon look now."""
        told = self._retention.run()
        await self._deps.journal.note_audit("retention.run_asked", body={"uid": uid})
        return dict(told)

    async def approve(self, scopes: Sequence[str], uid: int) -> Json:
        """`approved`: policy to the settings that got shorter by it; "" is what belongs to no policy."""
        return dict(await self._retention.approve(scopes, f"uid:{uid}"))

    async def clock_ok(self, uid: int) -> Json:
        """The clock is right, somebody says."""
        return dict(await self._retention.clock_ok(f"uid:{uid}"))

    async def policies(self) -> list[Json]:
        """What central is told of each policy in effect: the last report of each, sorted; docs/spec/sync.md has the members."""
        found = await self._deps.journal.policy_reports()
        return [dict(found[name]) for name in sorted(found)]

    async def holds(self, *, released: bool) -> list[Json]:
        """Holds and restrictions, the oldest first; of a person the HMAC stays here."""
        return [_shown(row) for row in await self._deps.journal.holds(released=released)]

    async def place(self, asked: Mapping[str, Any], uid: int) -> Json:
        """`asked`: kind scope target reason, and perhaps case and label, all texts. A recording or call may be named as for
        the other commands. Raises usage.*, not_found.*, command.too_late."""
        texts = {name: asked.get(name) for name in _MEMBERS}
        if asked.keys() - _MEMBERS or not all(one is None or isinstance(one, str) for one in texts.values()):
            raise CallwardenError(
                "usage.hold", f"a hold is made of the texts {', '.join(sorted(_MEMBERS))}", where="body"
            )
        if texts["kind"] not in HOLD_KINDS:
            raise CallwardenError("usage.kind", f"a kind is one of: {', '.join(HOLD_KINDS)}", where="kind")
        target = texts["target"] or ""
        if texts["scope"] == "recording":
            texts["target"] = (await self._desk.bundle(target))["recording_id"]
        elif texts["scope"] == "call":
            texts["target"] = only(await self._deps.reader.find_call(target), target, unknown_call(target))
        return _shown(await self._retention.place(texts, f"uid:{uid}"))

    async def release(self, text: str, uid: int) -> Json:
        """`text`: a hold's id, or at least 6 first digits. The answer's `released_at` is null while a second person is
        needed."""
        unknown = CallwardenError(
            "not_found.hold", "there is no such hold", hint="callwarden hold list shows them", where=text
        )
        if not _HOLD_ID.fullmatch(text):
            raise unknown
        ids = [one.hold_id for one in await self._deps.journal.holds(released=True) if one.hold_id.startswith(text)]
        return _shown(await self._retention.release(only(ids, text, unknown), f"uid:{uid}"))

    @property
    def _retention(self) -> RetentionDesk:
        if self._deps.retention is None:
            raise CallwardenError("daemon.stopped", "nobody here knows about retention", retryable=True)
        return self._deps.retention


def _shown(row: HoldRow) -> Json:
    """A hold as people see it: whose number it is about is not theirs to read."""
    shown = asdict(row)
    if row.scope == "person":
        shown["target"] = None
    return shown


def _moment(text: str) -> datetime | None:
    """The end of a day, or the very moment. Raises usage.time."""
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(datetime.fromisoformat(text).date(), time(23, 59, 59), UTC)
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CallwardenError("usage.time", 'not a day or time, like "2027-01-31"', where="at") from error
    if at.tzinfo is None:
        raise CallwardenError("usage.time", "a time needs a zone, like 2027-01-31T12:00:00Z", where="at")
    return at.astimezone(UTC)
