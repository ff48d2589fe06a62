"""Real receivers on loopback for tests of webhooks: TLS by an authority of their own, answers as they are told."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from central import tls
from central.hooks import duty
from central.hooks.settings import Outgoing, Webhook
from tests.unit.central.central_kit import TestCentral

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


def a_secret(path: Path, count: int = 1) -> Path:
    """A file of so many secrets."""
    path.touch(mode=0o600)
    path.write_text("".join(f"whsec_{base64.b64encode(os.urandom(32)).decode()}\n" for _ in range(count)))
    return path


@dataclass
class Got:
    """One request that a receiver took."""

    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class Receiver:
    """`answer` is asked at each request; what came is in `got`."""

    folder: Path
    names: tuple[str, ...] = ("localhost",)
    host: str = "127.0.0.1"
    plain: bool = False
    answer: Callable[[Got], Awaitable[web.StreamResponse]] | None = None
    got: list[Got] = field(default_factory=list)
    port: int = 0
    current: web.Request | None = None

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def url(self, host: str = "localhost", path: str = "/in") -> str:
        return f"{'http' if self.plain else 'https'}://{host}:{self.port}{path}"

    async def _take(self, request: web.Request) -> web.StreamResponse:
        got = Got(dict(request.headers), await request.read())
        self.got.append(got)
        self.current = request
        return web.Response(text="thanks") if self.answer is None else await self.answer(got)

    def _context(self) -> ssl.SSLContext | None:
        if self.plain:
            return None
        self.folder.mkdir(exist_ok=True)
        ca, key = tls.make_ca("receivers", datetime.now(UTC))
        certificate, secret = tls.make_server(ca, key, self.names, datetime.now(UTC))
        for name, content in (("ca.pem", ca), ("crt.pem", certificate), ("key.pem", secret)):
            (self.folder / name).write_bytes(content)
        return tls.server_context(self.folder / "crt.pem", self.folder / "key.pem")


@asynccontextmanager
async def a_receiver(folder: Path, port: int = 0, **more: Any) -> AsyncIterator[Receiver]:
    """A started receiver."""
    receiver = Receiver(folder, **more)
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver._take)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    context = receiver._context()
    await web.TCPSite(runner, receiver.host, port, ssl_context=context).start()
    receiver.port = int(runner.addresses[0][1])
    try:
        yield receiver
    finally:
        await runner.cleanup()


def a_hook(receiver: Receiver, secret: Path, name: str = "crm", *events: str, **more: Any) -> Webhook:
    """A webhook that leads to a receiver."""
    given: dict[str, Any] = {
        "url": receiver.url(),
        "allow": LOOPBACK,
        "ca": None if receiver.plain else receiver.ca,
    } | more
    return Webhook(name=name, secret=secret, events=events or ("*",), **given)


@asynccontextmanager
async def telling(folder: Path, postgres: str, outgoing: Outgoing) -> AsyncIterator[TestCentral]:
    """A central that tells; nothing is sent before a `Sender` of the test looks."""
    central = TestCentral(folder, postgres=postgres)
    central.config = replace(central.config, outgoing=outgoing)
    # Its own sender reads this when its task first runs, which is after the start.
    before, duty.LOOK_S = duty.LOOK_S, 3600.0  # type: ignore[misc]
    try:
        await central.start()
        yield central
    finally:
        duty.LOOK_S = before  # type: ignore[misc]
        await central.stop()


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.02)
