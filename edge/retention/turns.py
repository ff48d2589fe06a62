"""In which turn orders are carried out within a pass."""

from __future__ import annotations

from typing import Final

from edge.model.entities import OrderRow
from edge.retention.live import COMMANDS
from formats.errors import FormatError
from formats.orders import OrderClaims, read_order

_FIRST: Final = COMMANDS | {"cancel"}
#: The turn of whatever destroys, releases, changes or tells.
LAST: Final = 2


def rank(claims: OrderClaims | None) -> int:
    """In which turn an order is carried out; within a turn the oldest first."""
    if claims is None or claims.cmd in _FIRST:
        return 0
    return 1 if claims.cmd in ("hold", "restrict") else LAST


def claims_of(row: OrderRow) -> OrderClaims | None:
    """What it says it orders, not verified; None for what is no order."""
    try:
        return read_order(row.jws)
    except FormatError:
        return None
