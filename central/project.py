"""Events into the rows people read. Order and repeats do not matter: each event only fills its own columns."""

from __future__ import annotations

from typing import Any

from central import keeper
from central.conn import Conn
from central.errors import CentralError
from central.hooks import facts
from central.minimise import numbers, restrictions
from central.register import store as register
from central.state import Central
from formats import canonical, search
from formats.errors import FormatError
from formats.ids import is_id
from formats.keys import unb64url

#: A later word wins over an earlier one, however they arrive.
_RANK = {"opened": 0, "sealed": 1, "erased": 2}
#: Sealed headers are a few hundred bytes; many recipients make a few KiB.
_MAX_HEADER = 65536


def project(central: Central, conn: Conn, edge_id: str, kind: str, seq: int, data: dict[str, Any]) -> None:
    """Job: apply one new event. `data` may hold a shred key, which goes into the keeper and nowhere else.

    Raises CentralError event.* when the event cannot be understood: it is rejected, the others are not.
    """
    match kind:
        case "call.opened":
            if not _call(central, conn, edge_id, _id(data, "call_id"), canonical.dumps(data).decode()):
                _set(conn, "call", "opened", data, "call_id")
        case "call.closed":
            _call(central, conn, edge_id, _id(data, "call_id"))
            _set(conn, "call", "closed", data, "call_id")
            _outcome(central, conn, edge_id, data, seq)
        case "consent.recorded":
            _call(central, conn, edge_id, _id(data, "call_id"))
            _outcome(central, conn, edge_id, data, seq)
        case "recording.opened":
            _recording(central, conn, edge_id, data, "opened")
            _set(conn, "recording", "opened", _without_header(data), "recording_id")
            _header(central, conn, edge_id, data)
        case "segment.opened" | "segment.closed":
            _recording(central, conn, edge_id, data, "opened")
            _segment(conn, data)
            _header(central, conn, edge_id, data)
        case "header.replaced":
            _recording(central, conn, edge_id, data, "opened")
            _header(central, conn, edge_id, data)
        case "recording.sealed":
            _recording(central, conn, edge_id, data, "sealed")
            _set(conn, "recording", "sealed", data, "recording_id")
        case "recording.erased":
            _recording(central, conn, edge_id, data, "erased")
            _set(conn, "recording", "erased", data, "recording_id")
            keeper.shred(central, conn, edge_id, data["recording_id"], None)  # a repeat where the edge asked before
        case "call.anonymised":
            _call(central, conn, edge_id, _id(data, "call_id"))
            _set(conn, "call", "anonymised", data, "call_id")
            numbers.forget_for_good(central, conn, data["call_id"])
        case search.EVENT:
            _call(central, conn, edge_id, _id(data, "call_id"))
            numbers.take(central, conn, edge_id, seq, data)
        case "restriction.placed":
            _call(central, conn, edge_id, _id(data, "call_id"))
            restrictions.place(conn, edge_id, data)
        case "restriction.released":
            restrictions.release(conn, edge_id, _id(data, "hold_id"))
        case "call.rectified":
            _call(central, conn, edge_id, _id(data, "call_id"))
            _rectified(conn, data)
        case "policy.loaded":
            register.take(central, conn, edge_id, data)
        case "alarm.raised":
            code = data.get("code")
            central.alarm(conn, edge_id, str(code)[:80], str(data.get("message", "")), str(data.get("where", "")))
        case "notice.owed" | "notice.sent" | "notice.dropped":
            if data.get("notice_id") is not None:  # what was still to be sent of a call that became anonymous has none
                facts.notice(central, conn, edge_id, kind, _id(data, "notice_id"), _id(data, "call_id"), data)
        case _:
            pass  # kinds we do not know are kept as events; a newer edge may send them


