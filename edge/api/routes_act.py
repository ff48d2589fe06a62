"""Routes that act on live calls, give evidence out, and tell of the audit log."""

from __future__ import annotations

from aiohttp import web

from edge.api.actdesk import StatedBy
from edge.api.carry import ACTS, AUDIT, EVIDENCE, number, peer_uid, reader
from edge.errors import CallwardenError


async def _act(request: web.Request) -> web.Response:
    query = request.query
    by = StatedBy(peer_uid(request), query.get("as", "supervisor"), query.get("reason", ""))
    act, call = request.match_info["act"], request.match_info["call"]
    return web.json_response(await request.app[ACTS].act(act, call, by, _seconds(query.get("seconds", "0"))))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise CallwardenError("usage.seconds", "not a number of seconds", where="seconds") from error


async def _reload(request: web.Request) -> web.Response:
    return web.json_response(await request.app[ACTS].reload(peer_uid(request)))


async def _evidence(request: web.Request) -> web.Response:
    form, signed = request.query.get("form", "json"), request.query.get("signed", "1") != "0"
    by = reader(request)
    return web.json_response(await request.app[EVIDENCE].evidence(request.match_info["call"], form, by, signed=signed))


async def _audit_entries(request: web.Request) -> web.Response:
    start = number(request, "start", 0)
    return web.json_response(await request.app[AUDIT].audit_entries(start, number(request, "end", 2**40)))


async def _audit_checkpoints(request: web.Request) -> web.Response:
    return web.json_response(await request.app[AUDIT].audit_checkpoints())


ROUTES = [
    web.post("/v1/calls/{call}/{act:withdraw|pause|resume|start|incident}", _act),
    web.post("/v1/reload", _reload),
    web.get("/v1/evidence/{call}", _evidence),
    web.get("/v1/audit/entries", _audit_entries),
    web.get("/v1/audit/checkpoints", _audit_checkpoints),
]
