"""Routes that act on live calls, give evidence out, and tell of the audit log."""

from __future__ import annotations

from aiohttp import web

from edge.api.actdesk import StatedBy
from edge.api.backupdesk import Copy
from edge.api.carry import ACTS, AUDIT, BACKUPS, EVIDENCE, number, peer_uid, reader
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


async def _backups(request: web.Request) -> web.Response:
    return web.json_response(await request.app[BACKUPS].backups())


async def _backup_begun(request: web.Request) -> web.Response:
    query = request.query
    copy = Copy(request.match_info["id"], query.get("place", ""), query.get("expires") or None)
    return web.json_response(await request.app[BACKUPS].begin(copy, peer_uid(request)))


async def _backup_made(request: web.Request) -> web.Response:
    return web.json_response(await request.app[BACKUPS].finish(request.match_info["id"], peer_uid(request)))


async def _accept(request: web.Request) -> web.Response:
    reason = request.query.get("reason", "")
    return web.json_response(await request.app[BACKUPS].accept(peer_uid(request), reason))


ROUTES = [
    web.post("/v1/calls/{call}/{act:withdraw|pause|resume|start|incident}", _act),
    web.post("/v1/reload", _reload),
    web.get("/v1/evidence/{call}", _evidence),
    web.get("/v1/audit/entries", _audit_entries),
    web.get("/v1/audit/checkpoints", _audit_checkpoints),
    web.get("/v1/backups", _backups),
    web.post("/v1/backups/{id}", _backup_begun),
    web.post("/v1/backups/{id}/made", _backup_made),
    web.post("/v1/restore/accept", _accept),
]
