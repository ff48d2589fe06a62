"""HTTP to central: a pinned authority, a signature over every request, errors in our words.

Integrity is end to end (batches, orders, receipts and checkpoints carry signatures of their own), so the transport only
has to be private and to say who asks. The edge's TLS certificate is a second proof of that; it is offered while it holds.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from edge.errors import CallwardenError
from edge.ports import Clock
from edge.sync.tlskey import Certificate
from formats import canonical
from formats.errors import FormatError
from formats.jws import sign_compact
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet, entry

REQUEST_TYP = "callwarden-request+json"
#: An answer larger than this is not central's.
MAX_ANSWER = 16 * 1024 * 1024
#: Bodies beyond this are compressed in a thread, so that the event loop is not held.
_THREAD_OVER = 64 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Refusal(CallwardenError):
    """Central answered with a problem document: `status`, and `problem` as it came (may be empty)."""

    def __init__(self, status: int, problem: Mapping[str, Any], where: str) -> None:
        code = str(problem.get("code") or f"http_{status}")
        super().__init__(
            "sync.refused" if status < 500 and status != 429 else "sync.busy",
            f"central answered {status} {code}: {problem.get('what') or 'no reason given'}",
            hint=str(problem.get("hint") or ""),
            retryable=status >= 500 or status == 429,
            where=where,
        )
        self.status = status
        self.problem = problem
        self.central_code = code


def tls_context(url: str, ca_pem: bytes | None) -> ssl.SSLContext | bool:
    """What to trust for `url`: only `ca_pem` where given. Raises CallwardenError config.central."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        if parts.hostname not in _LOOPBACK:
            raise CallwardenError(
                "config.central",
                f"plain HTTP is for loopback only, not {parts.hostname}",
                where=url,
                hint="use https://",
            )
        return True
    if parts.scheme != "https" or not parts.hostname:
        raise CallwardenError("config.central", "central's address must begin with https://", where=url)
    if ca_pem is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise CallwardenError("config.central", "the CA file holds no certificate", where=url) from error
    return context


