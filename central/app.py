"""Central's composition: one aiohttp application over one `Central`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from aiohttp import web

from central import (
    admin,
    audit,
    byhand,
    certificates,
    config,
    deliveries,
    enrol,
    events,
    keeper,
    orders,
    progress,
    receipts,
    recovery,
    restored,
    rounds,
    tls,
    tokendoors,
)
from central.auth import MAX_BODY, json_answer
from central.cases import doors as cases
from central.config import CentralConfig
from central.doors import Door, door, routes
from central.errors import CentralError
from central.fleet import doors as fleet
from central.fleet.issuing import authority
from central.hooks import doors as hooks
from central.incidents import doors as incidents
from central.media import doors as media
from central.media.place import settle_in
from central.media.sharing import one_folder
from central.minimise import doors as minimise
from central.openapi import answers
from central.openapi import serve as published
from central.problems import problems
from central.register import doors as register
from central.roles import ANYONE
from central.state import CENTRAL, Central, open_central, sweep_keeper, utc_now

_log = structlog.get_logger("central")


def make_app(central: Central) -> web.Application:
    """All doors, version 1."""
    app = web.Application(middlewares=[problems, restored.gate], client_max_size=MAX_BODY)
    app[CENTRAL] = central
    listed = all_doors()
    app[published.OPENAPI] = published.text(listed).encode()
    app.router.add_routes(routes(listed))
    return app


def all_doors() -> list[Door]:
    """Every door, in the order in which the API's description lists them."""
    health = door("GET", "/v1/health", get_health, ANYONE, "Whether the database answers.", answer=answers.Health)
    parts = (
        published,
        tokendoors,
        restored,
        enrol,
        events,
        audit,
        deliveries,
        receipts,
        keeper,
        orders,
        progress,
        byhand,
        admin,
        certificates,
        recovery,
        fleet,
        media,
        hooks,
        incidents,
        cases,
        register,
        minimise,
    )
    return [health, *(one for part in parts for one in part.doors())]


async def get_health(request: web.Request) -> web.Response:
    """Ready when the database answers; needs no authority and tells nothing but the name and version of the door."""
    central = request.app[CENTRAL]
    await central.db.run(lambda conn: conn.execute("SELECT 1 FROM meta LIMIT 1").fetchone())
    return json_answer({"status": "ok", "fleet": central.config.fleet, "api": "v1"})


@dataclass
class Running:
    """A started central: `url` has the real port."""

    central: Central
    url: str
    _runner: web.AppRunner
    _duties: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Answer long-polls, finish requests, close the files."""
        self.central.wake_all()
        async with contextlib.AsyncExitStack() as files:  # closed last first, whatever fails before
            if self.central.media is not None:
                files.push_async_callback(self.central.media.store.close)
            files.callback(self.central.keeper.close)
            files.push_async_callback(self.central.db.close)
            await self._runner.cleanup()
            if self._duties is not None:
                self._duties.cancel()
                await asyncio.gather(self._duties, return_exceptions=True)
                with contextlib.suppress(CentralError):  # when edges were seen is no reason not to stop
                    await self.central.edges.write()
                    await self.central.beats.write(self.central)


async def start(settings: CentralConfig, *, wall: Callable[[], datetime] = utc_now) -> Running:
    """Open the files, sweep the keeper, listen. Raises CentralError config.*, keeper.*, environment.port."""
    context: ssl.SSLContext | None = None
    if settings.tls:
        context = tls.server_context(settings.certificate, settings.certificate_key, authority(settings))
    central = await asyncio.to_thread(open_central, settings, wall=wall)
    # The signature and the size limits are over the bytes on the wire, so we gunzip ourselves.
    runner = web.AppRunner(make_app(central), auto_decompress=False, access_log=None, shutdown_timeout=5)
    running = Running(central, settings.url, runner)
    try:
        if settings.keeper_socket is None and (swept := await central.db.run(lambda conn: sweep_keeper(central, conn))):
            _log.warning("keys without a row were destroyed", count=swept)
        if central.media is not None:
            await central.media.store.check()
            await one_folder(central)
        await settle_in(central)
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=context).start()
    except OSError as error:
        await running.stop()
        raise CentralError(
            "environment.port",
            f"cannot listen: {error}",
            where=f"{settings.host}:{settings.port}",
            hint="does another program listen there?",
        ) from error
    except CentralError:
        await running.stop()
        raise
    running._duties = asyncio.create_task(rounds.run(central))
    running.url = settings.url.rsplit(":", 1)[0] + f":{runner.addresses[0][1]}"
    return running


async def serve(settings: CentralConfig) -> None:
    """Run until SIGTERM or SIGINT."""
    running = await start(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _log.info("central listens", url=running.url, fleet=settings.fleet)
    await stop.wait()
    await running.stop()
    _log.info("central stopped")


def run(path: Path, listen: str | None = None) -> None:
    """Load `central.toml` and serve (blocking); `listen`: host:port instead of the configured one."""
    settings = config.load(path)
    if listen is not None:
        settings = config.listening_at(settings, listen)
    asyncio.run(serve(settings))
