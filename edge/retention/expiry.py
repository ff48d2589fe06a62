"""What goes by itself because its time is over: one pass over everything, in small commits.

Audio first, by the write order `erase` with the cause `retention`; then evidence, which stands on no audio any more; then
names, texts and whole rows; then what belongs to no call. At most `ERASURES` recordings go in one pass, so that an order
that arrives meanwhile waits for no more than those; the next pass goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.live import DueErasure
from edge.retention.due import DueErasures
from edge.retention.kept import Kept
from edge.retention.means import Means
from edge.retention.schedule import Facts, Kind, due
from edge.retention.terms import Standing, TermsBook
from formats.ids import format_time

log = structlog.get_logger("retention")

#: Recordings in one pass; each is some fsyncs and a question to central's keeper.
ERASURES: Final = 10
#: Calls in one commit: a few milliseconds of the journal's one writer.
BATCH: Final = 100


class Expiry:
    """One pass. Raises CallwardenError journal.*, vault.*, sync.*: what is left waits for the next."""

    def __init__(self, means: Means, kept: Kept, terms: TermsBook, dues: DueErasures) -> None:
        self._means = means
        self._kept = kept
        self._terms = terms
        self._dues = dues
        #: Scope to what waits for an approval, of the last look.
        self.waiting: dict[str, tuple[str, ...]] = {}
        self._alarmed: set[str] = set()

    async def once(self, now: datetime) -> bool:
        """All that is over at `now`; True when there is more to do at once."""
        budget = ERASURES
        scopes: dict[str, Standing] = {}
        for policy_id, version in await self._means.journal.kept_versions():
            if policy_id not in scopes:
                scopes[policy_id] = await self._note(policy_id)
            if not scopes[policy_id].acts:
                await self._alarm_waiting(policy_id, version, scopes[policy_id], now)
                continue
            budget -= await self._recordings(policy_id, version, scopes[policy_id], now, budget)
            if budget <= 0:
                return True
            await self._calls(policy_id, version, scopes[policy_id], now)
        await self._house(now)
        return False

    async def _note(self, scope: str) -> Standing:
        standing = await self._terms.standing(scope)
        if standing.grew:  # filed, so that what is made shorter later is compared with what was promised last
            await self._terms.approve(scope, "edge")
        if standing.waits:
            self.waiting[scope] = standing.waits
        else:
            self.waiting.pop(scope, None)
        return standing

    async def _alarm_waiting(self, policy_id: str, version: str, standing: Standing, now: datetime) -> None:
        """Once a run: something is over and stays, because nobody has looked at the plan yet."""
        if policy_id in self._alarmed:
            return
        async for page in self._kept.recordings(policy_id, version, standing, now):
            if any(one.goes(now) for _, one in page):
                self._alarmed.add(policy_id)
                await self._means.journal.alarm(
                    "retention.waits",
                    f'recordings of policy "{policy_id}" have had their time and stay: nobody approved its retention; fix:'
                    f" callwarden retention plan --policy {policy_id}, then callwarden retention approve {policy_id}",
                )
                return

    async def _recordings(self, policy_id: str, version: str, standing: Standing, now: datetime, budget: int) -> int:
        """How many of them went, or have their intent; at most `budget`. What something keeps counts for nothing, so True of
        `once` means that the next pass has less to do."""
        done = 0
        async for page in self._kept.recordings(policy_id, version, standing, now):
            for row, one in page:
                if not one.goes(now) or one.at is None:
                    continue
                if done >= budget:
                    return done
                if await self._dues.obstacle(row.recording_id) is not None:
                    continue  # a duty of today's terms that nobody approved yet is none of `standing`
                erasure = DueErasure(row.recording_id, format_time(one.at), "retention", why=one.why)
                await self._means.journal.add_due(erasure)
                hit("retention.due")
                try:
                    await self._dues.carry_out(erasure)
                except CallwardenError as error:
                    # On file as due: the executor tries it again with all others.
                    log.info("not finished yet; it is tried again", recording=row.recording_id, code=error.code)
                after = await self._means.journal.recording(row.recording_id)
                done += after is None or after.state in ("erasing", "erased")
        return done

    async def _calls(self, policy_id: str, version: str, standing: Standing, now: datetime) -> None:
        await self._each(policy_id, version, standing, now, ("evidence", "refusals"), self._expire)
        await self._each(policy_id, version, standing, now, ("metadata",), self._forget)
        await self._each(policy_id, version, standing, now, ("notices",), self._drop_notices)
        await self._each(policy_id, version, standing, now, ("statistics",), self._delete)

    async def _each(
        self, policy_id: str, version: str, standing: Standing, now: datetime, kinds: Sequence[Kind],
        work: Callable[[Sequence[str]], Awaitable[int]],
    ) -> None:  # fmt: skip
        async for page in self._kept.calls(policy_id, version, standing, now, kinds):
            over = [row.call_id for row, _, one in page if one.goes(now)]
            for start in range(0, len(over), BATCH):
                if done := await work(over[start : start + BATCH]):
                    log.info("kept long enough", what=kinds[0], policy=policy_id, count=done)

    async def _expire(self, call_ids: Sequence[str]) -> int:
        done = await self._means.journal.expire_evidence(call_ids)
        hit("evidence.expired")
        return done

    async def _drop_notices(self, call_ids: Sequence[str]) -> int:
        done = await self._means.journal.delete_notices(call_ids)
        hit("notices.expired")
        return done

    async def _delete(self, call_ids: Sequence[str]) -> int:
        done = await self._means.journal.delete_calls(call_ids)
        hit("statistics.expired")
        return done

    async def _forget(self, call_ids: Sequence[str]) -> int:
        journal, digest = self._means.journal, self._means.digest
        numbers: dict[str, dict[str, str]] = {}
        try:
            for call_id in call_ids:
                if digest is None:
                    break
                numbers[call_id] = {party: await digest(one) for party, one in await journal.numbers_of(call_id)}
        except CallwardenError as error:
            # A key that cannot be read costs the HMAC, never the end of a name.
            log.warning("numbers leave no HMAC behind", code=error.code, why=error.message)
        done = await journal.forget_calls(call_ids, numbers)
        hit("metadata.expired")
        return done

    async def _house(self, now: datetime) -> None:
        standing = await self._note("")
        if not standing.acts:
            return
        journal = self._means.journal
        while await journal.delete_orders(house_before("orders", standing, now), BATCH):
            hit("orders.expired")
        while await journal.delete_alarms(house_before("alarms", standing, now), BATCH):
            hit("alarms.expired")
        while await journal.delete_exports(house_before("exports", standing, now), BATCH):
            hit("exports.expired")


def house_before(kind: Kind, standing: Standing, now: datetime) -> str:
    """What is older than this, and belongs to no call, goes; found by halving, since months are not all as long."""
    low, high = datetime(1970, 1, 1, tzinfo=now.tzinfo), now
    while (high - low).total_seconds() > 1:
        middle = low + (high - low) / 2
        end = due(Facts(kind, middle, house=standing.house)).at
        low, high = (middle, high) if end is not None and end <= now else (low, middle)
    return format_time(low)
