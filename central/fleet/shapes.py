"""What goes in and out of the fleet's doors."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from central.fleet.clientcert import MAX_CSR
from central.openapi.words import Count, EdgeId, Kid, Time


class BeatAnswer(Struct, frozen=True):
    """Central's clock."""

    now: Time


class CertificateBody(Struct, frozen=True):
    """A certificate signing request, PEM."""

    csr: Annotated[str, Meta(max_length=MAX_CSR)]


class CertificateAnswer(Struct, frozen=True):
    """A TLS certificate, PEM, and when it ends."""

    certificate: str
    ends: Time


class KeyChangeBody(Struct, frozen=True):
    """That a new key comes after the present one: General JWS by both."""

    statement: dict[str, Any]


class KeyChangeAnswer(Struct, frozen=True):
    """The key that counts from now on."""

    kid: Kid


class CodeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The code that a person compared with the edge's."""

    code: Annotated[str, Meta(max_length=40)]


class RevokeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why the edge is shut out."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class FormerKey(Struct, frozen=True):
    """A key that the edge had."""

    kid: Kid
    retired_at: Time


class EdgeState(Struct, frozen=True):
    """An edge. `events`: numbers without a gap; `deliveries`: the highest number; `witnessed`: size of its log, cosigned;
    `alarms`: what stands, by code."""

    edge_id: EdgeId
    kid: Kid
    state: str
    state_at: Time | None
    state_reason: str | None
    enrolled_at: Time
    last_seen_at: Time | None
    certificate_ends: Time | None
    code: str | None
    events: Count
    deliveries: Count
    witnessed: Count | None
    alarms: dict[str, str]
    heartbeat: dict[str, Any] | None
    former_keys: list[FormerKey] | UnsetType = UNSET


class EdgeList(Struct, frozen=True):
    """A page of edges, by name."""

    edges: list[EdgeState]
