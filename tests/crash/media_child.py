"""Uploads what is due from an edge that lies on disk, until it is done or dies. argv: a JSON file of where things are."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from callwarden.keyfiles import read_signing_key
from edge.audit.log import AuditLog
from edge.media.uploader import Uploader
from edge.store.journal import Journal
from edge.sync.media import MediaLink
from edge.sync.uplink import Uplink
from edge.vault.payloads import PayloadVault
from tests.unit.store.store_makers import SystemClock


async def main(said: dict[str, str]) -> None:
    clock = SystemClock()
    audit = AuditLog()
    journal = Journal.open(said["journal"], audit=audit, clock=clock, edge_id="edge-1")
    key = read_signing_key(Path(said["key"]))
    uplink = Uplink(said["url"], "edge-1", key, ca_pem=None, clock=clock, random_bytes=_random)
    uploader = Uploader(
        journal=journal, vault=PayloadVault(said["vault"]), door=MediaLink(uplink), rate=lambda: 0, jitter=lambda: 0.0
    )
    assert await uploader.look()
    await uplink.close()
    await journal.close()


def _random(size: int) -> bytes:
    import os

    return os.urandom(size)


asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
