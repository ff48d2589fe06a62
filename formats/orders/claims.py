"""What orders, deliveries and receipts say. Canonical JSON inside JWS; times as in `formats.ids`."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

import msgspec

from formats import canonical
from formats.errors import FormatError, JsonError, OrderError
from formats.ids import check_id, parse_time
from formats.orders.authority import Command
from formats.orders.content import check_content

ORDER_TYP = "callwarden-order+json"
DELIVERY_TYP = "callwarden-delivery+json"
RECEIPT_TYP = "callwarden-receipt+json"

TargetKind = Literal["recording", "call", "person", "hold", "policy", "edge", "fleet", "order"]
_RESULT = re.compile(r"(done|already|deferred|not_found|refused:[a-z0-9_.]{1,64})\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_ID_KINDS = frozenset({"recording", "call", "hold", "order"})
#: Members that came later: one that says nothing is not written, so that what was signed before stays the same bytes.
_LATER = ("located", "exclude", "exported_to", "content")
#: Calls one order can leave out; more are a search that was too wide.
MAX_EXCLUDED = 1000


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an order is about. `id`: the identifier; for a person the commitment to the number (`formats.orders.person`);
    else the thing's name."""

    kind: TargetKind
    id: str


class OrderClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What people sign: good for every edge of `fleet`, without a sequence.

    `iss`: who drafted it; `as_of`: calls that began later are not covered; `case_ref`: the case at central, if any.
    `located`: of a person, the search whose finds were looked at before this was signed; `exclude`: calls that were left
    out then (person, policy). `exported_to`: of a policy, where its recordings were handed over before.
    """

    iss: str
    jti: str
    iat: str
    fleet: str
    cmd: Command
    target: Target
    as_of: str
    reason: str
    case_ref: str | None = None
    located: str | None = None
    exclude: tuple[str, ...] = ()
    exported_to: str | None = None
    content: dict[str, Any] = {}


class DeliveryClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What central sends to one edge: `seq` without gaps, and one whole order, or `void` where a number was given up."""

    aud: str
    seq: int
    exp: str | None = None
    order: dict[str, Any] | None = None
    order_sha256: str | None = None
    void: bool = False


class ReceiptClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An edge's answer to an order.

    n: counts the answers to one order from 0 (`deferred` may be followed by `done`). key_ids: hex, of every file key
    whose shred key was overwritten; slots: where those lay here. evidence: what was done and read back;
    keeper_evidence: central's signed statement about its copies, or why there is none. checkpoint: the note over the
    edge's log that contains the outcome. reason: in words, where the result needs them.
    """

    receipt_id: str
    jti: str
    n: int
    result: str
    edge_id: str
    at: str
    order_sha256: str
    recording_id: str | None = None
    key_ids: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    evidence: dict[str, Any] = {}
    keeper_evidence: dict[str, Any] | None = None
    checkpoint: str | None = None
    reason: str | None = None


Claims = TypeVar("Claims", OrderClaims, DeliveryClaims, ReceiptClaims)


def encode(claims: OrderClaims | DeliveryClaims | ReceiptClaims) -> bytes:
    """The canonical JSON that is signed. Raises OrderError, JsonError where the claims are not sound."""
    check(claims)
    value = msgspec.to_builtins(claims)
    return canonical.dumps({name: one for name, one in value.items() if name not in _LATER or one})


def decode(payload: bytes, kind: type[Claims]) -> Claims:
    """The claims of a payload. Raises OrderError `command.malformed`."""
    try:
        claims = msgspec.convert(canonical.loads_canonical(payload), kind)
        check(claims)
    except (msgspec.ValidationError, JsonError) as error:
        raise OrderError("command.malformed", f"the claims are malformed: {error}") from error
    return claims


def check(claims: OrderClaims | DeliveryClaims | ReceiptClaims) -> None:
    """Raises OrderError `command.malformed` on a value that its type does not catch."""
    try:
        match claims:
            case OrderClaims():
                _check_order(claims)
            case DeliveryClaims():
                _check_delivery(claims)
            case ReceiptClaims():
                _check_receipt(claims)
    except FormatError as error:
        raise OrderError("command.malformed", error.message) from error


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise OrderError("command.malformed", message)


def _check_order(claims: OrderClaims) -> None:
    check_id(claims.jti, "jti")
    parse_time(claims.iat)
    parse_time(claims.as_of)
    _demand(bool(claims.iss and claims.fleet and claims.reason), "iss, fleet and reason must not be empty")
    if claims.target.kind in _ID_KINDS:
        check_id(claims.target.id, f"the {claims.target.kind}")
    _demand(bool(claims.target.id), "the target must not be empty")
    if claims.target.kind == "person":
        _demand(bool(_SHA256.match(claims.target.id)), "a person is named by 64 lower-case hex digits")
    _demand((claims.cmd == "cancel") == (claims.target.kind == "order"), "an order is cancelled, and nothing else is")
    if claims.located is not None:
        check_id(claims.located, "the search")
    for call_id in claims.exclude:
        check_id(call_id, "an excluded call")
    _demand(
        len(set(claims.exclude)) == len(claims.exclude) <= MAX_EXCLUDED, "a call is excluded once, and not too many are"
    )
    _demand(claims.exported_to != "", "exported_to must not be empty")
    check_content(claims.cmd, claims.target.kind, claims.content)
    _demand(claims.cmd != "keys" or claims.target.id == claims.fleet, "a key set is for the order's own fleet")


def _check_delivery(claims: DeliveryClaims) -> None:
    _demand(bool(claims.aud) and claims.seq > 0, "a delivery names its edge and a number from 1 on")
    if claims.exp is not None:
        parse_time(claims.exp)
    _demand(claims.void == (claims.order is None), "a delivery holds an order, or is void")
    _demand((claims.order is None) == (claims.order_sha256 is None), "an order comes with its SHA-256")


def _check_receipt(claims: ReceiptClaims) -> None:
    check_id(claims.receipt_id, "receipt_id")
    check_id(claims.jti, "jti")
    if claims.recording_id is not None:
        check_id(claims.recording_id, "recording_id")
    parse_time(claims.at)
    _demand(bool(_RESULT.match(claims.result)), f"no such result: {claims.result!r}")
    _demand(claims.n >= 0 and bool(claims.edge_id), "a receipt names its edge and counts from 0")
    hashes = (claims.order_sha256, *claims.key_ids)
    _demand(all(_SHA256.match(one) for one in hashes), "a SHA-256 or key id is malformed")
    _demand(all(slot >= 0 for slot in claims.slots), "a slot is malformed")
