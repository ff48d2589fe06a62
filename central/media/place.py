"""Which store it is: its root (or prefix) holds a marker with a random id, so an empty mount point, another folder or another
bucket is never taken for the one that a payload was put into.

A place is the store's kind and the first eight digits of that id. It is read anew before and behind whatever counts on it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from central.conn import Conn
from central.errors import CentralError
from central.media.store import MARKER, Store
from central.state import Central
from formats.ids import is_id

_log = structlog.get_logger("central")


async def here(store: Store, code: str = "media.store") -> str:
    """The place that the store is now: "folder/<id8>", "s3/BUCKET/<id8>". Raises CentralError `code` (503) where no marker says."""
    text = await store.marker()
    if text is None or not is_id(text):
        what = "has no marker" if text is None else "has a marker that is none"
        hint = f"is it mounted? docs/ops/media.md says what {MARKER} is"
        raise CentralError(code, f"the store {what} ({MARKER})", status=503, where=store.kind, hint=hint)
    return f"{store.kind}/{text[:8]}"


async def require(store: Store, place: str, code: str = "media.store") -> None:
    """Raises CentralError `code` (503) where the store is not `place` now."""
    found = await here(store, code)
    if found != place:
        why = f"it lies in {place}, and this central's store is {found}"
        raise CentralError(code, why, status=503, where=store.kind)


@asynccontextmanager
async def standing(store: Store, place: str, code: str = "media.store") -> AsyncIterator[None]:
    """What is done within was done in `place`: looked at before and behind it. Raises as `require`."""
    await require(store, place, code)
    yield
    await require(store, place, code)


async def settle_in(central: Central) -> None:
    """At start: mark a store that no payload was put into yet, and one alarm per edge and place for what this central does not
    reach. Raises CentralError media.store."""
    place, kind = "", ""
    if central.media is not None:
        store = central.media.store
        kind = store.kind

        def used(conn: Conn) -> bool:
            query = "SELECT 1 FROM media WHERE state<>'gone' AND place LIKE ? LIMIT 1"
            return conn.execute(query, (f"{kind}/%",)).fetchone() is not None

        if await store.marker() is None and not await central.db.run(used):
            await store.mark(secrets.token_hex(16))
        try:
            place = await here(store)
        except CentralError as error:
            _log.error("payloads are neither taken nor given nor removed", why=str(error))

    def away(conn: Conn) -> None:
        rows = conn.execute(
            "SELECT edge_id, place, count(*) AS n FROM media WHERE state<>'gone' AND place<>? AND (place<>'' OR ?='')"
            " GROUP BY edge_id, place ORDER BY edge_id, place",
            (place, kind),
        ).fetchall()
        for row in rows:
            message = f"{row['n']} payloads lie in {row['place'] or 'unfinished uploads'}, which this central does not reach: what"
            central.alarm(conn, row["edge_id"], "media.not_removed", f"{message} is erased of them cannot be removed")

    await central.db.run(away)
