"""What the doors answer. Further members may come with a later version; whoever reads them passes over what it does not know."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from central.openapi.words import Count, EdgeId, Id, Jws, Kid, OrderDocument, Page, Sha256, Time
from formats.keyset import KeyEntry
from formats.orders.claims import OrderClaims


class Health(Struct, frozen=True):
    """The database answers."""

    status: str
    fleet: str
    api: str


class EnrolmentToken(Struct, frozen=True):
    """A one-time token for one edge, shown this once."""

    token: str
    expires_at: Time


class KeySetDocument(Struct, frozen=True):
    """Whom central knows and in which role: what `--trust` names."""

    type: str
    keys: list[KeyEntry]


class Trust(Struct, frozen=True):
    """What an edge pins at enrolment. `state`: enrolled, or waiting for approval; `certificate`: PEM, where one was issued."""

    edge_id: EdgeId
    fleet: str
    keyset: KeySetDocument
    witness_vkey: str
    log_origin: str
    state: str
    certificate: str | None


class RegisteredKey(Struct, frozen=True):
    """A person's key as it is filed."""

    kid: Kid
    role: str
    owner: str


class Token(Struct, frozen=True):
    """A bearer token, by what is known of it: `id` is the begin of its SHA-256."""

    id: str
    label: str
    role: str
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None


class TokenList(Struct, frozen=True):
    """Every token, oldest first."""

    tokens: list[Token]


class NewToken(Token, frozen=True):
    """A token that was made: `token` is shown this once."""

    token: str


class Call(Struct, frozen=True):
    """A call, as its edge reported it. `opened`, `closed`: the data of those events. `refused`: why nothing is said of it,
    `purpose` or `restricted`."""

    seq: Page
    call_id: str
    edge_id: EdgeId
    outcome: str | None
    opened: dict[str, Any] | None
    closed: dict[str, Any] | None
    recordings: list[str]
    refused: str | UnsetType = UNSET


class CallList(Struct, frozen=True):
    """A page of calls."""

    calls: list[Call]


class Header(Struct, frozen=True):
    """A header of a segment. `kept`: whether the keeper holds its key."""

    segment_id: str
    version: Count
    suite: str
    key_id: str
    kept: bool


class Tombstone(Struct, frozen=True):
    """When the keeper's keys were destroyed, and by which order."""

    at: Time
    jti: str | None


class Recording(Struct, frozen=True):
    """A recording, as its edge reported it. `refused`: as of a call."""

    seq: Page
    recording_id: str
    edge_id: EdgeId
    call_id: str | None
    state: str
    opened: dict[str, Any] | None
    sealed: dict[str, Any] | None
    erased: dict[str, Any] | None
    segments: list[dict[str, Any]]
    headers: list[Header]
    tombstone: Tombstone | None
    refused: str | UnsetType = UNSET


class RecordingList(Struct, frozen=True):
    """A page of recordings."""

    recordings: list[Recording]


class UnsealedHeader(Struct, frozen=True):
    """A header out of the keeper: base64url, or null where no key is held (any more)."""

    segment_id: str
    version: Count
    suite: str
    key_id: str
    header: str | None


class HeaderList(Struct, frozen=True):
    """The newest header of each segment."""

    headers: list[UnsealedHeader]


class Alarm(Struct, frozen=True):
    """Something that somebody should look at."""

    id: Page
    at: Time
    edge_id: str
    code: str
    message: str


class AlarmList(Struct, frozen=True):
    """A page of alarms."""

    alarms: list[Alarm]


class LogItem(Struct, frozen=True):
    """An entry of central's own log, as it was hashed."""

    index: Count
    entry: str


class OwnLogPage(Struct, frozen=True):
    """Entries, and the RFC 6962 root over all `size` of them."""

    origin: str
    size: Count
    root: Sha256
    entries: list[LogItem]


class ReceiptDocument(Struct, frozen=True):
    """A receipt that proves itself (docs/spec/orders-receipts.md)."""

    type: str
    claims: dict[str, Any]
    jws: Jws
    order: OrderDocument | None


class Receipt(Struct, frozen=True):
    """A receipt; `document` is null while the order it answers is not known here."""

    receipt_id: Id
    edge_id: EdgeId
    jti: Id
    n: Count
    result: str
    recording_id: str | None
    received_at: Time
    document: ReceiptDocument | None
    seq: Page | UnsetType = UNSET


class ReceiptList(Struct, frozen=True):
    """A page of receipts."""

    receipts: list[Receipt]


class Draft(Struct, frozen=True):
    """Claims to be signed, and the edges that would get the order."""

    claims: OrderClaims
    edges: list[EdgeId]


class OrderTarget(Struct, frozen=True):
    """What the order is about."""

    kind: str
    id: str


class Queued(Struct, frozen=True):
    """One edge's delivery of the order."""

    edge_id: EdgeId
    seq: Count


class EdgeProgress(Queued, frozen=True):
    """How far one edge is. `state`: `silent` (no answer yet), `under way`, `answered`, `over` (it said nothing in the order's
    life), or `revoked` (it gave no last word, and is asked for none). `seq`: its delivery's number. `calls`, `shred_at`,
    `due_at`: of an erasure of many calls, what it found, from when on it destroys, until when it looks; `done`: recordings it
    destroyed. `last_seen_at`: when the edge asked anything."""

    queued_at: Time
    last_seen_at: Time | None
    state: str
    result: str | None
    reason: str | None
    at: Time | None
    calls: Count
    done: Count
    shred_at: Time | None
    due_at: Time | None


class OrderLine(Struct, frozen=True):
    """An order in a list. `missing`: edges whose last word is not here and may still come."""

    jti: Id
    cmd: str
    target: OrderTarget
    at: Time
    reason: str
    case_ref: str | None
    edges: Count
    answered: Count
    missing: list[EdgeId]
    complete: bool


class OrderList(Struct, frozen=True):
    """Orders, newest first. `next`: send it as `before` for older ones; null at the end."""

    orders: list[OrderLine]
    next: str | None


class OrderFile(Struct, frozen=True):
    """An order to be carried by hand (`callwarden order apply`). `opening`: of a person's commitment, with the number: keep it
    safe. Null where there is none, or once it is wiped."""

    type: str
    order: OrderDocument
    opening: dict[str, Any] | None


class Carried(Struct, frozen=True):
    """What became of each receipt that was carried here: `accepted`, `duplicate` or `rejected:<code>`, by number in the list."""

    results: list[str]


class Voided(Queued, frozen=True):
    """A number that was given up. `again`: under which number its order is delivered now; null where it may be taken no more."""

    again: Count | None


class OrderState(Struct, frozen=True):
    """An order. `complete`: every edge gave its last word, or said nothing in the order's life."""

    jti: Id
    cmd: str
    target: OrderTarget
    at: Time
    order: OrderDocument
    order_sha256: Sha256
    deliveries: list[Queued]
    receipts: list[Receipt]
    complete: bool
    progress: list[EdgeProgress]


class CertificateDocument(Struct, frozen=True):
    """A deletion certificate (docs/spec/certificate.md)."""

    type: str
    claims: dict[str, Any]
    jws: Jws
    order: OrderDocument | None
    receipts: list[Jws]
