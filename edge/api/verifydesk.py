"""Verifying what is stored, asked at the local door. The work is the inspector's."""

from __future__ import annotations

from aiohttp import web

from edge.api.carry import peer_uid
from edge.api.deps import ApiDeps, Json
from edge.errors import CallwardenError
from edge.ports.integrity import InspectorPort
from formats.ids import is_id


class VerifyDesk:
    """Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    @property
    def _inspector(self) -> InspectorPort:
        if self._deps.inspector is None:
            raise CallwardenError("daemon.verify", "nothing can be verified", hint="see [edge] trust_file")
        return self._deps.inspector

    async def begin(self, *, deep: bool, anew: bool, uid: int) -> Json:
        """See `edge.ports.integrity.InspectorPort`; so for all."""
        return dict(await self._inspector.begin(deep=deep, anew=anew, uid=uid))

    async def recording(self, recording_id: str, *, run: str, repair: bool, plaintext: str | None, uid: int) -> Json:
        """Raises not_found.recording; usage.run, usage.plaintext for words that are none."""
        _word("run", run, is_id(run))
        code = plaintext or ""
        _word("plaintext", code, code.replace(".", "").replace("_", "").isalpha() and len(code) <= 64)
        return dict(await self._inspector.recording(recording_id, run=run, repair=repair, plaintext=plaintext, uid=uid))

    async def rest(self, *, run: str, repair: bool, uid: int) -> Json:
        """Raises usage.run."""
        _word("run", run, is_id(run))
        return dict(await self._inspector.rest(run=run, repair=repair, uid=uid))


def _word(name: str, value: str, right: bool) -> None:
    if value and not (right and value.isascii()):
        raise CallwardenError(f"usage.{name}", f"this is no {name}", where=name)


VERIFY = web.AppKey("verify", VerifyDesk)


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "0") == "1"


async def _begin(request: web.Request) -> web.Response:
    desk = request.app[VERIFY]
    return web.json_response(
        await desk.begin(deep=_flag(request, "deep"), anew=_flag(request, "anew"), uid=peer_uid(request))
    )


async def _recording(request: web.Request) -> web.Response:
    query = request.query
    found = await request.app[VERIFY].recording(
        request.match_info["id"], run=query.get("run", ""), repair=_flag(request, "repair"),
        plaintext=query.get("plaintext"), uid=peer_uid(request),
    )  # fmt: skip
    return web.json_response(found)


async def _rest(request: web.Request) -> web.Response:
    run, repair = request.query.get("run", ""), _flag(request, "repair")
    return web.json_response(await request.app[VERIFY].rest(run=run, repair=repair, uid=peer_uid(request)))


ROUTES = [
    web.post("/v1/verify/begin", _begin),
    web.post("/v1/verify/recordings/{id}", _recording),
    web.post("/v1/verify/rest", _rest),
]
