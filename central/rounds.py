"""What a running central does by itself: notes when edges were seen, hears of deliveries that another process queued,
makes the partitions of the months to come, wipes numbers that nobody needs any more, sends webhooks and mail, watches the clocks of
incidents and cases, and the end of its own certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from central import servercert
from central.auth import write_unlogged
from central.cases import duty as cases
from central.conn import Conn
from central.edgebook import WRITTEN_S
from central.errors import CentralError
from central.fleet import watch
from central.guesses import WINDOW_S
from central.hooks import duty as hooks
from central.incidents import duty as incidents
from central.media import leaving
from central.people import wipe_what_is_over
from central.register import reviews
from central.state import Central

_log = structlog.get_logger("central")

#: How often other processes' deliveries are looked for, seconds: a command waits this much longer, at most.
LOOK_S: Final = 0.25
#: A delivery's number is taken before its transaction commits, so numbers are looked at again for so long, seconds.
AGAIN_S: Final = 10.0
#: How often the coming months' partitions are looked after, seconds.
MONTHS_S: Final = 6 * 3600.0
#: How often openings are looked for whose order is over without a word from some edge, seconds.
WIPE_S: Final = 600.0


async def run(central: Central) -> None:
    """Until cancelled."""
    work = [_every(WRITTEN_S, central.edges.write), _every(WIPE_S, lambda: wipe_what_is_over(central))]
    work.append(_every(WRITTEN_S, lambda: central.beats.write(central)))
    work.append(_every(watch.EVERY_S, watch.Watch(central).look))
    work.append(_every(WINDOW_S, lambda: write_unlogged(central)))
    if central.media is not None:
        work += [
            _every(leaving.LOOK_S, lambda: leaving.remove_all(central)),
            _every(leaving.SWEEP_S, lambda: leaving.sweep(central)),
        ]
    work.append(_every(cases.EVERY_S, lambda: cases.look(central)))
    work.append(_every(reviews.REVIEWS_S, lambda: reviews.look(central)))
    work.append(_every(servercert.LOOK_S, lambda: servercert.look(central)))
    if central.config.postgres:
        from central.postgres import make_partitions

        work.append(_every(LOOK_S, Deliveries(central).look))
        work.append(_every(MONTHS_S, lambda: central.db.run(make_partitions)))
    sender = hooks.Sender(central)
    work += [_every(hooks.LOOK_S, sender.look), _every(hooks.TIDY_S, sender.tidy)]
    work.append(_every(incidents.LOOK_S, lambda: incidents.look(central)))
    try:
        await asyncio.gather(*work)
    finally:
        await sender.stop()


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    failing = False
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            failing = False
        except CentralError as error:
            if not failing:
                _log.warning("a regular duty failed; it is tried again", why=str(error))
            failing = True
        except Exception:  # a bug in one duty must not end the others
            _log.exception("a regular duty failed: this is a bug")


class Deliveries:
    """Rings for edges that got a delivery from another process on the same database."""

    def __init__(self, central: Central) -> None:
        self._central = central
        self._newest: list[int] = []
        self._rung: set[int] = set()

    async def look(self) -> None:
        """One look. What was there before the first one wakes nobody: a long-poll looks by itself when it begins."""
        looks = round(AGAIN_S / LOOK_S)
        floor = self._newest[0] if self._newest else None

        def job(conn: Conn) -> list[tuple[int, str]]:
            if floor is None:
                newest = conn.execute("SELECT coalesce(max(id), 0) FROM delivery").fetchone()[0]
                return [(newest, "")]
            return [(r[0], r[1]) for r in conn.execute("SELECT id, edge_id FROM delivery WHERE id>?", (floor,))]

        found = await self._central.db.run(job)
        new = {number: edge_id for number, edge_id in found if number not in self._rung}
        for edge_id in {edge_id for edge_id in new.values() if edge_id}:
            self._central.ring(edge_id)
        self._rung = {number for number, _ in found}
        self._newest = [*self._newest, max([*self._newest[-1:], *new])][-looks:] if found or self._newest else [0]
