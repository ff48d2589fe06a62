"""Who is asking: an edge by its signature over the request, a person by a bearer token stored hashed."""

from __future__ import annotations

import contextlib
import hashlib
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from aiohttp import web

from central.edgebook import Known, check_standing, unknown_edge
from central.errors import CentralError
from central.fleet import clientcert
from central.replay import SKEW
from central.state import CENTRAL, Central
from central.tokens import TokenRow, find
from formats import canonical
from formats.errors import FormatError
from formats.ids import is_id, parse_time
from formats.jws import verify_compact
from formats.keyset import KeySet

_log = structlog.get_logger("central")

TYP = "callwarden-request+json"
SCHEME = "Callwarden "
#: Largest request body on the wire, and after gunzip.
MAX_BODY = 1024 * 1024
MAX_PLAIN = 8 * 1024 * 1024


class RequestClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an edge signs for each request. `path` has the query string; `body_sha256` is of the bytes on the wire, hex."""

    edge_id: str
    iat: str
    method: str
    path: str
    body_sha256: str
    jti: str


@dataclass(frozen=True, slots=True)
class EdgeRequest:
    """A request whose signature was checked: `body` is decompressed. keys: the edge's present one first, and those it had
    before; the request itself is signed by the present one. known: what that was checked against."""

    edge_id: str
    keys: KeySet
    body: bytes
    known: Known


async def edge_request(request: web.Request, *, certificate: bool = True, confirms: bool = False) -> EdgeRequest:
    """Authenticate the edge named in the path. certificate False: also where certificates are demanded and it has none.
    confirms: the caller confirms `known` in the transaction that it answers from (`answered`).

    Raises CentralError auth.* (401, 403), usage.* (4xx).
    """
    central = request.app[CENTRAL]
    edge_id = request.match_info["edge_id"]
    raw = await request.read()
    known = await (central.edges.to_be_confirmed(edge_id) if confirms else central.edges.known(edge_id))
    if known is None:
        raise unknown_edge(edge_id)
    try:
        check_signature(central, request, raw, edge_id, known.key)
    except CentralError as error:
        # Perhaps it has another key by now. What was looked up just now is looked up no second time.
        again = await central.edges.known(edge_id) if error.code == "auth.unknown_key" else known
        if again is None or again is known:
            raise
        check_signature(central, request, raw, edge_id, again.key)
        known = again
    check_standing(known.state, edge_id)
    check_certificate(central, request, edge_id, demanded=certificate)
    if not confirms:
        # Only now: whoever cannot sign must neither look like this edge nor make us write.
        central.edges.saw(edge_id, central.now())
    return EdgeRequest(edge_id, known.keys, plain_body(request, raw), known)


@contextlib.contextmanager
def answered(central: Central, asked: EdgeRequest) -> Iterator[None]:
    """Around the transactions of a request that `confirms`: what they find to be otherwise is remembered no more, and only an
    edge that they find as it was remembered was seen."""
    try:
        yield
    except CentralError as error:
        if error.code.startswith("auth."):
            central.edges.forget(asked.edge_id)
        raise
    central.edges.saw(asked.edge_id, central.now())


def check_certificate(central: Central, request: web.Request, edge_id: str, *, demanded: bool) -> None:
    """Raises CentralError auth.certificate, auth.certificate_missing (403); see `central.fleet.clientcert.check`."""
    mode = central.config.client_certificates
    tls = request.get_extra_info("ssl_object")
    if mode != "off" and tls is not None:
        der = tls.getpeercert(binary_form=True)
        clientcert.check(der, edge_id, mode if demanded else "wanted", central.wall)


def check_signature(central: Central, request: web.Request, raw: bytes, edge_id: str, keys: KeySet) -> None:
    """The Authorization header signs exactly this request, now, for the first time. Raises CentralError auth.*"""
    header = request.headers.get("Authorization", "")
    if not header.startswith(SCHEME):
        raise CentralError("auth.missing", "the request is not signed", status=401, where="Authorization")
    try:
        verified = verify_compact(header[len(SCHEME) :].strip(), keys, TYP, "edge")
        claims = msgspec.convert(canonical.loads(verified.payload), RequestClaims)
        at = parse_time(claims.iat)
    except FormatError as error:
        raise CentralError(error.code, error.message, status=401, where="Authorization") from error
    except msgspec.ValidationError as error:
        raise CentralError("auth.claims", str(error), status=401, where="Authorization") from error
    now = central.wall()
    expected = (edge_id, request.method, request.raw_path, hashlib.sha256(raw).hexdigest())
    if (claims.edge_id, claims.method, claims.path, claims.body_sha256) != expected or not is_id(claims.jti):
        raise CentralError("auth.mismatch", "the signature is for another request", status=401, where="Authorization")
    if abs(now - at) > SKEW:
        raise CentralError(
            "auth.clock",
            f"signed at {claims.iat}, central's clock says {central.now()}",
            status=401,
            where="Authorization",
            hint="set the clocks of both hosts (NTP)",
            extra={"now": central.now()},
        )
    if not central.replays.first_time(edge_id, claims.jti, now):
        raise CentralError("auth.replay", "this request was seen before", status=401, where="Authorization")


def plain_body(request: web.Request, raw: bytes) -> bytes:
    """The body after gunzip. Raises CentralError usage.encoding, usage.too_large."""
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return raw
    if encoding != "gzip":
        raise CentralError("usage.encoding", "only gzip is understood", status=415, where="Content-Encoding")
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(raw, MAX_PLAIN)
    except zlib.error as error:
        raise CentralError("usage.encoding", "the body is not gzip", where="body") from error
    if unzip.unconsumed_tail or (not unzip.eof and len(plain) >= MAX_PLAIN):
        raise CentralError("usage.too_large", f"more than {MAX_PLAIN} bytes after gunzip", status=413, where="body")
    if not unzip.eof or unzip.unused_data:
        raise CentralError("usage.encoding", "the gzip stream is cut or has a tail", where="body")
    return plain


async def bearer(request: web.Request, roles: frozenset[str]) -> tuple[str, str, bytes, str]:
    """Demand a token with one of these roles; its label, its role, the body after gunzip, and the token's id.

    Raises CentralError auth.token, auth.token_over (401), auth.forbidden (403), auth.throttled (429), usage.* (4xx).
    """
    central = request.app[CENTRAL]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else ""
    row = await central.db.run(lambda conn: find(conn, given)) if given else None
    if row is None:
        hint = "send `Authorization: Bearer <token>`; callwarden central token new makes one"
        raise await _refused(request, CentralError("auth.token", "a token is needed", status=401, hint=hint), row)
    if (why := row.over(central.now())) is not None:
        raise await _refused(request, CentralError("auth.token_over", why, status=401), row)
    if row.role not in roles:
        hint = f"it takes one of role {', '.join(sorted(roles))}"
        told = f"a token of role {row.role} may not do this"
        raise await _refused(request, CentralError("auth.forbidden", told, status=403, hint=hint), row)
    return row.label, row.role, plain_body(request, await request.read()), row.id


async def _refused(request: web.Request, error: CentralError, row: TokenRow | None) -> CentralError:
    """Log a refused attempt, as long as there are not too many; the error to answer with."""
    central = request.app[CENTRAL]
    known = error.status == 403 and row is not None  # somebody we know, at a wrong door: told so however often they ask
    own, wait = central.guesses.refused(row.id if row is not None and known else request.remote, time.monotonic())
    resource = request.match_info.route.resource
    entry = {
        "door": f"{request.method} {resource.canonical if resource else ''}",
        "code": error.code,
        "token": None if row is None else row.id,
    }
    if own:
        # The address stays in the log of the process, which is thrown away some day; entries of the tree are not.
        _log.warning("refused", peer=request.remote, **entry)
        await central.db.run(lambda conn: central.log.append(conn, central.now(), "access.refused", entry))
    if wait and not known:
        return CentralError(
            "auth.throttled",
            "too many refused attempts came from this address",
            status=429,
            where="Authorization",
            hint="a right token passes at once; look at the one you send",
            extra={"retry_after": wait},
        )
    error.where = "Authorization"
    return error


async def write_unlogged(central: Central) -> None:
    """One entry for all refused attempts that had none of their own."""
    if count := central.guesses.take_unlogged():
        entry = {"count": count}
        await central.db.run(lambda conn: central.log.append(conn, central.now(), "access.refused_more", entry))


def json_answer(value: Any, status: int = 200) -> web.Response:
    """A JSON answer, canonical so that it can be compared and signed."""
    return web.Response(status=status, body=canonical.dumps(value), content_type="application/json")
