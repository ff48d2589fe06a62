"""Standard Webhooks, the sender's side: signature, headers, what an answer means, when to try again. Pure.

Source of every constant: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md 1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from central.errors import CentralError
from formats import webhook
from formats.errors import FormatError

#: Signatures a request carries at most: the current key and the one before it.
MOST_KEYS: Final = 2
#: "somewhere between 15 and 30s".
TIMEOUT_S: Final = 20.0
#: What is not taken for so long is a dead letter.
GIVE_UP: Final = timedelta(days=3)
#: The first wait, and the longest; each is four times the one before.
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=4)
_FACTOR: Final = 4
_HINT: Final = "one line `whsec_` and base64, or two while a receiver changes over"


def read_keys(text: str, where: str) -> tuple[bytes, ...]:
    """`formats.webhook.read_keys`, two at most. Raises CentralError config.webhook; nothing of the secret is repeated."""
    try:
        keys = webhook.read_keys(text)
    except FormatError as error:
        raise CentralError("config.webhook", error.message, where=where, hint=_HINT) from None
    if len(keys) > MOST_KEYS:
        raise CentralError("config.webhook", f"the file holds {len(keys)} secrets", where=where, hint=_HINT)
    return keys


def headers(keys: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """`formats.webhook.headers`, and who speaks."""
    return {**webhook.headers(keys, message_id, at, body), "user-agent": "callwarden-central"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt came to: `sent`, `retry`, `gone` (nobody wants this any more). why: one word. wait: how long the receiver
    asks for. whole: the failure is the receiver's, not this message's, so that what waits for it waits too."""

    what: str
    why: str = ""
    wait: timedelta | None = None
    whole: bool = False


def read_answer(status: int, answer_headers: Mapping[str, str], now: datetime) -> Answer:
    """2xx is success; 410 ends it; everything else, redirects too, is tried again."""
    if 200 <= status < 300:
        return Answer("sent")
    if status == 410:
        return Answer("gone", "http_410")
    asked = retry_after(answer_headers.get("retry-after"), now) if status in (429, 503) else None
    return Answer("retry", f"http_{status}", asked, whole=status == 429 or status >= 500)


def backoff(failures: int, uniform: float) -> timedelta:
    """The wait after so many failures (1 and more), between half and the whole of the span; uniform: a number in [0, 1)."""
    span: timedelta = min(FIRST_WAIT * int(_FACTOR ** min(failures - 1, 10)), LONGEST_WAIT)
    return span * (0.5 + uniform / 2)


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """`formats.webhook.retry_after`, a day at most."""
    return webhook.retry_after(value, now, timedelta(days=1))
