"""Enrolment: a one-time token of one hour turns an edge's public key into a pinned one, and gives it our keys."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from central import tls
from central.auth import check_signature, json_answer
from central.conn import Conn
from central.doors import Door, door, taken
from central.edgebook import edge_keys
from central.errors import CentralError
from central.fleet.clientcert import MAX_CSR, Issued
from central.fleet.issuing import issue_for, issues, note_issued
from central.openapi import answers, bodies
from central.problems import field, object_body
from central.state import CENTRAL, Central
from central.tokens import token_hash
from formats import canonical
from formats.enrolcode import enrolment_code
from formats.errors import FormatError
from formats.ids import format_time, parse_time
from formats.keys import VerifyKey, b64url
from formats.note import COSIGNATURE, NoteKey

TOKEN_LIFE = timedelta(hours=1)
PEM: Final = "application/x-pem-file"
_EDGE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")


def doors() -> list[Door]:
    """The doors of enrolment and of the key set."""
    return [
        door("GET", "/v1/ca", get_ca, "anyone", "Central's CA certificate, PEM.", gives=PEM, problems=(404,)),
        door(
            "POST",
            "/v1/enrolments",
            post_enrolment,
            "ops",
            "A one-time token for one edge.",
            status=201,
            body=bodies.EnrolmentBody,
            answer=answers.EnrolmentToken,
        ),
        door(
            "POST",
            "/v1/enrol",
            post_enrol,
            "anyone",
            "Pin an edge's key with a one-time token; the request is signed by that key.",
            status=201,
            body=bodies.EnrolBody,
            answer=answers.Trust,
            problems=(401, 403, 409),
        ),
        door(
            "POST",
            "/v1/keys",
            post_key,
            "admin",
            "Register a person's public key.",
            status=201,
            further=(200,),
            body=bodies.KeyBody,
            answer=answers.RegisteredKey,
        ),
        door(
            "GET",
            "/v1/keys",
            get_keys,
            "ops dpo auditor",
            "The key set, as a trust file.",
            answer=answers.KeySetDocument,
        ),
    ]


def check_edge_id(edge_id: str) -> str:
    """The edge's name if it is one. Raises CentralError usage.edge_id."""
    if _EDGE_ID.match(edge_id) is None:
        raise CentralError(
            "usage.edge_id",
            "an edge's name is lower-case letters, digits, dot, dash, underscore; 63 at most",
            where="edge_id",
        )
    return edge_id


def new_token(conn: Conn, now: str, ca_fingerprint: str, edge_id: str | None) -> tuple[str, str]:
    """Job: a fresh enrolment token and when it ends. The token carries the CA's fingerprint (`-` without TLS)."""
    token = f"cwe1.{b64url(secrets.token_bytes(32))}.{ca_fingerprint or '-'}"
    expires = format_time(parse_time(now) + TOKEN_LIFE)
    conn.execute("INSERT INTO enrolment VALUES (?,?,?,?,NULL,NULL)", (token_hash(token), edge_id, now, expires))
    return token, expires


def register(
    conn: Conn, central_now: str, edge_id: str, key: VerifyKey, *, waiting: bool = False, code: str = ""
) -> bool:
    """Job: pin an edge's key. The same key again is fine (False); another key for the name is refused. waiting: it may not
    speak until somebody compared `code`."""
    row = conn.execute("SELECT kid, state FROM edge WHERE edge_id=?", (edge_id,)).fetchone()
    if row is not None:
        if row["state"] == "revoked":
            raise CentralError(
                "auth.edge_revoked",
                "an edge of this name was revoked",
                status=409,
                where=edge_id,
                hint="a revocation is for good: enrol under another name with a new key",
            )
        if row["kid"] == key.kid:
            return False
        raise CentralError(
            "auth.edge_taken",
            "this name is enrolled with another key",
            status=409,
            where=edge_id,
            hint="choose another edge id, or retire the old edge first",
        )
    if conn.execute(
        "SELECT kid FROM edge WHERE kid=? UNION SELECT kid FROM edge_key WHERE kid=?", (key.kid,) * 2
    ).fetchone():
        raise CentralError("auth.edge_cloned", "this key belongs to another edge", status=409, where=edge_id)
    if conn.execute("SELECT 1 FROM key WHERE kid=?", (key.kid,)).fetchone():
        raise CentralError("auth.role", "this key is a person's", status=409, where="jwk")
    conn.execute(
        "INSERT INTO edge(edge_id, kid, jwk, enrolled_at, state, state_at, code) VALUES (?,?,?,?,?,?,?)",
        (
            edge_id,
            key.kid,
            canonical.dumps(key.jwk()).decode(),
            central_now,
            "waiting" if waiting else "enrolled",
            central_now,
            code or None,
        ),
    )
    return True


