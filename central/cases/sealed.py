"""What a case says in words (numbers, notes, reasons) is in the database only under a key of the case's own, which lies in a
slot of the keeper: overwriting that slot destroys all of it, wherever copies of the rows are.

Sealed text = 12-byte nonce, then ChaCha20-Poly1305 of canonical JSON; the case and the entry's name are bound to it.
"""

from __future__ import annotations

import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from central.conn import Conn
from central.errors import CentralError
from central.keeperlink import Keeper
from formats import canonical

_NONCE = 12


def new_key(keeper: Keeper) -> tuple[int, bytes]:
    """Job: a key in a synced slot, before the row that names it; (slot, key)."""
    key = secrets.token_bytes(32)
    slot = keeper.put(key)
    keeper.flush()
    return slot, key


def key_of(keeper: Keeper, slot: int | None) -> bytes | None:
    """The key in a case's slot; None once it is destroyed."""
    if slot is None:
        return None
    try:
        return keeper.read(slot)
    except CentralError as error:
        if error.code != "keeper.shredded":
            raise
        return None


def seal(key: bytes, ref: str, name: str, value: dict[str, Any]) -> bytes:
    """`value` (JSON) under the case's key."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, canonical.dumps(value), _bound(ref, name))


def unseal(key: bytes | None, ref: str, name: str, sealed: bytes | None) -> dict[str, Any] | None:
    """What was sealed; None where there is nothing, or its key is gone."""
    if key is None or sealed is None:
        return None
    try:
        plain = ChaCha20Poly1305(key).decrypt(sealed[:_NONCE], bytes(sealed[_NONCE:]), _bound(ref, name))
    except InvalidTag:
        return None
    found = canonical.loads(plain)
    assert isinstance(found, dict)
    return found


def _bound(ref: str, name: str) -> bytes:
    return canonical.dumps({"case": ref, "entry": name})


def forget_shredded(conn: Conn, keeper: Keeper) -> None:
    """Job, after the database was put back from a backup: a case whose slot is destroyed, or another key's by now, names none."""
    rows = conn.execute("SELECT ref, slot FROM subject_case WHERE slot IS NOT NULL").fetchall()
    for row in rows:
        first = conn.execute("SELECT sealed FROM case_entry WHERE ref=? AND n=0", (row["ref"],)).fetchone()
        sealed = bytes(first["sealed"]) if first is not None and first["sealed"] is not None else None
        if unseal(key_of(keeper, row["slot"]), row["ref"], "0", sealed) is None:
            conn.execute("UPDATE subject_case SET slot=NULL WHERE ref=?", (row["ref"],))
