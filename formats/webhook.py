"""Standard Webhooks (specification 1.0.0, standardwebhooks.com): what the two who send such messages share, edge and central."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from formats.errors import FormatError

#: "base64 encoded, prefixed with whsec_".
PREFIX: Final = "whsec_"
#: "At least 24 bytes (192 bits, 512 maximum)".
KEY_BYTES: Final = range(24, 65)


def read_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a secret file: one a line, the current one first; each signs, so that a receiver can change over.

    Raises FormatError webhook.secret; nothing of the secret is repeated.
    """
    keys = []
    for line in text.split():
        try:
            if not line.startswith(PREFIX):
                raise ValueError
            key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
        except ValueError:  # what is not ASCII, and binascii's own
            raise FormatError("webhook.secret", "the webhook's secret is not whsec_ and base64") from None
        if len(key) not in KEY_BYTES:
            raise FormatError("webhook.secret", f"the webhook's secret has {len(key)} bytes, not 24 to 64")
        keys.append(key)
    if not keys:
        raise FormatError("webhook.secret", "the file of the webhook's secret is empty")
    return tuple(keys)


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
