"""Orders (what people sign) and deliveries (how central hands them to one edge)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from formats import canonical
from formats.errors import OrderError, SignatureError
from formats.ids import parse_time
from formats.jws import add_signature, read_payload, sign_compact, sign_general, verify_compact, verify_general
from formats.keys import SigningKey
from formats.keyset import KeyEntry, KeySet
from formats.orders.authority import LIFE_S, SKEW_S, demanded
from formats.orders.claims import DELIVERY_TYP, ORDER_TYP, DeliveryClaims, OrderClaims, decode, encode
from formats.roles import Role

#: An order as it travels: a General JSON JWS, as an object or as its text.
OrderDocument = Mapping[str, Any] | bytes | str


@dataclass(frozen=True)
class VerifiedOrder:
    """An order's claims, who signed them, and the SHA-256 (hex) that receipts name."""

    claims: OrderClaims
    signers: tuple[KeyEntry, ...]
    sha256: str


#: Where the pinned keys have no store there is no central: an order needs the people's signatures only, and one that needs
#: none of them cannot be given.
_STORE: Counter[Role] = Counter({"store": 1})


def sign_order(claims: OrderClaims, keys: Iterable[SigningKey]) -> dict[str, Any]:
    """The General JWS with one signature per key; more are added by `countersign_order`."""
    return sign_general(encode(claims), [(key, key.kid) for key in keys], ORDER_TYP)


def countersign_order(document: OrderDocument, key: SigningKey) -> dict[str, Any]:
    """The order with one more signature. Whoever signs has verified what is there already."""
    return add_signature(_as_object(document), key, key.kid, ORDER_TYP)


def read_order(document: OrderDocument) -> OrderClaims:
    """The claims, NOT verified: to show before signing. Raises OrderError, SignatureError, JsonError."""
    return decode(read_payload(_as_object(document)), OrderClaims)


def order_sha256(document: OrderDocument) -> str:
    """SHA-256, hex, over the canonical JSON of the whole order with its signatures."""
    return hashlib.sha256(canonical.dumps(_as_object(document))).hexdigest()


def _as_object(document: OrderDocument) -> dict[str, Any]:
    value = canonical.loads(document) if isinstance(document, bytes | str) else dict(document)
    if not isinstance(value, dict):
        raise OrderError("command.malformed", "an order is a JSON object")
    return value


def verify_order(
    document: OrderDocument,
    keys: KeySet,
    *,
    now: str,
    fleet: str | None = None,
    required: Counter[Role] | Sequence[Counter[Role]] | None = None,
    expires: bool = True,
) -> VerifiedOrder:
    """The order, if exactly those signed whom the authority table demands, with keys that count at `now`, each person once.

    fleet: the fleet it must be for. required: another demand than the table's, for central, which adds its signature
    last. expires: whether an order past its life is refused (a receipt proves an order that has long run out).
    Raises SignatureError `auth.*`; OrderError `command.malformed`, `.fleet`, `.future`, `.expired`; JsonError.
    """
    value = _as_object(document)
    claims = decode(read_payload(value), OrderClaims)
    demand = demanded(claims.cmd, claims.target.kind) if required is None else required
    if required is None and not keys.with_role("store"):  # retired ones too: who ever had a central needs its word
        demand = [people for one in demanded(claims.cmd, claims.target.kind) if (people := one - _STORE)]
    verified = verify_general(value, keys.active(now), ORDER_TYP, demand)
    owners = [one.owner for one in verified.signers if one.role != "store"]
    if len(set(owners)) != len(owners):
        raise SignatureError("auth.count", "two signatures are two people's, and one person signed with two keys")
    if fleet is not None and claims.fleet != fleet:
        raise OrderError("command.fleet", f"the order is for the fleet {claims.fleet!r}, not {fleet!r}")
    issued, at = parse_time(claims.iat), parse_time(now)
    if issued > at + timedelta(seconds=SKEW_S):
        raise OrderError("command.future", f"the order was issued in the future, at {claims.iat}")
    life = LIFE_S[claims.cmd]
    if expires and life is not None and at > issued + timedelta(seconds=life):
        raise OrderError("command.expired", f"the order expired {life} s after {claims.iat}")
    return VerifiedOrder(claims, verified.signers, order_sha256(value))


def sign_delivery(store: SigningKey, *, aud: str, seq: int, order: Mapping[str, Any], exp: str | None = None) -> str:
    """The compact JWS that hands `order` to the edge `aud` as its delivery `seq`, not to be taken after `exp`."""
    claims = DeliveryClaims(aud=aud, seq=seq, exp=exp, order=dict(order), order_sha256=order_sha256(order))
    return sign_compact(encode(claims), store, store.kid, DELIVERY_TYP)


def sign_void(store: SigningKey, *, aud: str, seq: int) -> str:
    """The compact JWS that says that delivery `seq` of the edge `aud` will never come."""
    return sign_compact(encode(DeliveryClaims(aud=aud, seq=seq, void=True)), store, store.kid, DELIVERY_TYP)


def verify_delivery(jws: str, keys: KeySet, *, aud: str, now: str) -> DeliveryClaims:
    """The delivery, signed by the store, for this edge; its order is NOT verified yet (`verify_order`).

    Raises SignatureError; OrderError `command.malformed`, `.audience`, `.expired`, `.order_hash`.
    """
    claims = decode(verify_compact(jws, keys.active(now), DELIVERY_TYP, "store").payload, DeliveryClaims)
    if claims.aud != aud:
        raise OrderError("command.audience", f"the delivery is for {claims.aud!r}, not {aud!r}")
    if claims.order is not None and order_sha256(claims.order) != claims.order_sha256:
        raise OrderError("command.order_hash", "the delivery's order is not the one its hash names")
    if claims.exp is not None and parse_time(now) > parse_time(claims.exp):
        raise OrderError("command.expired", f"the delivery was not to be taken after {claims.exp}")
    return claims
