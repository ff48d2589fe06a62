"""What central publishes about its doors.

Renew docs/openapi.json and the table in docs/api.md with: CALLWARDEN_WRITE_DOCS=1 python -m pytest tests/unit/central/test_openapi.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from central.app import all_doors
from central.doors import Param, door
from central.openapi.document import document
from central.openapi.serve import text
from central.roles import ADMIN, EDGE, ROLES
from tests.unit.central.central_kit import TestCentral
from tests.unit.central.conformance import conforms

DOCS = Path(__file__).parents[3] / "docs" / "openapi.json"
PAGE = DOCS.with_name("api.md")
BEGIN, END = "<!-- doors begin -->\n", "<!-- doors end -->\n"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return document(all_doors())


def operations(published: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(m.upper(), path): one for path, methods in published["paths"].items() for m, one in methods.items()}


def test_the_published_file_is_what_is_served() -> None:
    new = text(all_doors())
    if os.environ.get("CALLWARDEN_WRITE_DOCS") == "1":
        DOCS.write_text(new, "utf-8")
        return
    assert DOCS.read_text("utf-8") == new, "a door changed: renew docs/openapi.json (see the head of this test)"


def test_the_table_of_doors_is_the_declarations() -> None:
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    old, _, tail = rest.partition(END)
    new = table()
    if os.environ.get("CALLWARDEN_WRITE_DOCS") == "1":
        PAGE.write_text(head + BEGIN + new + END + tail, "utf-8")
        return
    assert old == new, "a door changed: renew docs/api.md (see the head of this test)"


def table() -> str:
    rows = ["| door | who | |", "|---|---|---|"]
    for one in sorted(all_doors(), key=lambda one: (one.path, one.method)):
        who = " ".join(role for role in ROLES if role in one.roles and role != ADMIN) or ADMIN
        rows.append(f"| `{one.method} {one.path}` | {who if one.roles else ' '.join(one.who)} | {one.summary} |")
    return "\n".join(rows) + "\n"


async def test_anybody_can_read_it(central: TestCentral) -> None:
    async with aiohttp.ClientSession() as session, session.get(central.url + "/v1/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.text() == text(all_doors())


def test_it_is_openapi_3_1(published: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(OPENAPI_31).validate(published)
    for schema in published["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    pointers = set(_references(published))
    assert len(pointers) > 20
    for pointer in pointers:
        at: Any = published
        for part in pointer.removeprefix("#/").split("/"):
            at = at[part]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for inner in value.values() for one in _references(inner)]
    return [one for inner in value for one in _references(inner)] if isinstance(value, list) else []


def test_an_oracle_that_takes_everything_would_not_do(published: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(published))
    next(iter(broken["paths"].values()))["get"]["responses"] = {"ok": {}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(OPENAPI_31).validate(broken)


def test_every_door_is_in_it_once_with_its_authority(published: dict[str, Any]) -> None:
    found = operations(published)
    assert set(found) == {(one.method, one.path) for one in all_doors()}
    assert len({one["operationId"] for one in found.values()}) == len(found)
    for one in all_doors():
        made = found[one.method, one.path]
        wanted = [{"token": []}] if one.roles else [{"edge": []}] if EDGE in one.who else []
        assert made["security"] == wanted
        assert set(made.get("x-callwarden-roles", ())) == one.roles
        assert all(role in made["description"] for role in one.roles)
        assert {status for status in made["responses"] if status >= "400"} == {str(n) for n in one.refusals}


def test_every_door_says_what_goes_in_and_out() -> None:
    """JSON without a type would be a door that only its author knows."""
    silent = [
        f"{one.method} {one.path}"
        for one in all_doors()
        if one.gives == "application/json" and one.answer is None and one.status != 204
    ]
    assert silent == []
    deaf = [
        f"{one.method} {one.path}"
        for one in all_doors()
        if one.method in ("POST", "PUT", "PATCH") and not one.takes_body
    ]
    assert deaf == []


def test_a_door_of_other_media_and_headers_is_described() -> None:
    async def nobody(request: Any) -> Any:
        raise AssertionError

    one = door(
        "PUT", r"/v1/things/{digest:[0-9a-f]+}", nobody, "edge", "Bytes.", takes="application/octet-stream",
        status=204, headers=(Param("Upload-Offset", "Bytes that are there.", {"type": "integer"}, required=True),),
        query=("limit", Param("why", required=True)), problems=(410,),
    )  # fmt: skip
    made = document([one])["paths"]["/v1/things/{digest}"]["put"]
    assert made["requestBody"] == {"required": True, "content": {"application/octet-stream": {}}}
    assert [(p["name"], p["in"], p.get("required", False)) for p in made["parameters"]] == [
        ("digest", "path", True),
        ("limit", "query", False),
        ("why", "query", True),
        ("Upload-Offset", "header", True),
    ]
    assert "content" not in made["responses"]["204"]
    assert "410" in made["responses"]
    jsonschema.Draft202012Validator(OPENAPI_31).validate(document([one]))


@pytest.mark.parametrize(
    ("status", "media", "value"),
    [
        (200, "application/json", {"alarms": [{"id": "one"}]}),
        (200, "text/plain", {"alarms": []}),
        (418, "application/problem+json", {}),
        (401, "application/problem+json", {"code": "auth.token"}),
    ],
)
def test_an_answer_that_was_not_published_is_noticed(status: int, media: str, value: Any) -> None:
    conforms("GET", "/v1/alarms?limit=3", 200, "application/json", {"alarms": []})
    with pytest.raises(AssertionError):
        conforms("GET", "/v1/alarms?limit=3", status, media, value)