def register_person(conn: Conn, now: str, role: str, owner: str, key: VerifyKey, own: Collection[str]) -> bool:
    """Job: add a DPO's or auditor's public key to the key set; False when it is there already with that role. own: the kids of
    central's keys. A key that is listed twice would make the whole set one that nobody may believe."""
    if role not in ("dpo", "auditor"):
        raise CentralError("usage.role", "role must be dpo or auditor", where="role")
    row = conn.execute("SELECT role FROM key WHERE kid=?", (key.kid,)).fetchone()
    if row is not None:
        if row["role"] != role:
            raise CentralError("auth.role", "this key has another role already", status=409, where="jwk")
        return False
    edges = "SELECT kid FROM edge WHERE kid=? UNION SELECT kid FROM edge_key WHERE kid=?"
    if key.kid in own or conn.execute(edges, (key.kid,) * 2).fetchone() is not None:
        raise CentralError("auth.role", "this key is central's or an edge's", status=409, where="jwk")
    conn.execute(
        "INSERT INTO key VALUES (?,?,?,?,?,NULL)", (key.kid, role, owner, canonical.dumps(key.jwk()).decode(), now)
    )
    return True


def trust_answer(central: Central, conn: Conn, edge_id: str) -> dict[str, Any]:
    """What an edge pins: the key set as a document, the witness's verifier key, names."""
    keys = central.keys(conn, edge_id)
    return {
        "edge_id": edge_id,
        "fleet": central.config.fleet,
        "keyset": canonical.loads(keys.dump()),
        "witness_vkey": str(NoteKey(central.config.witness_name, COSIGNATURE, central.witness.verify_key)),
        "log_origin": central.config.log_origin,
    }


def public_key(jwk: dict[str, Any]) -> VerifyKey:
    """The `jwk` member of a body. Raises CentralError auth.key."""
    try:
        return VerifyKey.from_jwk(jwk)
    except FormatError as error:
        raise CentralError("auth.key", error.message, where="jwk") from error


def ca_fingerprint(central: Central) -> str:
    """SHA-256 of our CA certificate, hex; empty without TLS."""
    return tls.fingerprint(central.config.ca.read_bytes()) if central.config.tls else ""


async def get_ca(request: web.Request) -> web.Response:
    """Our CA certificate, for an edge that has its fingerprint in its token."""
    central = request.app[CENTRAL]
    if not central.config.tls:
        raise CentralError("not_found.ca", "central runs without TLS", status=404)
    return web.Response(body=central.config.ca.read_bytes(), content_type=PEM)


async def post_enrolment(request: web.Request) -> web.Response:
    """Administrator: a token for one edge, shown once, stored hashed."""
    central, edge_id = request.app[CENTRAL], taken(request, bodies.EnrolmentBody).edge_id
    if edge_id is not None:
        check_edge_id(edge_id)

    def job(conn: Conn) -> tuple[str, str]:
        central.log.append(conn, central.now(), "enrolment.offered", {"edge_id": edge_id})
        return new_token(conn, central.now(), ca_fingerprint(central), edge_id)

    token, expires = await central.db.run(job)
    return json_answer({"token": token, "expires_at": expires}, 201)


