"""Standard Webhooks (specification 1.0.0, standardwebhooks.com): what the two who send such messages share, edge and central."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime


def headers(keys: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of one attempt at `at` (aware). `message_id` has no full stop and stays the same at every attempt."""
    stamp = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), stamp.encode(), body))
    signed = (base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signed),
    }


def retry_after(value: str | None, now: datetime, longest: timedelta) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds or an HTTP date, `longest` at most; nonsense is nothing."""
    if value is None:
        return None
    try:
        wait = (
            timedelta(seconds=int(value)) if value.isascii() and value.isdigit() else parsedate_to_datetime(value) - now
        )
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta()), longest)
