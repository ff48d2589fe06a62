"""A small gateway that trusts nothing: it checks signatures by its own few lines and keeps what it believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

#: Replies older or newer than this are refused (the specification's libraries use five minutes).
TOLERANCE_S = 300


@dataclass
class Receiver:
    """`answers`: what to reply, one after the other, then 204. `taken`: (webhook-id, body) of what was believed.
    `now()`: its clock, Unix seconds."""

    secret: str
    url: str = ""
    answers: list[Callable[[], web.StreamResponse]] = field(default_factory=list)
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    now: Callable[[], float] = time.time

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        why = self._wrong(request, body)
        if why:
            self.refused.append(why)
            return web.Response(status=401, text=why)
        self.raw.append(body)
        self.taken.append((request.headers["webhook-id"], json.loads(body)))
        return self.answers.pop(0)() if self.answers else web.Response(status=204)

    def _wrong(self, request: web.Request, body: bytes) -> str:
        stamp = request.headers.get("webhook-timestamp", "")
        if not stamp.isdigit() or abs(self.now() - int(stamp)) > TOLERANCE_S:
            return "time"
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{request.headers.get('webhook-id', '')}.{stamp}.".encode() + body
        right = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        given = request.headers.get("webhook-signature", "").encode().split(b" ")
        return "" if any(hmac.compare_digest(one, right) for one in given) else "signature"


@asynccontextmanager
async def receiver(secret: str) -> AsyncIterator[Receiver]:
    """Listening on loopback."""
    made = Receiver(secret)
    app = web.Application()
    app.router.add_post("/texts", made._post)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{port}/texts"
    try:
        yield made
    finally:
        await runner.cleanup()