async def post_enrol(request: web.Request) -> web.Response:
    """Edge: token and public key, the request signed by that key (so nobody enrols a key they do not have). With `csr` the
    answer has a TLS `certificate`, unless the edge has to wait for approval or central issues none."""
    central = request.app[CENTRAL]
    raw = await request.read()
    body = object_body(raw)
    token, edge_id, key = (
        field(body, "token"),
        check_edge_id(field(body, "edge_id")),
        public_key(field(body, "jwk", dict)),
    )
    csr = field(body, "csr", optional=True, longest=MAX_CSR)
    check_signature(central, request, raw, edge_id, edge_keys(edge_id, key))
    await central.db.run(lambda conn: _offered(conn, token, edge_id, key, central.now()))  # before anything costly
    code = await asyncio.to_thread(enrolment_code, edge_id, key.kid, central.store.kid, central.witness.kid)
    issued: Issued | None = None
    if csr is not None and not central.config.approve_enrolments and issues(central.config):
        issued = await asyncio.to_thread(issue_for, central.config, edge_id, csr, central.wall())

    def job(conn: Conn) -> dict[str, Any]:
        now, waiting = central.now(), central.config.approve_enrolments
        conn.exclusive(f"enrolment:{token_hash(token)}")
        _offered(conn, token, edge_id, key, now)
        made = register(conn, now, edge_id, key, waiting=waiting, code=code)
        used = (now, key.kid, token_hash(token))
        conn.execute("UPDATE enrolment SET used_at=?, used_by=? WHERE token_sha256=?", used)
        (state,) = conn.execute("SELECT state FROM edge WHERE edge_id=?", (edge_id,)).fetchone()
        if made:
            said = {"edge_id": edge_id, "kid": key.kid, "waiting": waiting}
            central.log.append(conn, now, "edge.enrolled", said)
        given = issued if state == "enrolled" else None
        if given is not None:
            note_issued(central, conn, edge_id, given)
        certificate = None if given is None else given.pem
        return {**trust_answer(central, conn, edge_id), "state": state, "certificate": certificate}

    return json_answer(await central.db.run(job), 201)


def _offered(conn: Conn, token: str, edge_id: str, key: VerifyKey, now: str) -> None:
    """Job: this edge may enrol with this token and key. Raises CentralError auth.enrolment* (403)."""
    row = conn.execute("SELECT * FROM enrolment WHERE token_sha256=?", (token_hash(token),)).fetchone()
    if row is None or (row["edge_id"] not in (None, edge_id)):
        raise CentralError("auth.enrolment", "the token is not known for this edge", status=403, where="token")
    # The answer to the first use may have been lost: the same edge with the same key may ask again.
    if row["used_by"] not in (None, key.kid):
        raise CentralError("auth.enrolment_used", "the token was used before", status=403, where="token")
    if row["expires_at"] < now:
        raise CentralError(
            "auth.enrolment_expired",
            f"the token ended at {row['expires_at']}",
            status=403,
            where="token",
            hint="ask for a new one: `callwarden central enrol-token`",
        )


async def post_key(request: web.Request) -> web.Response:
    """Administrator: register a person's public key. Edges pin the key set at enrolment."""
    body, central = taken(request, bodies.KeyBody), request.app[CENTRAL]
    role, owner, key = body.role, body.owner, public_key(body.jwk)

    def job(conn: Conn) -> bool:
        made = register_person(conn, central.now(), role, owner, key, (central.store.kid, central.witness.kid))
        if made:
            central.log.append(conn, central.now(), "key.registered", {"kid": key.kid, "role": role})
            # Whoever has only the token could make a person of their own for the edges to come.
            central.alarm(conn, "", "key.registered", f"edges that enrol from now on believe {role} {owner}, {key.kid}")
        return made

    made = await central.db.run(job)
    return json_answer({"kid": key.kid, "role": role, "owner": owner}, 201 if made else 200)


async def get_keys(request: web.Request) -> web.Response:
    """Administrator: the whole key set, as a trust file."""
    central = request.app[CENTRAL]
    keys = await central.db.run(central.keys)
    return web.Response(body=keys.dump(), content_type="application/json")
