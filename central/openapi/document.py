"""The OpenAPI 3.1 document, from the declarations of the doors and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from central.doors import Door
from central.openapi.params import parameter
from central.roles import EDGE

PROBLEM: Final = "application/problem+json"
_REF: Final = "#/components/schemas/{name}"
_NAME: Final = re.compile(r"\{([a-z_]+)[^}]*\}")
#: What each refusal means, wherever it is answered.
REFUSALS: Final = {
    400: "What was sent is malformed; `where` names the member, parameter or header.",
    401: "Nobody known asks: the token is missing, unknown, over or revoked; or the request is not signed by the edge it names.",
    403: "Whoever asks may not do this, or the signatures in the body are not those that it takes.",
    404: "There is no such thing.",
    409: "It contradicts what is there, or cannot be yet.",
    410: "It was there and is gone.",
    411: "The length must be said.",
    412: "What is there is not what the condition names.",
    413: "The body is larger than is taken.",
    415: "The body's encoding or type is not taken.",
    422: "It cannot be done with what is there.",
    429: "Too many refused attempts came from this address; `Retry-After` says when to try again. A right token still passes.",
    500: "Central failed: this is a bug, and its log says more.",
    502: "What central needs beside itself did not do it.",
    503: "Not now: the database is away, or was put back from a backup and waits for its edges.",
    507: "There is no room.",
}
_TOP: Final = """\
Central keeps what edges report, signs and delivers orders, witnesses audit logs and answers people who run a fleet.

People and programs send `Authorization: Bearer <token>`; a token has one role. Edges sign each request. Every refusal is a
problem document (RFC 9457) with `code`, `what`, `where` and `hint`. Lists are paged by `after` and `limit`. A repeat of a
request changes nothing more. docs/api.md shows all of it with curl."""


class Problem(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457). `code`: dotted, family first; `where`: member, path or id; `hint`: what to do. Some have more members."""

    type: str
    title: str
    status: int
    code: str
    what: str
    where: str
    hint: str


def document(doors: Iterable[Door]) -> dict[str, Any]:
    """The description of these doors. Schemas of bodies and answers are made from their types."""
    listed = list(doors)
    types = [kind for one in listed for kind in (one.body, one.answer) if kind is not None]
    made, components = msgspec.json.schema_components([Problem, *types], ref_template=_REF)
    schema = dict(zip(map(_key, [Problem, *types]), made, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in sorted(listed, key=lambda door: (_template(door.path), door.method)):
        paths.setdefault(_template(one.path), {})[one.method.lower()] = _operation(one, schema)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Callwarden central", "version": "v1", "description": _TOP, "license": _LICENSE},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "the central that serves this document"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {str(status): _refusal(status, schema) for status in sorted(_refused(listed))},
            "securitySchemes": _SCHEMES,
        },
    }


_LICENSE: Final = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
_SCHEMES: Final[dict[str, Any]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of one role: `callwarden central token new --role ROLE --label TEXT`.",
    },
    "edge": {
        "type": "http",
        "scheme": "callwarden",
        "description": "`Authorization: Callwarden <compact JWS>` over method, path, body and time, by the key of the edge that "
        "the path names (docs/spec/sync.md, Transport).",
    },
}


def _key(kind: Any) -> str:
    """Types such as `list[Event]` have no identity of their own."""
    return repr(kind)


def _template(path: str) -> str:
    """`/v1/media/{digest:[0-9a-f]+}` as OpenAPI spells it."""
    return _NAME.sub(r"{\1}", path)


def _refused(doors: Iterable[Door]) -> set[int]:
    return {status for one in doors for status in one.refusals}


def _operation(one: Door, schema: dict[str, Any]) -> dict[str, Any]:
    words = re.sub(r"[^a-z0-9]+", "_", one.path.removeprefix("/v1").lower()).strip("_")
    made: dict[str, Any] = {
        "operationId": f"{one.method.lower()}_{words}",
        "tags": [_template(one.path).split("/")[2].removesuffix(".json")],
        "summary": one.summary,
        "description": _who(one),
        "security": [{"token": []}] if one.roles else [{"edge": []}] if EDGE in one.who else [],
    }
    if one.roles:
        made["x-callwarden-roles"] = sorted(one.roles)
    parameters = [
        *(parameter("path", name) for name in _NAME.findall(one.path)),
        *(parameter("query", name) for name in one.query),
        *(parameter("header", name) for name in one.headers),
    ]
    if parameters:
        made["parameters"] = parameters
    if one.takes_body:
        content = schema[_key(one.body)] if one.body is not None else {}
        made["requestBody"] = {
            "required": _demands(one.body),
            "content": {one.takes: {"schema": content} if content else {}},
        }
    content = schema[_key(one.answer)] if one.answer is not None else {}
    success: dict[str, Any] = {"description": "Done."}
    if one.status != 204:
        success["content"] = {one.gives: {"schema": content} if content else {}}
    made["responses"] = {str(status): success for status in (one.status, *one.further)} | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(one.refusals)
    }
    return made


def _demands(body: Any) -> bool:
    """Whether a request without a body is refused: one whose members are all optional may be left out."""
    struct = isinstance(body, type) and issubclass(body, msgspec.Struct)
    return not struct or any(field.required for field in msgspec.structs.fields(body))


def _who(one: Door) -> str:
    if one.roles:
        return f"Roles: {', '.join(sorted(one.roles))}."
    return "Signed by the edge that the path names." if EDGE in one.who else "Needs no token."


def _refusal(status: int, schema: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": REFUSALS.get(status, "Refused."),
        "content": {PROBLEM: {"schema": schema[_key(Problem)]}},
    }
    if status == 429:
        made["headers"] = {
            "Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}
        }
    return made
