"""Standard Webhooks, the sender's side: signature, headers, and what an answer means. Pure.

Source of every constant: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from edge.errors import CallwardenError
from formats import webhook
from formats.errors import FormatError
from formats.webhook import headers, retry_after

#: "somewhere between 15 and 30s".
TIMEOUT_S: Final = 20.0
#: Waits before the second try and later ones. The first four are the specification's example; it goes on for days, but a
#: text about a call is worth nothing tomorrow.
DELAYS: Final = (timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
#: A gateway that asks for more patience than this is asked again after it.
LONGEST_WAIT: Final = timedelta(hours=1)


def read_keys(text: str) -> tuple[bytes, ...]:
    """`formats.webhook.read_keys`. Raises CallwardenError config.notices; nothing of the secret is repeated."""
    try:
        return webhook.read_keys(text)
    except FormatError as error:
        raise CallwardenError("config.notices", error.message, hint="copy it from the gateway again") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt came to: `sent`, `retry` or `drop`; `why` in a word; `wait`: how long the gateway asks for."""

    what: str
    why: str = ""
    wait: timedelta | None = None


def read_answer(status: int, answer_headers: Mapping[str, str], now: datetime) -> Answer:
    """2xx is success; 410 says that nobody wants this any more; everything else, redirects too, is tried again."""
    if 200 <= status < 300:
        return Answer("sent")
    if status == 410:
        return Answer("drop", "gone")
    return Answer("retry", f"http_{status}", retry_after(answer_headers.get("retry-after"), now, LONGEST_WAIT))


def next_try(attempts: int, wait: timedelta | None, uniform: float) -> timedelta | None:
    """How long to wait after `attempts` failures; None to give up. uniform: a number in [0, 1), so that what failed
    together does not come back together (up to a fifth more)."""
    if attempts > len(DELAYS):
        return None
    span = DELAYS[attempts - 1] * (1 + uniform / 5)
    return max(span, wait) if wait is not None else span


__all__ = ["headers", "read_keys"]
