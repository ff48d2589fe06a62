"""What a running central does about incidents by itself: says when a clock has 24 hours left, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.conn import Conn
from central.incidents.book import warn

if TYPE_CHECKING:
    from central.state import Central

#: How often the clocks are looked at, seconds.
LOOK_S: Final = 30.0


async def look(central: Central) -> None:
    """One look."""

    def job(conn: Conn) -> int:
        return warn(central, conn)

    await central.db.run(job)
