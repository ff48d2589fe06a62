"""Enrolment: a one-time token makes this edge's key known to central, and central's keys pinned here."""

from __future__ import annotations

import asyncio
import hmac
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edge.errors import CallwardenError
from edge.sync import tlskey
from edge.sync.uplink import Refusal, Uplink
from formats import canonical
from formats.enrolcode import enrolment_code
from formats.errors import FormatError
from formats.ids import format_time
from formats.keys import SigningKey
from formats.keyset import KeySet
from formats.note import NoteKey


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What to write down: `ca_pem` for [central] ca_file (None without TLS), `keyset` for the trust file, the witness's
    verifier key, the fleet that orders must name. `code`: compare it with central's; `state`: `enrolled`, or `waiting` until
    somebody there did. `tls_pem`: what goes into the state folder as `tls.pem`, where central issued a certificate."""

    edge_id: str
    url: str
    fleet: str
    ca_pem: bytes | None
    keyset: KeySet
    witness_vkey: str
    code: str
    state: str
    tls_pem: bytes | None


class _SystemClock:
    def wall(self) -> datetime:
        return datetime.now(UTC)

    def wall_text(self) -> str:
        return format_time(self.wall())

    def mono_ns(self) -> int:
        return monotonic_ns()


async def enrol(
    url: str, token: str, edge_id: str, key: SigningKey, *, random_bytes: Callable[[int], bytes] = os.urandom
) -> Enrolled:
    """Enrol over the network. The CA is fetched unverified and believed only if it has the token's fingerprint.

    Raises CallwardenError usage.token, auth.fingerprint, auth.enrolment (refused), sync.*.
    """
    parts = token.strip().split(".")
    if len(parts) != 3 or parts[0] != "cwe1":
        raise CallwardenError("usage.token", "this is not an enrolment token", hint="it begins with cwe1.")
    ca_pem: bytes | None = None
    if urlsplit(url).scheme == "https":
        ca_pem = await _fetch_ca(url, parts[2])
    uplink = Uplink(url, edge_id, key, ca_pem=ca_pem, clock=_SystemClock(), random_bytes=random_bytes)
    try:
        asked: dict[str, Any] = {"token": token.strip(), "edge_id": edge_id, "jwk": key.verify_key.jwk()}
        tls_key = tlskey.new_key()
        if ca_pem is not None:
            asked["csr"] = tlskey.request_of(tls_key, edge_id)
        answer = await uplink.post("/v1/enrol", asked)
        keyset = KeySet.load(canonical.dumps(answer.get("keyset")))
        vkey = str(NoteKey.parse(str(answer.get("witness_vkey"))))
    except Refusal as refusal:
        if refusal.status in (401, 403, 409):
            raise CallwardenError(
                "auth.enrolment", refusal.message, hint=refusal.hint or "ask for a new token", where=url
            ) from refusal
        raise
    except FormatError as error:
        raise CallwardenError("sync.answer", f"central's keys are malformed: {error}", where=url) from error
    finally:
        await uplink.close()
    certificate = answer.get("certificate")
    return Enrolled(
        edge_id=edge_id,
        url=url,
        fleet=str(answer.get("fleet")),
        ca_pem=ca_pem,
        keyset=keyset,
        witness_vkey=vkey,
        code=await asyncio.to_thread(_code, edge_id, key, keyset, url),
        state=str(answer.get("state")),
        tls_pem=tlskey.tls_pem(tls_key, str(certificate)) if certificate else None,
    )


def _code(edge_id: str, key: SigningKey, keyset: KeySet, url: str) -> str:
    """Of the keys as they are here. Raises CallwardenError sync.answer."""
    stores, witnesses = keyset.with_role("store"), keyset.with_role("witness")
    if len(stores) != 1 or len(witnesses) != 1:
        raise CallwardenError("sync.answer", "central must have one store key and one witness key", where=url)
    return enrolment_code(edge_id, key.kid, stores[0].kid, witnesses[0].kid)


async def _fetch_ca(url: str, fingerprint: str) -> bytes:
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE  # the fingerprint below is the check
    try:
        async with (
            aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=15)) as session,
            session.get(url.rstrip("/") + "/v1/ca", ssl=blind, allow_redirects=False) as response,
        ):
            pem = await response.content.read(65536)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CallwardenError(
            "sync.unreachable", f"central cannot be reached: {error}", where=url, retryable=True
        ) from error
    try:
        found = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except ValueError as error:
        raise CallwardenError("auth.fingerprint", "central gave no CA certificate", where=url) from error
    if not hmac.compare_digest(found, fingerprint):
        raise CallwardenError(
            "auth.fingerprint",
            "the CA is not the one the token names",
            where=url,
            hint="somebody may sit in between; make a new token on central itself and try again",
        )
    return pem
