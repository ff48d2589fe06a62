"""Types of single values in bodies and answers. What they demand is published with them."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="32 lower-case hex digits")]
Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, milliseconds, Z",
        extra_json_schema={"format": "date-time", "examples": ["2026-01-31T12:00:00.000Z"]},
    ),
]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256, hex")]
Kid = Annotated[str, Meta(description="RFC 7638 thumbprint of the key, base64url")]
EdgeId = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,62}$", description="an edge's name")]
Jws = Annotated[str, Meta(description="JWS, compact")]
Jwk = Annotated[dict[str, Any], Meta(description="an Ed25519 public key as JWK (RFC 8037)")]
OrderDocument = Annotated[dict[str, Any], Meta(description="an order as General JWS (docs/spec/orders-receipts.md)")]
Count = Annotated[int, Meta(ge=0)]
Page = Annotated[int, Meta(ge=0, description="pages: send the last one as `after`")]
