"""Routes that answer about calls and recordings."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edge.api.carry import DESK, reader
from edge.errors import CallwardenError

#: Bytes of a payload handed on at a time.
_PIECE = 256 * 1024


async def _status(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].status())


async def _calls(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].calls())


async def _recordings(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].recordings())


async def _why(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].why(request.match_info["call"]))


async def _bundle(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].bundle(request.match_info["id"]))


async def _receipts(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].receipts(request.match_info["id"]))


async def _header(request: web.Request) -> web.Response:
    number = int(request.match_info["n"])
    body = await request.app[DESK].header(request.match_info["id"], number, reader(request))
    return web.Response(body=body, content_type="application/octet-stream")


async def _payload(request: web.Request) -> web.StreamResponse:
    path, left = await request.app[DESK].payload(request.match_info["id"], int(request.match_info["n"]))
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Content-Length": str(left)})
    try:
        file = await asyncio.to_thread(open, path, "rb")
    except OSError as error:
        raise CallwardenError("vault.missing", f"a payload cannot be read: {error.strerror}", where=path) from error
    with file:
        await response.prepare(request)
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(_PIECE, left))
            if not piece:
                break  # shorter than committed: the reader's length and hash checks say so
            left -= len(piece)
            await response.write(piece)
    return response


async def _exported(request: web.Request) -> web.Response:
    form = request.query.get("form", "")
    await request.app[DESK].exported(request.match_info["id"], form, reader(request))
    return web.json_response({"noted": True})


ROUTES = [
    web.get("/v1/status", _status),
    web.get("/v1/calls", _calls),
    web.get("/v1/recordings", _recordings),
    web.get("/v1/why/{call}", _why),
    web.get("/v1/receipts/{id}", _receipts),
    web.get("/v1/recordings/{id}/bundle", _bundle),
    web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/header", _header),
    web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/payload", _payload),
    web.post("/v1/recordings/{id}/exported", _exported),
]
