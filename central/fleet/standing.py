"""An edge's standing: `waiting` for approval, `enrolled`, `revoked` for good; and the change of its signing key.

Jobs: each inside the caller's transaction, with its entry in central's log.
"""

from __future__ import annotations

from typing import Any

from central.conn import Conn, Row
from central.edgebook import check_standing
from central.errors import CentralError
from central.replay import SKEW
from central.revocations import UNNOTED, note_edge
from central.state import Central
from formats import canonical
from formats.enrolcode import same_code
from formats.ids import parse_time
from formats.keychange import KeyChange, read_key_change, verify_key_change
from formats.keys import VerifyKey


def edge_row(conn: Conn, edge_id: str) -> Row:
    """Job: the edge's row. Raises CentralError not_found.edge."""
    row: Row | None = conn.execute("SELECT * FROM edge WHERE edge_id=?", (edge_id,)).fetchone()
    if row is None:
        raise CentralError("not_found.edge", "no such edge is enrolled", status=404, where=edge_id[:64])
    return row


def approve(central: Central, conn: Conn, edge_id: str, code: str, by: str) -> bool:
    """Job: a waiting edge whose code a person compared may speak; False where it might already. Raises CentralError."""
    conn.exclusive(f"edge:{edge_id}")  # before the look: it may be revoked at this moment
    row = edge_row(conn, edge_id)
    if row["code"] is None or not same_code(code, row["code"]):
        raise CentralError(
            "auth.enrolment_code",
            "the code is not the one of this edge's enrolment",
            status=409,
            where=edge_id,
            hint="compare with what the edge printed; if it differs, somebody sits in between: revoke it and enrol anew",
        )
    if row["state"] == "revoked":
        raise _revoked(edge_id)
    if row["state"] == "enrolled":
        return False
    approved = "UPDATE edge SET state='enrolled', state_at=? WHERE edge_id=? AND state='waiting'"
    conn.execute(approved, (central.now(), edge_id))
    central.log.append(conn, central.now(), "edge.approved", {"edge_id": edge_id, "kid": row["kid"], "by": by})
    return True


def revoke(central: Central, conn: Conn, edge_id: str, reason: str, by: str) -> bool:
    """Job: nothing that this edge signs from now on counts, and it is told nothing more; False where it was so before."""
    conn.exclusive(f"edge:{edge_id}")
    row = edge_row(conn, edge_id)
    if row["state"] == "revoked":
        return False
    now = central.now()
    if (why := note_edge(central.config.keeper, edge_id, row["kid"], now)) is not None:
        central.alarm(conn, edge_id, UNNOTED, f"it is revoked, but a restore of the database would not know: {why}")
    conn.execute("UPDATE edge SET state='revoked', state_at=?, state_reason=? WHERE edge_id=?", (now, reason, edge_id))
    conn.execute("DELETE FROM episode WHERE edge_id=?", (edge_id,))
    said = {"edge_id": edge_id, "kid": row["kid"], "reason": reason, "by": by}
    central.log.append(conn, now, "edge.revoked", said)
    central.alarm(conn, edge_id, "edge.revoked", f"revoked by {by}: {reason}")
    return True


def change_key(central: Central, conn: Conn, edge_id: str, statement: dict[str, Any]) -> KeyChange:
    """Job: the edge's new key comes into effect, the old one stays on file with its date. Repeats do nothing.

    Raises CentralError auth.key_change, auth.edge_cloned, auth.edge_waiting, auth.edge_revoked; FormatError.
    """
    conn.exclusive(f"edge:{edge_id}")
    row, told = edge_row(conn, edge_id), read_key_change(statement)
    check_standing(row["state"], edge_id)  # what the door knew may be some seconds old
    if row["kid"] == told.key.kid:  # its answer was lost; what the old key signed was verified then
        before = conn.execute("SELECT jwk FROM edge_key WHERE kid=? AND edge_id=?", (told.old, edge_id)).fetchone()
        if before is None:
            raise CentralError(
                "auth.key_change", "the new key is in use, and not after that one", status=409, where="statement"
            )
        change = verify_key_change(statement, edge_id, _key(before["jwk"]))
        # The edge was killed on the way and went on with its old key: that one counts up to the repeat.
        conn.execute(
            "UPDATE edge_key SET retired_at=? WHERE kid=? AND retired_at<?", (change.at, change.old, change.at)
        )
        return change
    change = verify_key_change(statement, edge_id, _key(row["jwk"]))
    seen = row["last_seen_at"]  # until then its old key was at work: a date before it would undo what that signed
    if seen is not None and parse_time(change.at) < parse_time(seen) - SKEW:
        raise CentralError(
            "auth.key_change",
            f"the old key was at work until {seen}, and the statement ends it at {change.at}",
            status=409,
            where="statement.at",
            hint="look at the edge's clock, then run callwarden key change-edge again",
        )
    if conn.execute(
        "SELECT kid FROM edge WHERE kid=? UNION SELECT kid FROM edge_key WHERE kid=? UNION SELECT kid FROM key WHERE kid=?",
        (change.key.kid,) * 3,
    ).fetchone():
        raise CentralError(
            "auth.edge_cloned", "this key was another's, or this edge's before", status=409, where=edge_id
        )
    conn.execute(
        "INSERT INTO edge_key(kid, edge_id, jwk, retired_at, statement) VALUES (?,?,?,?,?)",
        (row["kid"], edge_id, row["jwk"], change.at, canonical.dumps(statement).decode()),
    )
    conn.execute(
        "UPDATE edge SET kid=?, jwk=? WHERE edge_id=?",
        (change.key.kid, canonical.dumps(change.key.jwk()).decode(), edge_id),
    )
    said = {"edge_id": edge_id, "old": row["kid"], "new": change.key.kid, "at": change.at}
    central.log.append(conn, central.now(), "edge.key_changed", said)
    return change


def _revoked(edge_id: str) -> CentralError:
    return CentralError(
        "auth.edge_revoked",
        "this edge was revoked",
        status=409,
        where=edge_id,
        hint="a revocation is for good: enrol under another name with a new key",
    )


def _key(text: str) -> VerifyKey:
    value = canonical.loads(text)
    assert isinstance(value, dict)
    return VerifyKey.from_jwk(value)
