"""Nothing goes by a clock that cannot be believed.

Each pass asks `trusted` for the time. A jump within a run, or a start at a time that does not follow what is on file, is
alarmed as `retention.clock`, and until it is explained there is no time: by the clock coming back within the same run, by a
witness elsewhere that signed the same time since, or by a person (`callwarden retention clock-ok`). The doubt outlives a
restart: whoever restarts the daemon has not looked at the clock.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

import structlog

from edge.retention.clockjump import Reading, agrees, jumped, odd_at_start
from edge.retention.means import Means
from formats.errors import FormatError
from formats.ids import format_time
from formats.note import COSIGNATURE, Note, NoteKey

log = structlog.get_logger("retention")

#: Journal meta: the latest time that was believed; what is odd about the clock.
TRUSTED_META: Final = "retention_clock"
DOUBT_META: Final = "retention_clock_doubt"
#: How often the time that is believed is written down, nanoseconds: a restart compares with it.
SAVE_EVERY_NS: Final = 60 * 1_000_000_000


class ClockWatch:
    """The time, as long as it can be believed. Raises CallwardenError journal.*."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._last: Reading | None = None
        self._saved_ns: int | None = None
        #: What is odd, in a sentence; "" for nothing.
        self.doubt = ""
        self._size = 0
        self._begun = False

    async def trusted(self) -> datetime | None:
        """Now, or None while the clock is not explained."""
        now = Reading(self._means.clock.wall(), self._means.clock.mono_ns())
        if not self._begun:
            await self._begin(now)
        elif not self.doubt and self._last is not None and (why := jumped(self._last, now)):
            await self._doubt(why)
        if self.doubt and not await self._explained(now):
            return None
        self._last = now
        if self._saved_ns is None or now.mono_ns - self._saved_ns >= SAVE_EVERY_NS:
            self._saved_ns = now.mono_ns
            await self._means.journal.set_meta(TRUSTED_META, format_time(now.wall))
        return now.wall

    async def believe(self, by: str) -> bool:
        """A person looked at the clock: it is right. False when nothing was odd about it."""
        if not self._begun:
            await self.trusted()
        if not self.doubt:
            return False
        await self._settle("person", by)
        self._last = None
        self._saved_ns = None
        await self.trusted()
        return True

    async def _begin(self, now: Reading) -> None:
        filed = await self._means.journal.meta(DOUBT_META)
        if filed:
            found = json.loads(filed)
            self.doubt, self._size = found["why"], found["size"]
        elif why := odd_at_start(await self._newest(), now.wall):
            await self._doubt(why)
        self._begun = True

    async def _newest(self) -> datetime | None:
        """The latest time that was believed here, or signed by a witness."""
        saved = await self._means.journal.meta(TRUSTED_META)
        times = [datetime.fromisoformat(saved)] if saved else []
        witnessed = await self._witnessed()
        return max([*times, *([witnessed[1]] if witnessed else [])], default=None)

    async def _doubt(self, why: str) -> None:
        witnessed = await self._witnessed()
        self.doubt, self._size = why, witnessed[0] if witnessed else 0
        await self._means.journal.set_meta(DOUBT_META, json.dumps({"why": why, "size": self._size}))
        log.error("nothing goes by this clock", why=why)
        await self._means.journal.alarm(
            "retention.clock",
            f"{why}: nothing is erased by age until that is explained; fix: set the clock, or if it is right"
            " `callwarden retention clock-ok`",
        )

    async def _explained(self, now: Reading) -> bool:
        if self._last is not None and jumped(self._last, now) is None:
            await self._settle("came_back", "")
            return True
        if self._means.witness_elsewhere and (witnessed := await self._witnessed()) is not None:
            size, at = witnessed
            if size > self._size and agrees(at, now.wall):
                await self._settle("witness", "")
                return True
        return False

    async def _settle(self, how: str, by: str) -> None:
        await self._means.journal.note_audit("retention.clock_explained", body={"how": how, "by": by})
        await self._means.journal.set_meta(DOUBT_META, "")
        log.warning("the clock is believed again", how=how)
        self.doubt = ""

    async def _witnessed(self) -> tuple[int, datetime] | None:
        """(size, when) of the newest checkpoint that a witness signed."""
        last = await self._means.journal.last_cosigned()
        if last is None or last.cosigned is None:
            return None
        keys = [NoteKey(one.owner, COSIGNATURE, one.key) for one in self._means.trust.with_role("witness")]
        try:
            times = [at for at in Note.parse(last.cosigned).verify(keys).values() if at is not None]
            return (last.size, datetime.fromtimestamp(max(times), UTC)) if times else None
        except (FormatError, ValueError, OverflowError, OSError) as error:
            log.warning("a cosigned note tells no time", why=str(error))
            return None
