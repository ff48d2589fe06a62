"""Routes about keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from aiohttp import web

from edge.api.carry import number, peer_uid
from edge.api.deps import ApiDeps
from edge.api.keydesk import KeyDesk
from edge.errors import CallwardenError
from formats.ids import format_time

KEYS = web.AppKey("keys", KeyDesk)


async def _keys(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEYS].keys())


async def _headers(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEYS].headers(number(request, "after", 0)))


async def _rewrap(request: web.Request) -> web.Response:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise CallwardenError("usage.body", "the body is not JSON", where="body") from error
    if not isinstance(body, dict):
        raise CallwardenError("usage.body", "the body is not a JSON object", where="body")
    where, now = request.match_info, format_time(datetime.now(UTC))
    done = await request.app[KEYS].rewrap(where["id"], int(where["n"]), body, peer_uid(request), now)
    return web.json_response(done)


async def _resend(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEYS].resend())


def at_the_door(app: web.Application, deps: ApiDeps) -> None:
    """The desk and its routes in the application."""
    app[KEYS] = KeyDesk(deps)
    app.add_routes(ROUTES)


ROUTES = [
    web.get("/v1/keys", _keys),
    web.post("/v1/resend", _resend),
    web.get("/v1/headers", _headers),
    web.post("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/rewrap", _rewrap),
]