def take_key(data: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """`data` as it may be stored, and the shred key apart. Raises CentralError event.header."""
    header = data.get("header")
    if not isinstance(header, dict) or "shred_key" not in header:
        return data, None
    text = header["shred_key"]
    try:
        key = unb64url(text) if isinstance(text, str) else b""
    except FormatError:
        key = b""
    if len(key) != 32:
        raise CentralError("event.header", "shred_key must be 32 bytes in base64url", where="header.shred_key")
    return {**data, "header": {k: v for k, v in header.items() if k != "shred_key"}}, key


def _id(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not is_id(value):
        raise CentralError("event.id", f"{name} must be 32 lower-case hex digits", where=name)
    return value


def _call(central: Central, conn: Conn, edge_id: str, call_id: str, opened: str | None = None) -> bool:
    """Whether the call is new; then `opened` is what is known of it."""
    made = conn.execute(
        "INSERT INTO call(call_id, edge_id, opened, first_seen) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
        (call_id, edge_id, opened, central.now()),
    )
    if made.rowcount:
        return True
    _owned(conn, "call", "call_id", call_id, edge_id)
    return False


def _recording(central: Central, conn: Conn, edge_id: str, data: dict[str, Any], state: str) -> None:
    recording_id = _id(data, "recording_id")
    call_id = _id(data, "call_id") if data.get("call_id") is not None else None
    made = conn.execute(
        "INSERT INTO recording(recording_id, edge_id, call_id, state, first_seen) VALUES (?,?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (recording_id, edge_id, call_id, state, central.now()),
    )
    changes = bool(made.rowcount)
    if not changes:
        _owned(conn, "recording", "recording_id", recording_id, edge_id)
        row = conn.execute("SELECT state FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
        if changes := _RANK[state] > _RANK[row["state"]]:
            conn.execute("UPDATE recording SET state=? WHERE recording_id=?", (state, recording_id))
    if state == "erased" and changes:
        facts.erased(central, conn, edge_id, recording_id, call_id)
    if call_id is not None and not made.rowcount:
        conn.execute("UPDATE recording SET call_id=? WHERE recording_id=? AND call_id IS NULL", (call_id, recording_id))


def _owned(conn: Conn, table: str, column: str, value: str, edge_id: str) -> None:
    row = conn.execute(f"SELECT edge_id FROM {table} WHERE {column}=?", (value,)).fetchone()  # noqa: S608 - constants
    if row["edge_id"] != edge_id:
        raise CentralError("event.foreign", f"this {table} belongs to another edge", where=value)


def _set(conn: Conn, table: str, column: str, data: dict[str, Any], key: str) -> None:
    text = canonical.dumps(data).decode()
    conn.execute(f"UPDATE {table} SET {column}=? WHERE {key}=?", (text, data[key]))  # noqa: S608 - constants


def _outcome(central: Central, conn: Conn, edge_id: str, data: dict[str, Any], seq: int) -> None:
    outcome = data.get("outcome")
    if isinstance(outcome, str):
        had = conn.execute("SELECT outcome FROM call WHERE call_id=?", (data["call_id"],)).fetchone()[0]
        later = conn.execute(
            "UPDATE call SET outcome=?, outcome_seq=? WHERE call_id=? AND coalesce(outcome_seq, -1) < ?",
            (outcome[:32], seq, data["call_id"], seq),
        )
        if later.rowcount and had != outcome[:32]:
            facts.outcome(central, conn, edge_id, data["call_id"], outcome[:32], seq)


def _rectified(conn: Conn, data: dict[str, Any]) -> None:
    """A correction: what is reported of the call says the new value from now on. A number is never among it."""
    row = conn.execute("SELECT opened FROM call WHERE call_id=?", (data["call_id"],)).fetchone()
    opened = canonical.loads(row["opened"]) if row["opened"] is not None else {}
    if isinstance(opened, dict):
        new = {
            name: data[name] for name in ("language", "policy_id", "policy_version") if isinstance(data.get(name), str)
        }
        text = canonical.dumps(opened | new).decode()
        conn.execute("UPDATE call SET opened=? WHERE call_id=?", (text, data["call_id"]))


def _without_header(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "header"}


def _segment(conn: Conn, data: dict[str, Any]) -> None:
    segment_id = _id(data, "segment_id")
    text = canonical.dumps(_without_header(data)).decode()
    conn.execute(
        "INSERT INTO segment VALUES (?,?,?) ON CONFLICT(segment_id) DO UPDATE SET data=excluded.data"
        " WHERE segment.recording_id=excluded.recording_id",
        (segment_id, data["recording_id"], text),
    )


def _header(central: Central, conn: Conn, edge_id: str, data: dict[str, Any]) -> None:
    """Sealed header into the database, its key into the keeper, unless a tombstone says that it is gone."""
    if data.get("header") is None:
        return
    stored, key = take_key(data)
    header, recording_id, segment_id = stored["header"], data["recording_id"], _id(data, "segment_id")
    version, suite, key_id = header.get("version"), header.get("suite"), header.get("key_id")
    if (
        not isinstance(version, int)
        or isinstance(version, bool)
        or not isinstance(suite, str)
        or not isinstance(key_id, str)
    ):
        raise CentralError("event.header", "a header has version, suite and key_id", where="header")
    try:
        sealed = unb64url(header["sealed_header"])
    except (FormatError, KeyError, AttributeError, TypeError) as error:
        raise CentralError("event.header", "sealed_header must be base64url", where="header") from error
    if len(sealed) > _MAX_HEADER or len(key_id) > 128 or not 0 <= version < 2**31:
        raise CentralError("event.header", "the header is too large", where="header")
    gone = conn.execute(
        "SELECT 1 FROM tombstone WHERE edge_id=? AND recording_id=?"
        " UNION SELECT 1 FROM header WHERE segment_id=? AND version>?",  # a newer one has taken its place
        (edge_id, recording_id, segment_id, version),
    ).fetchone()
    row = conn.execute(
        "SELECT keeper_slot, recording_id FROM header WHERE segment_id=? AND version=?", (segment_id, version)
    ).fetchone()
    if row is not None and row["recording_id"] != recording_id:
        raise CentralError("event.foreign", "this segment belongs to another recording", where=segment_id)
    slot = None
    if key is not None and gone is None and (row is None or row["keeper_slot"] is None):
        slot = central.keeper.put(key)  # the caller flushes before the commit
    if row is None:
        conn.execute(
            "INSERT INTO header VALUES (?,?,?,?,?,?,?)",
            (segment_id, version, recording_id, suite[:32], None if gone else sealed, key_id, slot),
        )
    elif slot is not None:  # a repeat (`resend`) after the keeper or this database lost what it had
        conn.execute(
            "UPDATE header SET keeper_slot=?, sealed_header=? WHERE segment_id=? AND version=?",
            (slot, sealed, segment_id, version),
        )
    if key is not None:
        _replace_older(central, conn, segment_id, version)


def _replace_older(central: Central, conn: Conn, segment_id: str, version: int) -> None:
    """A further header has come: the keys of those before it go, once the new one is committed."""
    older = conn.execute(
        "SELECT version, keeper_slot FROM header WHERE segment_id=? AND version<? AND sealed_header IS NOT NULL",
        (segment_id, version),
    ).fetchall()
    for row in older:
        conn.execute(
            "UPDATE header SET keeper_slot=NULL, sealed_header=NULL WHERE segment_id=? AND version=?",
            (segment_id, row["version"]),
        )
    if slots := [int(row["keeper_slot"]) for row in older if row["keeper_slot"] is not None]:
        central.keeper.discard(slots)
