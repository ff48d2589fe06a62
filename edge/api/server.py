"""HTTP over the Unix socket. Handlers are thin: they name a desk's answer, and turn its errors into status codes.

Whoever can open the socket may ask everything, so its mode and group are the permission; the kernel tells us the uid.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web

from edge.api.deps import ApiDeps
from edge.api.desk import Desk, ReadBy
from edge.errors import CallwardenError, Exit

_log = structlog.get_logger("api")
_DESK = web.AppKey("desk", Desk)
#: Bytes of a payload handed on at a time.
_PIECE = 256 * 1024

_STATUS = {
    Exit.NOT_FOUND: 404,
    Exit.USAGE: 400,
    Exit.CONFIG: 400,
    Exit.REFUSED: 403,
    Exit.UNVERIFIED: 409,
    Exit.UNREACHABLE: 503,
    Exit.ENVIRONMENT: 503,
}


def make_app(deps: ApiDeps) -> web.Application:
    """The application; see docs/cli.md for its paths."""
    app = web.Application(middlewares=[_errors], client_max_size=64 * 1024)
    app[_DESK] = Desk(deps)
    app.add_routes(
        [
            web.get("/v1/status", _status),
            web.get("/v1/calls", _calls),
            web.get("/v1/recordings", _recordings),
            web.get("/v1/why/{call}", _why),
            web.get("/v1/recordings/{id}/bundle", _bundle),
            web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/header", _header),
            web.get("/v1/recordings/{id}/segments/{n:[0-9]{1,6}}/payload", _payload),
            web.post("/v1/recordings/{id}/exported", _exported),
            web.get("/v1/audit/entries", _audit_entries),
            web.get("/v1/audit/checkpoints", _audit_checkpoints),
        ]
    )
    return app


async def serve(app: web.Application, socket_path: Path, *, mode: int = 0o660, gid: int | None = None) -> web.AppRunner:
    """Listen on `socket_path`; the caller cleans the runner up. A socket left by a dead daemon is replaced, because the
    journal's lock has already shown that we are the only daemon. Raises CallwardenError environment.socket."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        listener = _bind(socket_path, mode, gid)
    except OSError as error:
        await runner.cleanup()
        raise CallwardenError(
            "environment.socket",
            f"cannot listen: {error.strerror or error}",
            hint="its folder must exist and belong to the daemon's user; a path has at most 107 bytes",
            where=str(socket_path),
        ) from error
    await web.SockSite(runner, listener).start()
    return runner


def _bind(path: Path, mode: int, gid: int | None) -> socket.socket:
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    # Nobody else gets in between bind and chmod. The umask is the whole process's: the owner's bits stay, or a folder
    # that the recorder's thread makes in this moment in the vault could never be entered.
    old = os.umask(0o077)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
    finally:
        os.umask(old)
    if gid is not None:
        os.chown(path, -1, gid)
    path.chmod(mode)
    return listener


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except CallwardenError as error:
        return web.json_response(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "hint": error.hint,
                    "where": error.where,
                    "retryable": error.retryable,
                }
            },
            status=_STATUS.get(error.exit_code, 500),
        )
    except web.HTTPException:
        raise
    except Exception:
        _log.exception("the local door failed on a request", path=request.path)
        failure = {"code": "bug", "message": "the daemon failed; its log has the cause", "hint": "", "where": "daemon"}
        return web.json_response({"error": failure}, status=500)


def _desk(request: web.Request) -> Desk:
    return request.app[_DESK]


def _peer_uid(request: web.Request) -> int:
    """uid of the process at the other end, from the kernel (SO_PEERCRED)."""
    assert request.transport is not None
    peer = request.transport.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _by(request: web.Request) -> ReadBy:
    return ReadBy(_peer_uid(request), request.query.get("purpose", "unstated"))


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise CallwardenError("usage.number", "not a number", where=name)
    return int(text)


async def _status(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).status())


async def _calls(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).calls())


async def _recordings(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).recordings())


async def _why(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).why(request.match_info["call"]))


async def _bundle(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).bundle(request.match_info["id"]))


async def _header(request: web.Request) -> web.Response:
    number = int(request.match_info["n"])
    body = await _desk(request).header(request.match_info["id"], number, _by(request))
    return web.Response(body=body, content_type="application/octet-stream")


async def _payload(request: web.Request) -> web.StreamResponse:
    path, left = await _desk(request).payload(request.match_info["id"], int(request.match_info["n"]))
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
    await _desk(request).exported(request.match_info["id"], form, _by(request))
    return web.json_response({"noted": True})


async def _audit_entries(request: web.Request) -> web.Response:
    start = _number(request, "start", 0)
    return web.json_response(await _desk(request).audit_entries(start, _number(request, "end", 2**40)))


async def _audit_checkpoints(request: web.Request) -> web.Response:
    return web.json_response(await _desk(request).audit_checkpoints())
