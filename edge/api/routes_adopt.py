"""Routes by which recordings that were files come in."""

from __future__ import annotations

import asyncio

from aiohttp import web

from edge.api.adoptdesk import AdoptDesk
from edge.api.carry import peer_uid
from edge.errors import CallwardenError

ADOPT = web.AppKey("adopt", AdoptDesk)
#: Longest silence of who brings sound, seconds: one at a time is served.
SILENCE_S = 60.0
#: Most bytes of a description.
_DESCRIPTION = 64 * 1024


async def _look(request: web.Request) -> web.Response:
    return web.json_response(await request.app[ADOPT].look(await request.read()))


async def _take(request: web.Request) -> web.Response:
    """Body: 4 bytes (big-endian) with the length of a description, the description (JSON), the sound."""
    stream = request.content
    try:
        length = int.from_bytes(await stream.readexactly(4))
        if length > _DESCRIPTION:
            raise CallwardenError("usage.adopt", f"a description has at most {_DESCRIPTION} bytes")
        described = await stream.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise CallwardenError("usage.adopt", "there is no description before the sound") from error

    async def sound(most: int) -> bytes:
        try:
            async with asyncio.timeout(SILENCE_S):
                return await stream.read(most)
        except (web.RequestPayloadError, ConnectionError, TimeoutError) as error:
            raise CallwardenError("adopt.short", "whoever brought the sound left in the middle of it") from error

    return web.json_response(await request.app[ADOPT].take(described, sound, peer_uid(request)))


async def _removing(request: web.Request) -> web.Response:
    return web.json_response(await request.app[ADOPT].removing(request.match_info["id"]))


async def _gone(request: web.Request) -> web.Response:
    kept = request.query.get("kept", "0") == "1"
    return web.json_response(await request.app[ADOPT].gone(request.match_info["id"], kept=kept))


async def _originals(request: web.Request) -> web.Response:
    return web.json_response(await request.app[ADOPT].originals())


ROUTES = [
    web.post("/v1/adopt/look", _look),
    web.post("/v1/adopt/take", _take),
    web.post("/v1/adopt/{id}/removing", _removing),
    web.post("/v1/adopt/{id}/gone", _gone),
    web.get("/v1/adopt/originals", _originals),
]
