"""Routes that answer about calls and recordings."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edge.api.carry import DESK, listener

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
    body = await request.app[DESK].header(request.match_info["id"], number, listener(request))
    return web.Response(body=body, content_type="application/octet-stream")


async def _payload(request: web.Request) -> web.StreamResponse:
    wanted: str | None = ",".join(request.headers.getall("Range", [])) or None
    if request.method != "GET" or "If-Range" in request.headers:
        wanted = None  # a range has no meaning for HEAD, and no validator was given out that could still hold
    recording_id, number = request.match_info["id"], int(request.match_info["n"])
    part = await request.app[DESK].payload(recording_id, number, listener(request), wanted)
    left = part.end - part.first
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(left), "Accept-Ranges": "bytes"}
    if part.partial:
        headers["Content-Range"] = f"bytes {part.first}-{part.end - 1}/{part.size}"
    response = web.StreamResponse(status=206 if part.partial else 200, headers=headers)
    with part.file as file:
        await response.prepare(request)
        if request.method != "GET":
            return response
        file.seek(part.first)
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(_PIECE, left))
            if not piece:
                break  # shorter than committed: the reader's length and hash checks say so
            left -= len(piece)
            await response.write(piece)
    return response


async def _waveform(request: web.Request) -> web.Response:
    number = int(request.match_info["n"])
    body = await request.app[DESK].waveform(request.match_info["id"], number, listener(request))
    return web.Response(body=body, content_type="application/octet-stream")


async def _exported(request: web.Request) -> web.Response:
    await request.app[DESK].exported(request.match_info["id"], listener(request))
    return web.json_response({"noted": True})


async def _reads(request: web.Request) -> web.Response:
    return web.json_response(await request.app[DESK].reads(request.match_info["id"]))


ROUTES = [
    web.get("/v1/status", _status),
    web.get("/v1/calls", _calls),
    web.get("/v1/recordings", _recordings),
    web.get("/v1/why/{call}", _why),
    web.get("/v1/receipts/{id}", _receipts),
    web.get("/v1/recordings/{id}/bundle", _bundle),
    web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/header", _header),
    web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/payload", _payload),
    web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/waveform", _waveform),
    web.post("/v1/recordings/{id}/exported", _exported),
    web.get("/v1/recordings/{id}/reads", _reads),
]
