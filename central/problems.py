"""Every answer that is not a success is a problem document; a bug is a 500 that says nothing and logs everything."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog
from aiohttp import web

from central.errors import CentralError
from formats import canonical
from formats.errors import FormatError

_log = structlog.get_logger("central")

T = TypeVar("T")
#: How msgspec names a member in a sentence about the object it is in.
_NAMED: Final = re.compile(r"(?:missing required|contains unknown) field `([^`]*)`")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _problem(error: CentralError) -> web.Response:
    wait = error.extra.get("retry_after")
    return web.Response(
        status=error.status,
        body=json.dumps(error.document()).encode(),
        content_type="application/problem+json",
        headers=None if wait is None else {"Retry-After": str(wait)},
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Translate every exception into `application/problem+json`."""
    try:
        return await handler(request)
    except CentralError as error:
        return _problem(error)
    except FormatError as error:
        return _problem(CentralError(error.code, error.message, where="body"))
    except web.HTTPException as error:
        code = {404: "not_found.path", 405: "usage.method", 413: "usage.too_large"}.get(error.status, "usage.http")
        return _problem(CentralError(code, error.reason, status=error.status, where=request.path))
    except ConnectionError:
        raise
    except Exception:
        _log.exception("bug", method=request.method, path=request.path)
        return _problem(CentralError("central.bug", "central failed on this request", status=500, hint="see its log"))


def object_body(raw: bytes) -> dict[str, Any]:
    """A request body that must be one strict JSON object. Raises CentralError usage.json."""
    try:
        value = canonical.loads(raw)
    except FormatError as error:
        raise CentralError("usage.json", error.message, where="body") from error
    if not isinstance(value, dict):
        raise CentralError("usage.json", "the body must be a JSON object", where="body")
    return value


def converted(value: Any, kind: type[T]) -> T:
    """`value`, as JSON came, as a Struct. Raises CentralError usage.field with the member's path."""
    if _holds_nul(value):
        raise CentralError("usage.field", "a text holds NUL", where="body")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        where = path.rstrip("`")
        if (named := _NAMED.search(message)) is not None:  # a member that is missing, or one that nobody knows
            where = f"{where}.{named[1]}".removeprefix(".")
        raise CentralError("usage.field", message, where=where or "body") from error


def _holds_nul(value: Any) -> bool:
    """Whether any text in it holds the character that PostgreSQL's texts cannot."""
    if isinstance(value, dict):
        return any("\0" in name or _holds_nul(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def field(body: dict[str, Any], name: str, kind: type = str, *, optional: bool = False, longest: int = 4096) -> Any:
    """Member `name` of a body, checked for its type (bool is no int) and length. Raises CentralError usage.field."""
    value = body.get(name)
    if value is None and optional:
        return None
    right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if not right:
        raise CentralError("usage.field", f"{name} must be a {kind.__name__}", where=name)
    if isinstance(value, str) and (len(value) > longest or "\0" in value):
        raise CentralError("usage.field", f"{name} is too long or holds NUL", where=name)
    return value


def query_int(request: web.Request, name: str, default: int, *, low: int = 0, high: int = 2**53) -> int:
    """An integer of the query string within [low, high]. Raises CentralError usage.query."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high):
        raise CentralError("usage.query", f"{name} must be a whole number from {low} to {high}", where=name)
    return int(text)
