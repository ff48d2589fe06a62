"""Which signed requests were seen already, as long as their time would still be accepted."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

#: How far an edge's clock may be from central's. Requests older or newer than this are refused.
SKEW = timedelta(minutes=5)


class ReplayCache:
    """Request ids within twice the skew. Bounded: beyond `limit` the oldest go, which is safe because every request
    of an edge is idempotent; the cache keeps an eavesdropper from repeating reads and holding long-polls."""

    def __init__(self, limit: int = 200_000) -> None:
        self._seen: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._limit = limit

    def first_time(self, edge_id: str, jti: str, now: datetime) -> bool:
        """Remember (edge_id, jti); False when it was seen before."""
        while self._seen:
            key, at = next(iter(self._seen.items()))
            if now - at <= 2 * SKEW and len(self._seen) < self._limit:
                break
            del self._seen[key]
        if (edge_id, jti) in self._seen:
            return False
        self._seen[edge_id, jti] = now
        return True
