"""Parameters that mean the same at every door, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from central.doors import Param

_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_SHORT: Final = {"type": "string", "maxLength": 200}

QUERY: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "after": (
        "What follows this number; the last item's of the page before.",
        {"type": "integer", "minimum": 0, "maximum": 2**53},
    ),
    "limit": ("At most so many items.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
    "wait": (
        "Wait so many seconds for something to come, or less.",
        {"type": "integer", "minimum": 0, "maximum": 3600, "default": 25},
    ),
    "jti": ("Only of this order.", _ID),
    "recording_id": ("Only of this recording.", _ID),
    "call_id": ("Only of this call.", _ID),
    "edge_id": ("Only of this edge.", _SHORT),
    "purpose": (
        "What it is read for, one of those the answer covers; default: the first.",
        {"type": "string", "maxLength": 80},
    ),
    "case": ("The number of a case, for central's log.", {"type": "string", "maxLength": 80}),
}
PATH: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "edge_id": ("The edge's name.", _SHORT),
    "recording_id": ("The recording.", _SHORT),
    "call_id": ("The call.", _SHORT),
    "receipt_id": ("The receipt.", _SHORT),
    "token_id": ("The first 16 hex digits of the token's SHA-256.", _SHORT),
    "jti": ("The order.", _SHORT),
}


def parameter(where: str, one: str | Param) -> dict[str, Any]:
    """A parameter object; `where`: "query", "path" or "header"."""
    param = one if isinstance(one, Param) else Param(one)
    known = {"query": QUERY, "path": PATH}.get(where, {}).get(param.name, ("", {"type": "string"}))
    made: dict[str, Any] = {"name": param.name, "in": where, "schema": dict(param.schema or known[1])}
    if param.required or where == "path":
        made["required"] = True
    if description := param.description or known[0]:
        made["description"] = description
    return made
