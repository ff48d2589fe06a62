"""Two who ask for an order's certificate at the same moment get the same one."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from typing import Any

from central.certificates import _certificate
from central.conn import Conn
from formats import canonical
from tests.unit.central.central_kit import TestEdge, an_id
from tests.unit.central.media_kit import AT
from tests.unit.central.test_central_audit import note, send
from tests.unit.central.test_central_orders import receipt


async def test_two_requests_at_once_get_the_same_certificate(edge: TestEdge) -> None:
    central, recording_id = edge.central, an_id()
    await edge.send(edge.opened(1, recording_id, key=b"\x09" * 32))
    status, answer = await central.admin("POST", "/v1/orders", {"order": await central.signed_order(recording_id)})
    assert status == 202, answer
    jti = answer["jti"]
    body = {"recording_id": recording_id, "key_ids": [], "jti": jti}
    _, statement = await edge.ask("POST", edge.path("keeper/shred"), body)
    key_id = hashlib.sha256(recording_id.encode()).hexdigest()
    one = receipt(edge, answer["order"], jti, recording_id, keeper_evidence=statement, key_ids=(key_id,))
    entry = {"receipt_id": one["receipt_id"], "recording_id": recording_id}
    entries = [canonical.dumps({"at": AT, "body": entry, "kind": "recording.erased", "subject": None}).decode()]
    assert (await edge.ask("POST", edge.path("receipts"), {"receipts": [one]}))[0] == 200
    assert (await send(edge, 0, entries, note(edge, entries)))[0] == 200
    assert central.running is not None
    running, made = central.running.central, threading.Event()

    def first(conn: Conn) -> dict[str, Any]:
        """It has made the document, and does not commit before the other one waits for it."""
        document = _certificate(running, conn, jti, interim=False)
        made.set()
        end = time.monotonic() + 20
        while central.postgres and time.monotonic() < end:  # SQLite's transactions follow one another
            if conn.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0]:
                return document
            time.sleep(0.01)
        assert not central.postgres, "nobody else came"
        return document

    one_of_them = asyncio.create_task(running.db.run(first))
    await asyncio.to_thread(made.wait, 20)
    status, document = await central.admin("GET", f"/v1/certificates/{jti}")
    assert (status, document) == (200, await one_of_them)
    kinds = await central.rows("SELECT count(*) FROM log WHERE entry LIKE '%certificate.issued%'")
    assert kinds == [(1,)], "and it was issued once"
