"""The duty of central's own TLS certificate: an alarm, once for each certificate, when it ends within 30 days."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from central.conn import Conn
from central.errors import CentralError
from central.state import Central
from formats.ids import format_time

#: How often it is looked at, seconds: more often than daily, since a duty waits that long after a start.
LOOK_S: Final = 3600.0
#: How long before its end somebody is told.
AHEAD: Final = timedelta(days=30)
ENDS: Final = "central.certificate_ends"


async def look(central: Central) -> None:
    """One look. Raises CentralError config.certificate, central.database."""
    if not central.config.tls:
        return
    until = await asyncio.to_thread(ends, central.config.certificate)
    if central.wall() < until - AHEAD:
        return
    message = f"the TLS certificate {central.config.certificate.name} ends at {format_time(until)}: no edge is heard from then on"

    def job(conn: Conn) -> None:
        conn.exclusive(ENDS)  # several processes look
        found = (ENDS, message)
        if not conn.execute("SELECT 1 FROM alarm WHERE edge_id='' AND code=? AND message=?", found).fetchone():
            central.alarm(conn, "", *found)

    await central.db.run(job)


def ends(path: Path) -> datetime:
    """The end of a certificate's time. Raises CentralError config.certificate."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise CentralError("config.certificate", f"cannot be read: {error}", where=str(path)) from error
