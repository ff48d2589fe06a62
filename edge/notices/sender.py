"""Judges calls and sends what is owed.

Write order `notice`: the row with its number (journal), the POST, the outcome that wipes the number (journal). A kill
between the POST and the outcome sends the same message again under the same `webhook-id`, by which a receiver tells a
repeat: once at least, never lost, and twice only there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
import structlog
from yarl import URL

from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.model.live import NoticeCall, NoticeRow
from edge.notices import message, rules, webhook
from edge.notices.rules import Rules, Verdict
from edge.ports import Clock, Journal

log = structlog.get_logger("notices")

#: How often calls are judged and what is due is sent, seconds.
EVERY_S: Final = 2.0
#: Later than any time.
_NEVER: Final = "9999"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Gateway and rules as they are now. `keys`: of the signature, the current one first; `link` may be empty."""

    url: str
    keys: tuple[bytes, ...]
    link: str
    rules: Rules


class Notices:
    """`settings` is asked at every pass (a reload changes them). `digest`: the HMAC of a number under this edge's key.
    `uniform()`: a number in [0, 1)."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        settings: Callable[[], Settings | None],
        digest: Callable[[str], Awaitable[str]],
        uniform: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._digest = digest
        self._uniform = uniform
        #: What is alarmed already, until a text goes out again; and until when a full hour is.
        self._said: set[str] = set()
        self._full_until: datetime | None = None

    async def run(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=webhook.TIMEOUT_S)) as session:
            while True:
                try:
                    await self.once(session)
                except CallwardenError as error:  # the secret, the journal, the slots
                    await self._trouble(error.code, error.message)
                await asyncio.sleep(EVERY_S)

    async def once(self, session: aiohttp.ClientSession) -> None:
        """One pass: judge what is new, send what is due. Raises CallwardenError config.* journal.* vault.*."""
        settings = self._settings()
        if settings is None:  # no gateway any more: nobody may keep the numbers for it
            for notice in await self._journal.notices_waiting(_NEVER):
                at = self._clock.wall_text()
                await self._journal.notice_done(notice.notice_id, "dropped", at, "no_gateway")
            return
        since = _text(self._clock.wall() - rules.LATEST)
        for when in ("start", "end"):
            for call in await self._journal.unjudged(when, since):
                await self._judge(call, when, settings.rules)
        for notice in await self._journal.notices_waiting(self._clock.wall_text()):
            await self._send(session, notice, settings)

    # ------------------------------------------------------------ judging

    async def _judge(self, call: NoticeCall, when: str, allowed: Rules) -> None:
        now = self._clock.wall()
        verdict = rules.judge(call, allowed, now)
        if verdict.what == "wait":
            return
        number_hmac = ""
        if verdict.what == "owe":
            number_hmac = await self._digest(verdict.number)
            why = rules.afford(
                of_number=await self._journal.notices_made(_text(now - rules.ONE_PER), number_hmac),
                of_all=await self._journal.notices_made(_text(now - rules.HOUR)),
                rules=allowed,
            )
            if why:
                verdict = Verdict("drop", why, country=verdict.country)
                if why == "hour_is_full":
                    await self._full(now)
        at, owed = self._clock.wall_text(), verdict.what == "owe"
        await self._journal.owe_notice(
            NoticeRow(
                notice_id=secrets.token_hex(16), call_id=call.call_id, when_=when,
                number_e164=verdict.number if owed else None, number_hmac=number_hmac, country=verdict.country,
                state="waiting" if owed else "dropped", attempts=0, due_at=at, made_at=at, sent_at=None,
                why=verdict.why,
            )
        )  # fmt: skip
        hit("notice.judged")

    async def _full(self, now: datetime) -> None:
        """Said once an hour: whoever floods must not fill the alarms instead."""
        if self._full_until is None or now >= self._full_until:
            self._full_until = now + rules.HOUR
            what = "no more texts this hour: a policy's calls want more"
            await self._journal.alarm("notices.hour_is_full", what)
            log.warning("text notices are in trouble", code="notices.hour_is_full", why=what)

    # ------------------------------------------------------------ sending

    async def _send(self, session: aiohttp.ClientSession, notice: NoticeRow, settings: Settings) -> None:
        rows = await self._journal.notices(notice.call_id)
        if all(one.notice_id != notice.notice_id or one.state != "waiting" for one in rows):
            return  # an erasure took its number back while an earlier text waited for the gateway
        call = await self._journal.call(notice.call_id)
        assert call is not None  # a notice's call is in the same journal, by foreign key
        body = message.body(
            notice,
            policy_id=call.policy_id,
            policy_version=call.policy_version,
            language=call.language or "en",
            link=settings.link,
        )
        now = self._clock.wall()
        answer = await self._post(session, settings, webhook.headers(settings.keys, notice.notice_id, now, body), body)
        hit("notice.posted")
        at = self._clock.wall_text()
        if answer.what == "sent":
            await self._journal.notice_done(notice.notice_id, "sent", at)
            self._said.clear()
            return
        wait = webhook.next_try(notice.attempts + 1, answer.wait, self._uniform()) if answer.what == "retry" else None
        if wait is not None:
            await self._journal.notice_failed(notice.notice_id, _text(now + wait), answer.why)
        else:
            await self._journal.notice_failed(notice.notice_id, at, answer.why)
            await self._journal.notice_done(notice.notice_id, "dropped", at, answer.why)
        await self._trouble("notices.not_sent", f"the gateway does not take texts: {answer.why}")

    async def _post(
        self, session: aiohttp.ClientSession, settings: Settings, headers: dict[str, str], body: bytes
    ) -> webhook.Answer:
        url = URL(settings.url)
        if url.scheme != "https" and url.host not in _LOOPBACK:
            return webhook.Answer("drop", "plain_http")
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return webhook.read_answer(response.status, response.headers, self._clock.wall())
        except TimeoutError:
            return webhook.Answer("retry", "timeout")
        except aiohttp.ClientConnectionError:
            return webhook.Answer("retry", "unreachable")
        except aiohttp.ClientError:
            return webhook.Answer("retry", "not_http")

    async def _trouble(self, code: str, what: str) -> None:
        """An alarm, once until a text goes out again."""
        if code not in self._said:
            self._said.add(code)
            await self._journal.alarm(code, what)
            log.warning("text notices are in trouble", code=code, why=what)


def _text(at: datetime) -> str:
    """As the journal writes times."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["Notices", "Settings"]
