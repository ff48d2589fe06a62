"""Routes about retention and holds."""

from __future__ import annotations

import json

from aiohttp import web

from edge.api.carry import KEEPING, peer_uid
from edge.errors import CallwardenError


async def _plan(request: web.Request) -> web.Response:
    query = request.query
    return web.json_response(await request.app[KEEPING].plan(query.get("policy", ""), query.get("at", "")))


async def _run(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].run(peer_uid(request)))


async def _approve(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].approve(request.query.getall("scope", []), peer_uid(request)))


async def _clock_ok(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].clock_ok(peer_uid(request)))


async def _policies(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].policies())


async def _holds(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].holds(released=request.query.get("released") == "1"))


async def _place(request: web.Request) -> web.Response:
    try:
        asked = json.loads(await request.text())
    except ValueError as error:
        raise CallwardenError("usage.hold", "the body is not JSON", where="body") from error
    if not isinstance(asked, dict):
        raise CallwardenError("usage.hold", "the body is not a JSON object", where="body")
    return web.json_response(await request.app[KEEPING].place(asked, peer_uid(request)))


async def _release(request: web.Request) -> web.Response:
    return web.json_response(await request.app[KEEPING].release(request.match_info["hold"], peer_uid(request)))


ROUTES = [
    web.get("/v1/retention/plan", _plan),
    web.post("/v1/retention/run", _run),
    web.post("/v1/retention/approve", _approve),
    web.post("/v1/retention/clock-ok", _clock_ok),
    web.get("/v1/policies", _policies),
    web.get("/v1/holds", _holds),
    web.post("/v1/holds", _place),
    web.post("/v1/holds/{hold}/release", _release),
]
