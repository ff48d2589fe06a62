"""What the doors take. A member that nobody knows is refused where a person asks: a misspelled `exclude` must not erase more.

Bodies of edges are described here and decoded by their handlers: a newer edge may say more than this central knows.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from central.openapi.words import Count, EdgeId, Id, Jwk, Jws, Kid, OrderDocument, Time
from central.roles import ROLES
from formats.orders.authority import Command
from formats.orders.claims import MAX_EXCLUDED, TargetKind

#: Longest life that a token may be given, days.
MAX_TOKEN_DAYS = 3650
_ROLE = "^(" + "|".join(ROLES) + ")$"


class EnrolmentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """For which edge the token is; any where it is not said."""

    edge_id: EdgeId | None = None


class EnrolBody(Struct, frozen=True):
    """An edge's first word: the request is signed by the key in it."""

    token: str
    edge_id: EdgeId
    jwk: Jwk
    csr: Annotated[str, Meta(description="certificate signing request, PEM")] | None = None


class KeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A person's public key. Two keys of one owner are one person."""

    role: Annotated[str, Meta(pattern="^(dpo|auditor)$")]
    owner: Annotated[str, Meta(max_length=200)]
    jwk: Jwk


class TokenBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made. `expires_days`: its life; null: until it is revoked."""

    role: Annotated[str, Meta(pattern=_ROLE)]
    label: Annotated[str, Meta(min_length=1, max_length=200, description="what it is for, as lists name it")]
    expires_days: Annotated[int, Meta(ge=1, le=MAX_TOKEN_DAYS)] | None = None


class HeadersBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why headers are given out, and for which purpose of the answer (default: the first); written into central's log."""

    reason: Annotated[str, Meta(max_length=80)]
    purpose: Annotated[str, Meta(max_length=80)] = ""
    case: Annotated[str, Meta(max_length=80)] = ""


class DraftTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """What an order is about."""

    kind: TargetKind
    id: Annotated[str, Meta(max_length=200)]


class DraftBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be ordered; the claims come back to be shown, and signed."""

    cmd: Command
    target: DraftTarget
    reason: Annotated[str, Meta(max_length=1000)]
    case_ref: Annotated[str, Meta(max_length=200)] | None = None
    as_of: Time | None = None
    located: str | None = None
    exclude: Annotated[list[str], Meta(max_length=MAX_EXCLUDED)] | None = None
    exported_to: Annotated[str, Meta(max_length=500)] | None = None
    content: dict[str, Any] | None = None


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`order`, signed by people; or `claims`, where the store alone signs. `opening`: of a person's commitment."""

    order: OrderDocument | None = None
    claims: dict[str, Any] | None = None
    opening: dict[str, Any] | None = None


class VoidBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a delivery's number is given up; it is written into central's log."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class CarriedReceipts(Struct, frozen=True, forbid_unknown_fields=True):
    """Receipts of one edge that somebody carried here, as that edge signed them."""

    edge_id: EdgeId
    receipts: Annotated[list[Jws], Meta(min_length=1, max_length=200)]


class AuditBody(Struct, frozen=True):
    """Entries of an edge's audit log from `start` on, and a checkpoint over them (a C2SP signed note)."""

    origin: Annotated[str, Meta(max_length=200)]
    start: Count
    entries: Annotated[list[Annotated[str, Meta(max_length=65536)]], Meta(max_length=5000)]
    checkpoint: Annotated[str, Meta(max_length=65536)] | None = None


class ReceiptItem(Struct, frozen=True):
    """A receipt; beside the signed document what it says."""

    receipt_id: Id
    jti: Id
    n: Count
    result: str
    jws: Jws


class ReceiptsBody(Struct, frozen=True):
    """Receipts to be filed."""

    receipts: Annotated[list[ReceiptItem], Meta(max_length=200)]


class ShredBody(Struct, frozen=True):
    """The recording whose keys go; with `only` no others than `key_ids`."""

    recording_id: Id
    key_ids: list[Kid] = []
    jti: Id | None = None
    only: bool = False


class TombstonesBody(Struct, frozen=True):
    """What an edge erased and made anonymous, for a central that was put back from a backup. `last`: that was all."""

    restore: str
    tombstones: Annotated[list[Id], Meta(max_length=1000)]
    last: bool
    anonymous: Annotated[list[dict[str, Any]], Meta(max_length=1000)] | None = None
