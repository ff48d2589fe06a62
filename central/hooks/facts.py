"""What is told, by its type (docs/webhooks.md): ids and words of ours, never a number, a name or free text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from central.conn import Conn
from central.hooks.outbox import tell
from formats.orders import ReceiptClaims

if TYPE_CHECKING:
    from central.state import Central


def outcome(central: Central, conn: Conn, edge_id: str, call_id: str, word: str, seq: int) -> None:
    """Job: a call has an outcome, or another one than before."""
    data = {"edge_id": edge_id, "call_id": call_id, "outcome": word}
    tell(central, conn, "call.outcome", f"{call_id}/{word}/{seq}", data)


def erased(central: Central, conn: Conn, edge_id: str, recording_id: str, call_id: str | None) -> None:
    """Job: an edge says for the first time that a recording is gone."""
    data = {"edge_id": edge_id, "recording_id": recording_id, "call_id": call_id}
    tell(central, conn, "recording.erased", recording_id, data)


def receipt(central: Central, conn: Conn, claims: ReceiptClaims, edge_id: str) -> None:
    """Job: an edge's signed answer to an order is here."""
    data = {
        "edge_id": edge_id,
        "receipt_id": claims.receipt_id,
        "jti": claims.jti,
        "n": claims.n,
        "result": claims.result,
        "recording_id": claims.recording_id,
    }
    tell(central, conn, "receipt.stored", claims.receipt_id, data)


def notice(
    central: Central, conn: Conn, edge_id: str, kind: str, notice_id: str, call_id: str, data: dict[str, Any]
) -> None:
    """Job: a text message is owed, went out, or was given up."""
    why = data.get("why")
    told = {"edge_id": edge_id, "notice_id": notice_id, "call_id": call_id, "why": why if _is_word(why) else ""}
    tell(central, conn, kind, notice_id, told)


def alarm_told(central: Central, conn: Conn, edge_id: str, code: str, number: int, at: str) -> None:
    """Job: an alarm was filed; what it says is read at its door, since it may quote the world. The same number comes again
    after a restore, and a receiver would drop what has an id that it knows: so the id is of number and time."""
    data = {"edge_id": edge_id, "code": code if _is_word(code) else "", "id": number}
    tell(central, conn, "alarm.raised", f"{number}/{at}", data)


def _is_word(text: object) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= 80
        and text.isascii()
        and text.replace("_", "").replace(".", "").isalnum()
    )
