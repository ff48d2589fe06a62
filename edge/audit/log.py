"""The audit log: an RFC 6962 tree whose leaves and nodes are rows of the journal.

An entry is the canonical JSON of {at, kind, subject, body}. It never holds personal data: `subject` is an HMAC under a
salt that can be destroyed, and a body is made of ids of recordings, states, counts and hashes.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edge.errors import CallwardenError
from edge.ports import Journal, Slots
from formats import merkle

#: Journal meta key of the slot that holds the audit secret.
SECRET_META: Final = "audit_slot"  # noqa: S105 (a key's name)
#: Member names that would carry a caller's data into a log that cannot forget.
FORBIDDEN: Final = frozenset(
    {"number", "number_heard", "number_e164", "caller", "caller_name", "caller_number", "callerid", "phone", "name"}
)
# With sorted keys msgspec writes the bytes RFC 8785 demands for the values that `check_body` lets through; the unit
# test compares both. It costs a fiftieth of the general encoder, and every step of a call appends an entry.
_encode = msgspec.json.Encoder(order="sorted").encode


class AuditLog:
    """The `AuditSink` of the journal. `unlock` gives it its secret before the first entry about somebody."""

    def __init__(self) -> None:
        self._secret: bytes | None = None

    async def unlock(self, journal: Journal, slots: Slots) -> int:
        """Read the audit secret from its slot, or make it on the first start; returns the slot's number.

        Raises CallwardenError vault.* when the slot cannot be read: without the secret entries could not be linked to
        their calls any more, and the log would go on as if nothing had happened.
        """
        named = await journal.meta(SECRET_META)
        if named is None:
            secret = secrets.token_bytes(32)
            slot = await slots.put(secret)
            await journal.set_meta(SECRET_META, str(slot))
        else:
            slot = int(named)
            secret = await slots.read(slot)
        self._secret = secret
        return slot

    def subject(self, subject: str, call_id: str | None) -> str:
        """The HMAC that stands for an id: under the salt of its call, or of the journal for what belongs to no call.

        Raises CallwardenError audit.locked before `unlock`.
        """
        if self._secret is None:
            raise CallwardenError("audit.locked", "the audit secret was not read from its slot yet")
        salt = hmac.digest(self._secret, (call_id or "").encode(), "sha256")
        return hmac.digest(salt, subject.encode(), "sha256").hex()

    def append(
        self,
        conn: sqlite3.Connection,
        at: str,
        kind: str,
        *,
        subject: str | None = None,
        call_id: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> int:
        """Append one entry inside the transaction of `conn`; returns its index.

        Raises CallwardenError audit.body for a body with a member or value the log must not have.
        """
        if body:
            check_body(body)
        entry = _encode(
            {
                "at": at,
                "body": dict(body or {}),
                "kind": kind,
                "subject": None if subject is None else self.subject(subject, call_id),
            }
        )
        leaf = merkle.leaf_hash(entry)
        cursor = conn.execute(
            "INSERT INTO audit(idx, at, entry, leaf) VALUES((SELECT ifnull(max(idx) + 1, 0) FROM audit), ?, ?, ?)",
            (at, entry.decode(), leaf),
        )
        index = cursor.lastrowid
        assert index is not None  # an INSERT that did not raise has a row
        if index & 1:
            nodes = merkle.append(index, leaf, lambda level, idx: read_node(conn, level, idx))
            conn.executemany("INSERT INTO audit_node(level, idx, hash) VALUES(?, ?, ?)", nodes[1:])
        return index

    def root(self, conn: sqlite3.Connection, size: int) -> bytes:
        """The root over the first `size` entries. Raises CallwardenError audit.size when there are not that many."""
        self._check_size(conn, size)
        return merkle.root(size, lambda level, idx: read_node(conn, level, idx))

    def proof(self, conn: sqlite3.Connection, index: int, size: int) -> Sequence[bytes]:
        """Inclusion proof of entry `index` in the tree of `size` entries. Raises CallwardenError audit.size."""
        self._check_size(conn, size)
        if not 0 <= index < size:
            raise CallwardenError("audit.size", f"entry {index} is not among the first {size}")
        return merkle.inclusion_proof(index, size, lambda level, idx: read_node(conn, level, idx))

    @staticmethod
    def _check_size(conn: sqlite3.Connection, size: int) -> None:
        have = conn.execute("SELECT ifnull(max(idx) + 1, 0) FROM audit").fetchone()[0]
        if not 0 <= size <= have:
            raise CallwardenError("audit.size", f"the log has {have} entries, {size} were asked for")


def read_node(conn: sqlite3.Connection, level: int, idx: int) -> bytes:
    """The hash of a complete subtree. Raises CallwardenError audit.node when its row is missing (a damaged journal)."""
    if level == 0:
        row = conn.execute("SELECT leaf FROM audit WHERE idx=?", (idx,)).fetchone()
    else:
        row = conn.execute("SELECT hash FROM audit_node WHERE level=? AND idx=?", (level, idx)).fetchone()
    if row is None:
        raise CallwardenError("audit.node", f"the audit tree lacks node {level}/{idx}")
    found: bytes = row[0]
    return found


def check_body(value: Any) -> None:
    """Raises CallwardenError audit.body for a float, a non-ASCII member name, or a name that spells personal data."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not key.isascii() or key in FORBIDDEN:
                raise CallwardenError("audit.body", f"an audit entry must not have a member {key!r}")
            if inner is not None and not isinstance(inner, (str, bool, int)):
                check_body(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check_body(inner)
    elif value is not None and not isinstance(value, (str, bool, int)):
        raise CallwardenError("audit.body", f"an audit entry must not have a {type(value).__name__}")
