"""Holds every answer that a test of central gets against what central publishes about that door."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from central.app import all_doors
from central.openapi.document import document

_BASE = "urn:central"


@lru_cache
def _published() -> dict[str, Any]:
    return document(all_doors())


@lru_cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Templates as patterns, those without names first."""
    listed = sorted(_published()["paths"], key=lambda path: path.count("{"))
    return [(re.compile("".join(_piece(one) for one in re.split(r"(\{\w+\})", path)) + r"\Z"), path) for path in listed]


def _piece(text: str) -> str:
    return "[^/]+" if text.startswith("{") else re.escape(text)


@lru_cache
def _validator(*pointer: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource(
        _BASE, Resource.from_contents(_published(), default_specification=_spec())
    )
    escaped = "/".join(one.replace("~", "~0").replace("/", "~1") for one in pointer)
    return Draft202012Validator({"$ref": f"{_BASE}#/{escaped}"}, registry=registry)


def _spec() -> Any:
    from referencing.jsonschema import DRAFT202012

    return DRAFT202012


def conforms(method: str, path: str, status: int, media: str, value: Any) -> None:
    """Fail where the answer is none that the description of its door allows. `value`: the JSON in it."""
    found = next((template for pattern, template in _paths() if pattern.match(path.partition("?")[0])), None)
    operation = _published()["paths"].get(found, {}).get(method.lower())
    if operation is None:
        assert status in (401, 404, 405), f"{method} {path} is no door, and answered {status}"
        return
    if status == 500:  # a bug, or a disk: nobody is promised one
        return
    assert str(status) in operation["responses"], (
        f"{method} {found} answered {status}, which its declaration does not name: add it to `problems=` or `further=`"
    )
    one = operation["responses"][str(status)]
    pointer = ("paths", found, method.lower(), "responses", str(status))
    if "$ref" in one:
        pointer = ("components", "responses", str(status))
        one = _published()["components"]["responses"][str(status)]
    content = one.get("content", {})
    assert media in content or (not content and status == 204), f"{method} {found}: {media} is not declared"
    if "schema" in content.get(media, {}):
        faults = [
            f"{fault.json_path}: {fault.message}"
            for fault in _validator(*pointer, "content", media, "schema").iter_errors(value)
        ]
        assert not faults, f"{method} {found} {status} is not what its `answer=` says: {faults[:3]}"
