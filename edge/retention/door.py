"""What people ask of retention at the local door: the plan, approvals, the clock, holds. Each act says who."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from edge.errors import CallwardenError
from edge.model.holds import HoldRow
from edge.retention.executor import Executor
from edge.retention.holding import Holding
from edge.retention.kept import Kept
from edge.retention.plan import Plan
from edge.retention.sight import Sight
from edge.retention.terms import TermsBook

#: How far a plan looks ahead that names no day.
AHEAD: Final = timedelta(days=30)


class RetentionDoor:
    """Implements `edge.ports.RetentionDesk`. `executor`: None while the daemon is stopped; then plans can be made, and
    nothing else. Raises CallwardenError."""

    def __init__(self, sight: Sight, executor: Executor | None = None) -> None:
        self._sight = sight
        self._executor = executor
        self._terms = TermsBook(sight)
        self._plan = Plan(sight, Kept(sight, Holding(sight), self._terms), self._terms)

    async def plan(self, policy: str | None, at: datetime | None) -> Mapping[str, Any]:
        """See `edge.retention.plan.Plan.make`; with `clock`, what is odd about it ("" for nothing)."""
        doubt = self._executor.clock.doubt if self._executor is not None else ""
        return {"clock": doubt, **await self._plan.make(at or self._sight.clock.wall() + AHEAD, policy)}

    def run(self) -> Mapping[str, Any]:
        """Have everything looked at now."""
        self._running().look()
        return {"says": "looking; `callwarden retention plan` shows what is left"}

    async def approve(self, scopes: Sequence[str], by: str) -> Mapping[str, Any]:
        """What the configuration says of these policies counts from now on; "" stands for what belongs to no policy. None
        named: all of them. Raises not_found.policy."""
        executor = self._running()
        known = {name for name, _ in await self._sight.journal.kept_versions()} | {*self._sight.policies(), ""}
        for scope in scopes:
            if scope not in known:
                hint = f"policies: {', '.join(sorted(known - {''})) or 'none'}"
                raise CallwardenError("not_found.policy", f"there is no policy {scope!r}", hint=hint, where=scope)
        changed = {scope: list(await executor.terms.approve(scope, by)) for scope in scopes or sorted(known)}
        executor.look()
        return {"approved": changed}

    async def clock_ok(self, by: str) -> Mapping[str, Any]:
        """Somebody looked at the clock: it is right."""
        executor = self._running()
        settled = await executor.clock.believe(by)
        executor.look()
        return {"settled": settled, "says": "the clock is believed" if settled else "nothing was odd about the clock"}

    async def place(self, hold: Mapping[str, str | None], by: str) -> HoldRow:
        """`hold`: kind, scope, target, reason, case, label. See `edge.retention.holding.Holding.place`."""
        return await self._running().holding.place(
            kind=hold["kind"] or "hold", scope=hold["scope"] or "", target=hold["target"] or "",
            reason=hold["reason"] or "", case=hold["case"], label=hold["label"] or "", by=by,
        )  # fmt: skip

    async def release(self, hold_id: str, by: str) -> HoldRow:
        """Ask for it, or complete it. Raises not_found.hold, command.same_person."""
        row = await self._running().holding.release(hold_id, [by])
        self._running().wake()  # what waited for it goes on
        return row

    def _running(self) -> Executor:
        if self._executor is None:
            raise CallwardenError(
                "daemon.stopped", "the daemon is not running: nothing would act on that", retryable=True,
                hint="start it with `callwarden run`",
            )  # fmt: skip
        return self._executor