class Uplink:
    """One edge's session with central. `random_bytes(n)` gives request ids; `key` is the edge's signing key, `trust` the pinned
    key set, for the keys it had before."""

    def __init__(
        self,
        url: str,
        edge_id: str,
        key: SigningKey,
        *,
        ca_pem: bytes | None,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        trust: KeySet | None = None,
    ) -> None:
        self._base = url.rstrip("/")
        self._tls = tls_context(url, ca_pem)
        self._key = key
        self._kid = key.kid
        self._clock = clock
        self._random = random_bytes
        self._session: aiohttp.ClientSession | None = None
        self._url, self._ca_pem = url, ca_pem
        self._certificate: Certificate | None = None
        self._offering: ssl.SSLContext | None = None
        #: Requests in a row, with the certificate offered, that failed before an answer came or were refused for it.
        self.refused = 0
        self.edge_id = edge_id
        entries = trust.with_role("edge") if trust is not None else []
        self._former = [one for one in entries if one.edge_id == edge_id and one.kid != key.kid]

    @property
    def key(self) -> SigningKey:
        """The edge's signing key (batches are signed with it)."""
        return self._key

    @property
    def own(self) -> list[KeyEntry]:
        """Keys of this edge: the present one, and those it had before, with their dates."""
        edge_id = self.edge_id
        return [entry(self._key.verify_key, "edge", edge_id, edge_id=edge_id), *self._former]

    @property
    def kid(self) -> str:
        """Its thumbprint."""
        return self._kid

    @property
    def certificate(self) -> Certificate | None:
        """What is offered to central; None: nothing is."""
        return self._certificate

    def offer(self, certificate: Certificate | None) -> None:
        """Offer this one on connections from now on; those that stand go on. Raises OSError where it cannot be used."""
        offering = None
        if certificate is not None and isinstance(self._tls, ssl.SSLContext):
            made = tls_context(self._url, self._ca_pem)
            assert isinstance(made, ssl.SSLContext)
            certificate.load(made)
            offering = made
        self._certificate, self._offering, self.refused = certificate, offering, 0

    def _context(self, bare: bool) -> ssl.SSLContext | bool:
        """One that has ended is not offered: the handshake would fail where none might have sufficed."""
        if bare or self._offering is None or self._certificate is None or self._certificate.ends < self._clock.wall():
            return self._tls
        return self._offering

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, *, timeout_s: float = 30) -> dict[str, Any]:
        """GET; `path` with its query string. Raises CallwardenError sync.*; Refusal for a problem document."""
        return await self._request("GET", path, b"", {}, timeout_s)

    async def post(
        self,
        path: str,
        value: Any,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30,
        bare: bool = False,
    ) -> dict[str, Any]:
        """POST a JSON value, or bytes that are JSON already. bare: without our certificate. Raises as `get`."""
        plain = value if isinstance(value, bytes) else canonical.dumps(value)
        extra = dict(headers or {})
        if len(plain) > 1024:
            extra["Content-Encoding"] = "gzip"
            if len(plain) > _THREAD_OVER:
                plain = await asyncio.to_thread(gzip.compress, plain, 1, mtime=0)
            else:
                plain = gzip.compress(plain, 1, mtime=0)
        return await self._request("POST", path, plain, {"Content-Type": "application/json", **extra}, timeout_s, bare)

    async def put(self, path: str, body: bytes, *, timeout_s: float = 60) -> dict[str, Any]:
        """PUT bytes as they are (ciphertext: nothing to compress). Raises as `get`."""
        return await self._request("PUT", path, body, {"Content-Type": "application/octet-stream"}, timeout_s)

    def edge_path(self, rest: str) -> str:
        """A path below this edge's own."""
        return f"/v1/edges/{self.edge_id}/{rest}"

    def _authorization(self, method: str, path: str, body: bytes) -> str:
        claims = {
            "edge_id": self.edge_id,
            "iat": self._clock.wall_text(),
            "method": method,
            "path": path,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "jti": self._random(16).hex(),
        }
        return "Callwarden " + sign_compact(canonical.dumps(claims), self._key, self._kid, REQUEST_TYP)

    async def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str], timeout_s: float, bare: bool = False
    ) -> dict[str, Any]:
        if self._session is None:
            # A proxy from the environment would see metadata that nobody meant it to see.
            self._session = aiohttp.ClientSession(trust_env=False, auto_decompress=True)
        url = URL(self._base + path, encoded=True)  # sent exactly as signed
        context = self._context(bare)
        offered = context is self._offering
        try:
            async with self._session.request(
                method,
                url,
                data=body or None,
                headers={**headers, "Authorization": self._authorization(method, path, body)},
                ssl=context,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=10),
            ) as response:
                raw = await response.content.read(MAX_ANSWER + 1)
                while len(raw) <= MAX_ANSWER and not response.content.at_eof():
                    raw += await response.content.read(MAX_ANSWER + 1 - len(raw))
                status = response.status
            if offered and not (status == 403 and _code(raw) == "auth.certificate"):
                self.refused = 0
            elif offered:  # TLS took it and central does not: it is another name's, or has ended
                self.refused += 1
        except aiohttp.ClientConnectorCertificateError as error:
            raise CallwardenError(
                "sync.certificate",
                "central's certificate is not signed by the pinned authority",
                where=self._base,
                hint="compare central's ca.crt with [central] ca_file",
                retryable=True,
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.refused += offered  # TLS 1.3 tells of a refused certificate only after the handshake, as a broken line
            raise CallwardenError(
                "sync.unreachable",
                f"central cannot be reached: {error or type(error).__name__}",
                where=self._base,
                hint="is central running? events wait in the outbox meanwhile",
                retryable=True,
            ) from error
        return _answer(status, raw, str(url))


def _read(raw: bytes) -> Any:
    try:
        return canonical.loads(raw) if len(raw) <= MAX_ANSWER else None
    except FormatError:
        return None


def _code(raw: bytes) -> str:
    """The code of a problem document; "" where it is none."""
    value = _read(raw)
    return str(value.get("code")) if isinstance(value, dict) else ""


def _answer(status: int, raw: bytes, where: str) -> dict[str, Any]:
    value = _read(raw)
    if not 200 <= status < 300:
        raise Refusal(status, value if isinstance(value, dict) else {}, where)
    if not isinstance(value, dict):
        raise CallwardenError("sync.answer", "central's answer is not JSON", where=where, retryable=True)
    return value
