"""What central answers to edges. They pass over members that they do not know."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from central.openapi.words import Count, Id, Jws, Page, Time


class AuditAnswer(Struct, frozen=True):
    """How many entries are mirrored, and the checkpoint with central's cosignature."""

    size: Count
    cosigned: str | None


class MirroredLog(Struct, frozen=True):
    """One incarnation of an edge's log."""

    origin: str
    size: Count
    cosigned: str | None


class MirroredLogs(Struct, frozen=True):
    """Every incarnation of the edge's log."""

    logs: list[MirroredLog]


class Delivery(Struct, frozen=True):
    """A signed delivery; `opening`: of the person its order is about."""

    seq: Count
    jws: Jws
    opening: dict[str, str] | UnsetType = UNSET


class DeliveryList(Struct, frozen=True):
    """Deliveries after the number asked for. `restored`: this central was put back and asks for the edge's tombstones."""

    deliveries: list[Delivery]
    last: Count
    restored: str | UnsetType = UNSET


class Buried(Struct, frozen=True):
    """Recordings whose keys had come back with a backup, and went."""

    buried: Count


class ReceiptResults(Struct, frozen=True):
    """Per receipt `accepted`, `duplicate` or `rejected:<code>`."""

    results: dict[str, str]


class OwnReceipt(Struct, frozen=True):
    """A receipt as the edge signed it."""

    seq: Page
    receipt_id: Id
    jti: Id
    n: Count
    result: str
    jws: Jws


class OwnReceiptList(Struct, frozen=True):
    """A page of the edge's receipts; `last` is the next `after`."""

    receipts: list[OwnReceipt]
    last: Page


class KeeperStatement(Struct, frozen=True):
    """What the keeper destroyed: claims, and the store's signature over them."""

    claims: dict[str, Any]
    jws: Jws


class ErasedRecording(Struct, frozen=True):
    """A recording of the edge that was erased; `receipt_id`: of the receipt that says so, where it is here."""

    recording_id: Id
    jti: str | None
    at: Time
    receipt_id: str | None


class ErasedList(Struct, frozen=True):
    """A page of what was erased; `last` is the next `after`."""

    tombstones: list[ErasedRecording]
    last: str
