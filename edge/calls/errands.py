"""Having a word with a channel that is in a bridge: it is summoned over AMI, opens an AGI session, and comes back.

A session nobody waits for ends at once: callers can send the digits of the summons, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from edge.errors import CallwardenError
from edge.ports import Asterisk, CallerGone, Dialogue, DialogueLost

log = structlog.get_logger("calls")

Work = Callable[[Dialogue], Awaitable[Any]]

#: How long a summoned channel may take to open its session (it takes a third of a second), and how often it is summoned.
ANSWER_S: Final = 2.5
TRIES: Final = 3
#: How long to wait for somebody to be with the channel: alone, a feature code does nothing.
COMPANY_S: Final = 10.0
POLL_S: Final = 0.1
#: How long after an alarm about unanswered summonses there is no other, seconds.
ALARM_S: Final = 3600.0


@dataclass(slots=True)
class _Expected:
    work: Work
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Errands:
    """At most one errand per channel at a time; the next waits for it. `alarm(code, message)`: of a server that shows no
    sign of our feature codes, which cannot be read over AMI."""

    def __init__(self, asterisk: Asterisk, alarm: Callable[[str, str], Awaitable[None]]) -> None:
        self._asterisk = asterisk
        self._alarm = alarm
        self._alarm_from = float("-inf")
        self._expected: dict[str, _Expected] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def run(
        self, channel_uid: str, work: Work, *, opened: asyncio.Event | None = None, company_s: float | None = None
    ) -> Any:
        """Do `work` over a dialogue with this channel, inside its bridge, and return what it returns. `opened` is set as
        soon as the channel answers; company_s: how long to wait for somebody to be with it, default COMPANY_S.

        Raises calls.unreachable when no session opens (the channel is alone, on hold, in a conference, or has no feature
        codes), CallerGone, DialogueLost, ami.*, and what `work` raises.
        """
        lock = self._locks.setdefault(channel_uid, asyncio.Lock())
        try:
            async with lock:
                return await self._run(channel_uid, work, opened, COMPANY_S if company_s is None else company_s)
        finally:
            if not lock.locked():
                self._locks.pop(channel_uid, None)

    async def _run(self, uid: str, work: Work, opened: asyncio.Event | None, company_s: float) -> Any:
        await self._in_company(uid, company_s)
        expected = _Expected(work)
        self._expected[uid] = expected
        try:
            for _ in range(TRIES):
                await self._asterisk.summon(self._name(uid))
                try:
                    await asyncio.wait_for(expected.opened.wait(), ANSWER_S)
                except TimeoutError:
                    continue
                if opened is not None:
                    opened.set()
                return await expected.done
        finally:
            if self._expected.get(uid) is expected and not expected.opened.is_set():
                del self._expected[uid]
        await self._unanswered(uid)
        raise unreachable(uid, "it did not answer the summons")

    async def _unanswered(self, uid: str) -> None:
        """It is with somebody and did not come: most likely Asterisk has no code for the summons."""
        now = asyncio.get_running_loop().time()
        if now < self._alarm_from or not self._asterisk.with_channel(uid):
            return
        self._alarm_from = now + ALARM_S
        await self._alarm(
            "features.missing",
            "a caller in a conversation could not be spoken to: include features.callwarden.conf.sample in features.conf "
            "and reload Asterisk's features (in a conference or on hold nobody can be)",
        )

    async def _in_company(self, uid: str, company_s: float) -> None:
        end = asyncio.get_running_loop().time() + company_s
        while not self._asterisk.with_channel(uid):
            if self._asterisk.channel_alive(uid) is False:
                raise CallerGone
            if asyncio.get_running_loop().time() > end:
                raise unreachable(uid, "it is with nobody")
            await asyncio.sleep(POLL_S)

    def _name(self, uid: str) -> str:
        name = self._asterisk.channel_name(uid)
        if name is None:
            raise CallerGone
        return name

    async def deliver(self, dialogue: Dialogue) -> None:
        """A session of the feature `errand`: whoever sent for it does its work here."""
        expected = self._expected.pop(dialogue.channel_uid, None)
        if expected is None:
            log.info("an errand nobody sent for", channel=dialogue.channel_uid)
            return
        expected.opened.set()
        try:
            found = await expected.work(dialogue)
        except (CallerGone, DialogueLost, CallwardenError) as error:
            _settle(expected.done, error)
        except asyncio.CancelledError:
            _settle(expected.done, DialogueLost("the session was ended"))
            raise
        except BaseException as bug:
            _settle(expected.done, bug)
            raise
        else:
            if not expected.done.done():
                expected.done.set_result(found)


def _settle(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def unreachable(uid: str, why: str) -> CallwardenError:
    """The error for a channel that cannot be spoken to."""
    return CallwardenError(
        "calls.unreachable",
        f"the channel cannot be spoken to in the call: {why}",
        retryable=True,
        where=uid,
        hint="features.conf needs the shipped [applicationmap]; nobody can be asked on hold or in a conference",
    )
