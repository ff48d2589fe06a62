"""A real central on loopback for tests, an enrolled edge that can sign or forge, and an administrator."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from central import setup
from central.app import Running, start
from edge.sync.uplink import tls_context
from formats import canonical
from formats.ids import format_time
from formats.jws import sign_compact
from formats.keys import SigningKey, b64url
from formats.orders import sign_order
from formats.orders.claims import OrderClaims, decode
from formats.wire import Event, encode_batch, sign_batch
from tests.unit.central.conformance import conforms


def a_key() -> SigningKey:
    return SigningKey.from_seed(os.urandom(32))


def an_id() -> str:
    return secrets.token_hex(16)


@dataclass
class TestCentral:
    """Central with a movable clock and a port that survives restarts."""

    __test__ = False

    folder: Path
    offset: timedelta = timedelta(0)
    running: Running | None = None
    dpo: SigningKey = field(default_factory=a_key)
    tls: bool = False
    postgres: str = ""

    def __post_init__(self) -> None:
        self.made = setup.init(self.folder, "127.0.0.1:0", use_tls=self.tls, postgres=self.postgres)
        self.config = self.made.config
        setup.register_key(self.config, "dpo", "Dana", self.dpo.verify_key)
        self.token = self.config.token.read_text().strip()

    def failure(self) -> Exception:
        """What this engine's driver raises when its disk is full."""
        if not self.postgres:
            return sqlite3.OperationalError("database or disk is full")
        import psycopg

        return psycopg.errors.DiskFull("could not extend file: No space left on device")

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.offset

    async def start(self) -> None:
        self.running = await start(self.config, wall=self.wall)
        self.config = replace(self.config, port=int(self.running.url.rsplit(":", 1)[1]))

    async def stop(self) -> None:
        if self.running is not None:
            await self.running.stop()
            self.running = None

    @property
    def url(self) -> str:
        return self.config.url

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self.running is not None
        return await self.running.central.db.run(lambda conn: [tuple(r) for r in conn.execute(query, values)])

    async def admin(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """A request with the administrator's token, or another: (status, JSON)."""
        raw = None if body is None else body if isinstance(body, bytes) else canonical.dumps(body)
        return await self.ask(method, path, raw, {"Authorization": f"Bearer {token or self.token}"})

    async def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        """A request as it is: (status, JSON)."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                self.url + path,
                data=body,
                headers=headers,
                ssl=tls_context(self.url, self.config.ca.read_bytes() if self.tls else None),
            ) as answer,
        ):
            return await self.read_answer(method, path, answer)

    async def read_answer(self, method: str, path: str, answer: aiohttp.ClientResponse) -> tuple[int, Any]:
        """Status and JSON of an answer, which is one that central publishes for this door."""
        value = await answer.json(content_type=None)
        conforms(method, path, answer.status, answer.content_type, value)
        return answer.status, value

    async def signed_order(self, recording_id: str, *keys: SigningKey, cmd: str = "erase") -> dict[str, Any]:
        """A drafted order, signed by `keys` (the registered DPO where none is given)."""
        status, draft = await self.admin(
            "POST",
            "/v1/orders/draft",
            {"cmd": cmd, "target": {"kind": "recording", "id": recording_id}, "reason": "asked for"},
        )
        assert status == 200, draft
        claims = decode(canonical.dumps(draft["claims"]), OrderClaims)
        return sign_order(claims, keys or (self.dpo,))


@dataclass
class TestEdge:
    """An enrolled edge whose requests can be made wrong."""

    __test__ = False

    central: TestCentral
    edge_id: str = "pbx-1"
    key: SigningKey = field(default_factory=a_key)
    incarnation: int = 1
    enrol: bool = True

    def __post_init__(self) -> None:
        if self.enrol:
            setup.register_edge(self.central.config, self.edge_id, self.key.verify_key)

    def claims(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        return {
            "edge_id": self.edge_id,
            "iat": format_time(self.central.wall()),
            "method": method,
            "path": path,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "jti": an_id(),
        }

    def authorization(self, claims: dict[str, Any], typ: str = "callwarden-request+json") -> str:
        return "Callwarden " + sign_compact(canonical.dumps(claims), self.key, self.key.kid, typ)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] = b"",
        *,
        headers: dict[str, str] | None = None,
        authorization: str | None = None,
        changed: dict[str, Any] | None = None,
    ) -> tuple[int, Any]:
        """(status, JSON) of a request signed by this edge; `changed` replaces claims, `authorization` the header."""
        raw = body if isinstance(body, bytes) else canonical.dumps(body)
        if authorization is None:
            authorization = self.authorization(self.claims(method, path, raw) | (changed or {}))
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                self.central.url + path,
                data=raw or None,
                headers={"Authorization": authorization, **(headers or {})},
            ) as answer,
        ):
            return await self.central.read_answer(method, path, answer)

    def path(self, rest: str) -> str:
        return f"/v1/edges/{self.edge_id}/{rest}"

    def event(self, seq: int, kind: str, subject: str, data: dict[str, Any]) -> Event:
        return Event(
            id=hashlib.sha256(f"{self.edge_id}.{self.incarnation}.{seq}".encode()).hexdigest()[:32],
            source=self.edge_id,
            type=kind,
            subject=subject,
            time="2026-01-01T00:00:00.000Z",
            sequence=seq,
            incarnation=self.incarnation,
            data=data,
        )

    async def send(self, *events: Event) -> tuple[int, Any]:
        body = encode_batch(events)
        return await self.ask(
            "POST", self.path("events"), body, headers={"Callwarden-Signature": sign_batch(body, self.key)}
        )

    def opened(self, seq: int, recording_id: str, *, key: bytes | None, segment_id: str | None = None) -> Event:
        """A `recording.opened` with a header and, where `key` is given, its shred key."""
        header: dict[str, Any] = {
            "version": 0,
            "suite": "age1",
            "sealed_header": b64url(b"sealed" + recording_id.encode()),
            "recipients": ["age1x"],
            "key_id": hashlib.sha256(recording_id.encode()).hexdigest(),
        }
        header |= {"shredded": True} if key is None else {"shred_key": b64url(key)}
        call_id = hashlib.sha256(b"call" + recording_id.encode()).hexdigest()[:32]
        return self.event(
            seq,
            "recording.opened",
            recording_id,
            {
                "recording_id": recording_id,
                "call_id": call_id,
                "segment_id": segment_id or hashlib.sha256(b"s" + recording_id.encode()).hexdigest()[:32],
                "number": 0,
                "header": header,
                "purposes": ["quality"],
            },
        )

    def replaced(self, seq: int, recording_id: str, *, key: bytes, version: int = 1) -> Event:
        """A `header.replaced`: a further header of the segment of `opened`, with its shred key."""
        opened = self.opened(seq, recording_id, key=key)
        header = {**opened.data["header"], "version": version, "sealed_header": b64url(b"further" + key[:4])}
        return self.event(seq, "header.replaced", recording_id, {**opened.data, "header": header, "statement": "a.b.c"})


@asynccontextmanager
async def a_central(folder: Path, *, tls: bool = False, postgres: str = "") -> AsyncIterator[TestCentral]:
    """A started central in `folder`, its database there or at `postgres`."""
    central = TestCentral(folder, tls=tls, postgres=postgres)
    await central.start()
    try:
        yield central
    finally:
        await central.stop()


async def role_token(central: TestCentral, role: str) -> str:
    """A bearer token of this role, made in the database."""
    token = secrets.token_hex(16)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert central.running is not None
    sql = "INSERT INTO admin_token(token_sha256, label, created_at, role) VALUES (?,?,?,?)"
    values = (digest, role, format_time(central.wall()), role)
    await central.running.central.db.run(lambda conn: conn.execute(sql, values))
    return token
