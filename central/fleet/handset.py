"""An edge's present key set by hand: for a central that was put back as it was before the edge changed its key."""

from __future__ import annotations

from typing import Final

from central.conn import Conn
from central.edgebook import check_standing
from central.errors import CentralError
from central.fleet.standing import edge_row
from central.log import OwnLog
from formats import canonical
from formats.keyset import KeyEntry, KeySet

#: Alarm and entry of central's log: nothing that the edge signed vouches for this key, only who had access to this host.
SET: Final = "edge.key_set"


def set_key(
    conn: Conn, log: OwnLog, now: str, edge_id: str, trust: KeySet, reason: str, uid: int
) -> tuple[str, str] | None:
    """Job: the keys that the edge's own trust file lists for it are its keys; the old and the new thumbprint, None where it is
    so already. Raises CentralError not_found.edge, auth.key_change, auth.edge_cloned, auth.edge_revoked, auth.edge_waiting."""
    conn.exclusive(f"edge:{edge_id}")
    row = edge_row(conn, edge_id)
    check_standing(row["state"], edge_id)
    own = [one for one in trust.with_role("edge") if one.edge_id == edge_id]
    present = [one for one in own if one.retired is None]
    if len(present) != 1:
        message = "the trust file does not name one present key of this edge"
        raise CentralError("auth.key_change", message, status=409, where=edge_id)
    if present[0].kid == row["kid"]:
        return None
    former = {one.kid: one for one in own if one.retired is not None}
    if row["kid"] not in former:
        message = "the trust file does not say that the key on file here was this edge's before"
        hint = "is it the trust file of this edge? a host that was set up anew is enrolled under another name"
        raise CentralError("auth.key_change", message, status=409, where=edge_id, hint=hint)
    for one in own:
        found = "SELECT edge_id FROM edge WHERE kid=? UNION SELECT edge_id FROM edge_key WHERE kid=?"
        owners = {str(r[0]) for r in conn.execute(found, (one.kid, one.kid))}
        if owners - {edge_id} or conn.execute("SELECT 1 FROM key WHERE kid=?", (one.kid,)).fetchone():
            raise CentralError("auth.edge_cloned", "this key is another's", status=409, where=one.kid)
    if conn.execute("SELECT 1 FROM edge_key WHERE kid=?", (present[0].kid,)).fetchone():
        raise CentralError("auth.edge_cloned", "this key was given up before", status=409, where=present[0].kid)
    for one in former.values():
        conn.execute(
            "INSERT INTO edge_key(kid, edge_id, jwk, retired_at, statement) VALUES (?,?,?,?,'{}') ON CONFLICT (kid) DO NOTHING",
            (one.kid, edge_id, _jwk(one), one.retired),
        )
    conn.execute("UPDATE edge SET kid=?, jwk=? WHERE edge_id=?", (present[0].kid, _jwk(present[0]), edge_id))
    said = {"edge_id": edge_id, "old": row["kid"], "new": present[0].kid, "reason": reason, "uid": uid}
    log.append(conn, now, SET, said)
    message = f"its key was set by hand to {present[0].kid}: {reason}"
    conn.execute("INSERT INTO alarm(at, edge_id, code, message) VALUES (?,?,?,?)", (now, edge_id, SET, message))
    log.append(conn, now, "alarm.raised", {"edge_id": edge_id, "code": SET})
    return str(row["kid"]), present[0].kid


def _jwk(one: KeyEntry) -> str:
    return canonical.dumps(one.jwk).decode()
