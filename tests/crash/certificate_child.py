"""The process that is killed while it gets its TLS certificate. usage: certificate_child.py CONFIG, of an edge with a central."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from callwarden.keyfiles import read_signing_key
from edge.audit.log import AuditLog
from edge.clock import SystemClock
from edge.config import load
from edge.store.journal import Journal
from edge.sync.certificates import Certificates
from edge.sync.uplink import Uplink


async def main(path: Path) -> None:
    config, clock = load(path), SystemClock()
    assert config.central.ca_file is not None
    journal = Journal.open(config.edge.journal, audit=AuditLog(), clock=clock, edge_id=config.edge.id)
    uplink = Uplink(
        config.central.url, config.edge.id, read_signing_key(config.edge.signing_key_file),
        ca_pem=config.central.ca_file.read_bytes(), clock=clock, random_bytes=os.urandom,
    )  # fmt: skip
    await Certificates(uplink, journal, clock, config.edge.state).look()
    await uplink.get(uplink.edge_path("deliveries?after=0&wait=0"))
    await uplink.close()
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
