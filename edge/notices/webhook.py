"""Standard Webhooks, the sender's side: signature, headers, and what an answer means. Pure.

Source of every constant: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from edge.errors import CallwardenError
from formats.webhook import headers, retry_after

#: "base64 encoded, prefixed with whsec_".
PREFIX: Final = "whsec_"
#: "At least 24 bytes (192 bits, 512 maximum)".
KEY_BYTES: Final = range(24, 65)
#: "somewhere between 15 and 30s".
TIMEOUT_S: Final = 20.0
#: Waits before the second try and later ones. The first four are the specification's example; it goes on for days, but a
#: text about a call is worth nothing tomorrow.
DELAYS: Final = (timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
#: A gateway that asks for more patience than this is asked again after it.
LONGEST_WAIT: Final = timedelta(hours=1)


def read_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a secret file: one a line, the current one first; each signs, so that a receiver can change over.

    Raises CallwardenError config.notices; nothing of the secret is repeated.
    """
    keys = []
    for line in text.split():
        try:
            if not line.startswith(PREFIX):
                raise ValueError
            key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except (ValueError, binascii.Error):
            raise CallwardenError(
                "config.notices", "the webhook's secret is not whsec_ and base64", hint="copy it from the gateway again"
            ) from None
        if len(key) not in KEY_BYTES:
            raise CallwardenError(
                "config.notices", f"the webhook's secret has {len(key)} bytes", hint="24 to 64 bytes are demanded"
            )
        keys.append(key)
    if not keys:
        raise CallwardenError("config.notices", "the webhook's secret file is empty", hint="put whsec_… into it")
    return tuple(keys)


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
