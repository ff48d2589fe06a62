"""HTTP over the Unix socket. Handlers are thin: they name a desk's answer, and turn its errors into status codes.

Whoever can open the socket may ask everything, so its mode and group are the permission; the kernel tells us the uid.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from edge.api import routes_act, routes_keeping, routes_read, verifydesk
from edge.api.actdesk import ActDesk
from edge.api.adoptdesk import AdoptDesk
from edge.api.auditdesk import AuditDesk
from edge.api.backupdesk import BackupDesk
from edge.api.carry import ACTS, AUDIT, BACKUPS, DESK, EVIDENCE, KEEPING
from edge.api.deps import ApiDeps
from edge.api.desk import Desk
from edge.api.evidencedesk import EvidenceDesk
from edge.api.keepingdesk import KeepingDesk
from edge.api.routes_adopt import ADOPT
from edge.api.routes_adopt import ROUTES as ADOPT_ROUTES
from edge.api.routes_erasure import ERASURE, ErasureDesk
from edge.api.routes_erasure import ROUTES as ERASURE_ROUTES
from edge.api.routes_key import at_the_door as keys_at_the_door
from edge.errors import CallwardenError, Exit

_log = structlog.get_logger("api")

_STATUS = {
    Exit.NOT_FOUND: 404,
    Exit.USAGE: 400,
    Exit.CONFIG: 400,
    Exit.REFUSED: 403,
    Exit.UNVERIFIED: 409,
    Exit.UNREACHABLE: 503,
    Exit.ENVIRONMENT: 503,
    Exit.PENDING: 503,
}
#: Where HTTP has a word of its own.
_CODE_STATUS = {"command.range": 416}


def make_app(deps: ApiDeps) -> web.Application:
    """The application; see docs/cli.md for its paths."""
    app = web.Application(middlewares=[_errors, _gate(deps)], client_max_size=64 * 1024)
    app[DESK] = desk = Desk(deps)
    app[ADOPT] = AdoptDesk(deps)
    app.add_routes(ADOPT_ROUTES)
    app[ERASURE] = ErasureDesk(deps)
    app.add_routes(ERASURE_ROUTES)
    app[BACKUPS] = BackupDesk(deps)
    app[ACTS], app[AUDIT], app[EVIDENCE] = ActDesk(deps), AuditDesk(deps), EvidenceDesk(deps, desk)
    app[verifydesk.VERIFY], app[KEEPING] = verifydesk.VerifyDesk(deps), KeepingDesk(deps, desk)
    app.add_routes([*routes_read.ROUTES, *routes_act.ROUTES, *routes_keeping.ROUTES, *verifydesk.ROUTES])
    keys_at_the_door(app, deps)
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


#: What answers also while a restored journal is not settled, whatever the method: it gives nothing out that could have been
#: erased since. What is not here is refused, also what is added one day.
ALWAYS: Final = ("/v1/status", "/v1/audit/", "/v1/backups", "/v1/restore/", "/v1/reload")
#: And what is done meanwhile: acts on live calls, holds (they only keep), the end of an adoption that is on its way.
_DONE: Final = re.compile(r"/v1/calls/[^/]+/[a-z]+|/v1/holds|/v1/holds/[^/]+/release|/v1/adopt/[^/]+/(removing|gone)")


def _gate(deps: ApiDeps) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def gate(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        free = request.path.startswith(ALWAYS) or (request.method == "POST" and _DONE.fullmatch(request.path))
        if not free and (refusal := deps.refusal()) is not None:
            raise refusal
        return await handler(request)

    return gate


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except CallwardenError as error:
        size = {"Content-Range": f"bytes */{error.where}"} if error.code == "command.range" else None
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
            status=_CODE_STATUS.get(error.code) or _STATUS.get(error.exit_code, 500),
            headers=size,
        )
    except web.HTTPException:
        raise
    except Exception:
        _log.exception("the local door failed on a request", path=request.path)
        failure = {"code": "bug", "message": "the daemon failed; its log has the cause", "hint": "", "where": "daemon"}
        return web.json_response({"error": failure}, status=500)
