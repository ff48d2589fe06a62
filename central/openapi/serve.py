"""The door of the description itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from central.doors import Door, door
from central.openapi.document import document
from central.roles import ANYONE

OPENAPI: Final = web.AppKey("openapi", bytes)


def doors() -> list[Door]:
    """One."""
    return [
        door("GET", "/v1/openapi.json", get_openapi, ANYONE, "This description.", answer=dict[str, Any]),
    ]


def text(listed: Iterable[Door]) -> str:
    """The document as it is served and published: indented, so that a change of it can be read."""
    return json.dumps(document(listed), ensure_ascii=False, indent=1) + "\n"


async def get_openapi(request: web.Request) -> web.Response:
    """Made once, at start."""
    return web.Response(body=request.app[OPENAPI], content_type="application/json")
