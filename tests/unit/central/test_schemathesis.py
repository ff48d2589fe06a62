"""schemathesis reads what central publishes and sends what fits it and what does not, with and without authority: never a
5xx, never a status, media type or answer that the description does not name.

CALLWARDEN_SCHEMATHESIS=more sends twenty times as many (minutes).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from central import setup
from central.app import all_doors
from central.openapi.serve import text
from formats.wire import sign_batch
from tests.unit.central.central_kit import TestCentral, TestEdge, an_id

MORE = 20 if os.environ.get("CALLWARDEN_SCHEMATHESIS") == "more" else 1
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@dataclass
class Tried:
    """One request that schemathesis made up. `mode`: whether it fits the description."""

    door: str
    mode: str
    case: Any


@pytest.fixture(scope="session")
def tried() -> list[Tried]:
    """Made once for both engines, always the same: making them takes longer than sending them."""
    schema = schemathesis.openapi.from_dict(json.loads(text(all_doors())))
    found: list[Tried] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode, count in ((GenerationMode.POSITIVE, 5), (GenerationMode.NEGATIVE, 4)):
            made = examples(operation.as_strategy(generation_mode=mode), count * MORE)
            assert made or mode is GenerationMode.NEGATIVE  # a door that takes nothing cannot be sent what does not fit
            found += [Tried(operation.label, mode.value, case) for case in made]
    return found


def examples(strategy: Any, count: int) -> list[Any]:
    made: list[Any] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def collect(case: Any) -> None:
        made.append(case)

    with contextlib.suppress(Unsatisfiable):
        collect()
    return made


@pytest.fixture
async def central(tmp_path: Path, engine: str) -> AsyncIterator[TestCentral]:
    """One whose long-polls do not wait."""
    made = TestCentral(tmp_path / "central", postgres=engine)
    made.config = replace(made.config, poll_max_s=0.0)
    await made.start()
    yield made
    await made.stop()


class Signed(requests.auth.AuthBase):
    """The signature of an edge over the request as it goes out."""

    def __init__(self, edge: TestEdge) -> None:
        self.edge = edge

    def __call__(self, request: Any) -> Any:
        raw = request.body or b""
        body = raw.encode() if isinstance(raw, str) else raw
        claims = self.edge.claims(request.method, request.path_url, body)
        assert claims["body_sha256"] == hashlib.sha256(body).hexdigest()
        request.headers["Authorization"] = self.edge.authorization(claims)
        if "Callwarden-Signature" in request.headers:
            request.headers["Callwarden-Signature"] = sign_batch(body, self.edge.key)
        return request


async def known_things(central: TestCentral, edge: TestEdge) -> dict[str, str]:
    """Names that central knows, by the parameter that takes them."""
    recording = an_id()
    await edge.send(edge.opened(1, recording, key=secrets.token_bytes(32)))
    status, order = await central.admin("POST", "/v1/orders", {"order": await central.signed_order(recording)})
    assert status == 202
    token_id = setup.token_new(central.config, "ops", "to be revoked", None)[1].id
    return {"recording_id": recording, "jti": order["jti"], "edge_id": edge.edge_id, "token_id": token_id}


def learn(known: dict[str, str], answer: Any) -> None:
    """Names in an answer are names of things: `incident_id` and `ref` (a case) of what was just opened."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if (name.endswith("_id") or name == "ref") and isinstance(value, str):
                known.setdefault(name, value)
            learn(known, value)
    elif isinstance(answer, list):
        for one in answer:
            learn(known, one)


def send(
    central: TestCentral, edge: TestEdge, known: dict[str, str], tried: list[Tried]
) -> Iterator[tuple[Tried, requests.Response]]:
    """Each request with the authority it takes, and each third one with none."""
    signed, session = Signed(edge), requests.Session()
    session.trust_env = False
    kinds = {f"{one.method} {one.path}": one for one in all_doors()}
    for number, one in enumerate(tried):
        case, door = one.case, kinds[one.door]
        names = dict(case.path_parameters or {})
        for name in names.keys() & known.keys():
            # Not for long: an edge that was revoked could not be tried any more.
            if "edge" in door.who or (number % 2 and not door.path.endswith("/revoke")):
                names[name] = known[name]
        case.path_parameters = names
        headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
        case.headers = headers
        for authority in (True, False) if number % 3 == 0 else (True,):
            auth = signed if authority and "edge" in door.who else None
            if authority and door.roles:
                case.headers = {**headers, "Authorization": f"Bearer {central.token}"}
            try:
                answer = case.call(base_url=central.url, session=session, auth=auth, timeout=20)
            except requests.RequestException as error:
                error.add_note(case.as_curl_command())
                raise
            case.headers = headers
            if not authority and "anyone" not in door.who:
                assert answer.status_code in (401, 429, 400, 404), case.as_curl_command()
            yield one, answer


@pytest.mark.timeout(120 * MORE)
async def test_no_5xx_and_nothing_that_was_not_published(central: TestCentral, tried: list[Tried]) -> None:
    edge = TestEdge(central)
    known = await known_things(central, edge)
    seen: Counter[tuple[str, int]] = Counter()
    faults: list[str] = []

    def work() -> None:
        assert requests.get(central.url + "/v1/openapi.json", timeout=20).text == text(all_doors())
        for one, answer in send(central, edge, known, tried):
            seen[one.door, answer.status_code] += 1
            if answer.status_code < 300 and "json" in answer.headers.get("Content-Type", ""):
                learn(known, answer.json())
            try:
                one.case.validate_response(answer, checks=CHECKS)
            except FailureGroup as error:
                faults.append(f"{one.door}: {error}")

    await asyncio.to_thread(work)
    assert not faults, "\n\n".join(faults[:10])
    assert not [place for place in seen if place[1] >= 500]
    # The requests reached the doors: each was answered, and many of them once as it is meant to be (others take signatures).
    doors = {f"{one.method} {one.path}": one for one in all_doors()}
    assert {door for door, _ in seen} == set(doors)
    opened = {door for door, status in seen if status < 300}
    assert len(opened) > len(doors) * 0.4, sorted(set(doors) - opened)
