"""AWS Signature Version 4 of one request, as S3 wants it (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).

Pure: the time is given, nothing is sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
#: SHA-256 of a body without bytes.
EMPTY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key and its secret; the secret is in no repr."""

    access: str
    secret: str = field(repr=False)


def encode(text: str, *, safe: str = "") -> str:
    """Percent-encoding as the signature wants it: everything but the unreserved characters of RFC 3986 and `safe`."""
    return quote(text, safe=safe + "-._~")


def query_text(query: Sequence[tuple[str, str]]) -> str:
    """The query string in the order that is signed, to be sent exactly so."""
    return "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in query))


def canonical_request(
    method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body_sha256: str
) -> str:
    """What is hashed. `path`: not encoded yet; all of `headers` are signed."""
    lines = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    signed = sorted(lines)
    return "\n".join(
        (
            method, encode(path, safe="/"), query_text(query), *(f"{name}:{lines[name]}" for name in signed), "",
            ";".join(signed), body_sha256,
        )
    )  # fmt: skip


def authorization(
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    at: datetime,
    service: str = "s3",
) -> str:
    """The `Authorization` header. `headers` must have `Host`, and `x-amz-date` of the same time; `at` is aware."""
    day, stamp = at.astimezone(UTC).strftime("%Y%m%d"), amz_date(at)
    scope = f"{day}/{region}/{service}/aws4_request"
    request = canonical_request(method, path, query, headers, body_sha256)
    text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = ("AWS4" + credentials.secret).encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed = ";".join(sorted(name.lower() for name in headers))
    return f"{ALGORITHM} Credential={credentials.access}/{scope},SignedHeaders={signed},Signature={signature}"


def amz_date(at: datetime) -> str:
    """`x-amz-date`."""
    return at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
