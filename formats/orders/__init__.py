"""Orders, deliveries and receipts: who may make an edge destroy or change something, and the proof that it did."""

from formats.orders.authority import AUTHORITY, COMMANDS, LIFE_S, MANY, SKEW_S, Command, demanded
from formats.orders.claims import (
    DELIVERY_TYP,
    ORDER_TYP,
    RECEIPT_TYP,
    DeliveryClaims,
    OrderClaims,
    ReceiptClaims,
    Target,
    TargetKind,
)
from formats.orders.ground import Ground, ground_of
from formats.orders.order import (
    VerifiedOrder,
    countersign_order,
    order_sha256,
    read_order,
    sign_delivery,
    sign_order,
    sign_void,
    verify_delivery,
    verify_order,
)
from formats.orders.person import Person, commitment
from formats.orders.receipt import (
    VerifiedReceipt,
    open_receipt_document,
    read_receipt,
    receipt_document,
    sign_receipt,
    verify_receipt,
    verify_receipt_document,
)

__all__ = [
    "AUTHORITY",
    "COMMANDS",
    "DELIVERY_TYP",
    "LIFE_S",
    "MANY",
    "ORDER_TYP",
    "RECEIPT_TYP",
    "SKEW_S",
    "Command",
    "DeliveryClaims",
    "Ground",
    "OrderClaims",
    "Person",
    "ReceiptClaims",
    "Target",
    "TargetKind",
    "VerifiedOrder",
    "VerifiedReceipt",
    "commitment",
    "countersign_order",
    "demanded",
    "ground_of",
    "open_receipt_document",
    "order_sha256",
    "read_order",
    "read_receipt",
    "receipt_document",
    "sign_delivery",
    "sign_order",
    "sign_receipt",
    "sign_void",
    "verify_delivery",
    "verify_order",
    "verify_receipt",
    "verify_receipt_document",
]
