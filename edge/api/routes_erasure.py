"""Routes about erasing many calls, orders carried by hand, certificates and corrections. One body, one answer, both JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from edge.api.carry import peer_uid
from edge.api.deps import ApiDeps, Json
from edge.api.words import only, unknown_call
from edge.errors import CallwardenError

VERBS: Final = ("locate", "take", "orders", "certificate", "rectify", "in-force")
#: Longest reason of a correction, characters.
_LONGEST: Final = 200


class ErasureDesk:
    """Raises CallwardenError; daemon.stopped where none runs."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def answer(self, verb: str, body: Json, uid: int) -> Json:
        """`verb` is one of VERBS (docs/cli.md)."""
        port = self._deps.erasure
        if port is None:
            raise CallwardenError("daemon.stopped", "the daemon is not running", hint="start it with `callwarden run`")
        match verb:
            case "locate":
                return dict(await port.locate(_text(body, "number"), _text(body, "as_of"), uid))
            case "take":
                order = body.get("order")
                if not isinstance(order, dict):
                    raise CallwardenError("usage.order", "there is no order", where="order")
                return dict(await port.take(order, body.get("opening"), uid))
            case "orders":
                return {"orders": list(await port.orders())}
            case "in-force":
                return dict(await port.in_force())
            case "certificate":
                return dict(await port.certificate(_text(body, "recording")))
            case _:
                call = _text(body, "call")
                ids = await self._deps.reader.find_call(call)
                call_id = only(ids, call, unknown_call(call))
                changes: dict[str, str] = {
                    name: _text(body, name) for name in ("number", "language", "policy") if name in body
                }
                return dict(await port.rectify(call_id, changes, _text(body, "reason")[:_LONGEST], uid))


def _text(body: Json, name: str) -> str:
    value: Any = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise CallwardenError(f"usage.{name}", f"{name} is missing", where=name)
    return value


ERASURE = web.AppKey("erasure", ErasureDesk)


async def _answer(request: web.Request) -> web.Response:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError as error:
        raise CallwardenError("usage.body", "the body is not JSON") from error
    if not isinstance(body, dict):
        raise CallwardenError("usage.body", "the body is not an object")
    desk = request.app[ERASURE]
    return web.json_response(await desk.answer(request.match_info["verb"], body, peer_uid(request)))


ROUTES = [web.post(f"/v1/erasure/{{verb:{'|'.join(VERBS)}}}", _answer)]
