"""Jobs on the table `media`: what may come, what is here, what has to go. A tombstone wins over everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from central.conn import Conn
from central.errors import CentralError
from central.media.claims import claimed
from formats import canonical
from formats.errors import FormatError
from formats.ids import parse_time
from formats.keyset import KeySet
from formats.manifest import SegmentEntry, verify_manifest


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload that an edge means: SHA-512 in hex; recording and segment are ids."""

    edge_id: str
    sha512: str
    recording_id: str
    segment_id: str


def signed_segments(conn: Conn, recording_id: str, keys: KeySet) -> tuple[SegmentEntry, ...]:
    """The segments of a recording as its edge signed them; none before central was told the manifest.

    Raises CentralError not_found.recording, media.manifest (500) where what was told does not verify.
    """
    row = conn.execute("SELECT sealed FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
    if row is None:
        raise CentralError("not_found.recording", "no edge reported such a recording", status=404, where=recording_id)
    told: Any = canonical.loads(row["sealed"]) if row["sealed"] else {}
    text = told.get("manifest") if isinstance(told, dict) else None
    if not isinstance(text, str):
        return ()
    try:
        manifest = verify_manifest(text, keys)
    except FormatError as error:
        why = f"the manifest does not verify: {error.message}"
        raise CentralError("media.manifest", why, status=409, where=recording_id) from error
    if manifest.recording_id != recording_id:
        raise CentralError("media.manifest", "the manifest is of another recording", status=409, where=recording_id)
    return manifest.segments


def expect(conn: Conn, payload: Payload, keys: KeySet, now: str) -> tuple[str, int]:
    """The row of a payload that comes, made where there is none: its state (`coming`, `stored`) and its length, as the edge's
    signed manifest says them.

    Raises CentralError media.erased (410) for what must not be kept any more, media.unknown (409) while the manifest is not
    here, media.differs (409) for what is not in it, media.busy (409) while a sweep takes away what lay here of it.
    """
    conn.exclusive(f"edge:{payload.edge_id}")
    if is_buried(conn, payload.edge_id, payload.recording_id):
        raise _erased(payload)
    owner = conn.execute("SELECT edge_id FROM recording WHERE recording_id=?", (payload.recording_id,)).fetchone()
    if owner is None:
        raise _unknown(payload)
    if owner["edge_id"] != payload.edge_id:
        raise CentralError("not_found.recording", "this edge has no such recording", status=404, where="recording_id")
    row = conn.execute(
        "SELECT segment_id, bytes, state FROM media WHERE edge_id=? AND sha512=?", (payload.edge_id, payload.sha512)
    ).fetchone()
    if row is not None and row["segment_id"] == payload.segment_id:
        if row["state"] in ("leaving", "gone"):
            raise _erased(payload)
        conn.execute(
            "UPDATE media SET touched_at=? WHERE edge_id=? AND sha512=?", (now, payload.edge_id, payload.sha512)
        )
        return str(row["state"]), int(row["bytes"])
    segments = signed_segments(conn, payload.recording_id, keys)
    if not segments:
        raise _unknown(payload)
    entry = next((one for one in segments if one.segment_id == payload.segment_id), None)
    if entry is None or entry.payload_sha512 != payload.sha512 or entry.state == "shredded" or row is not None:
        raise CentralError("media.differs", "the manifest names no such payload", status=409, where=payload.segment_id)
    if claimed(conn, payload.edge_id, payload.sha512, parse_time(now)):
        raise busy(payload)
    conn.execute(
        "INSERT INTO media(edge_id, sha512, recording_id, segment_id, number, bytes, place, state, touched_at)"
        " VALUES (?,?,?,?,?,?,'','coming',?)",
        (payload.edge_id, payload.sha512, payload.recording_id, payload.segment_id, entry.number, entry.payload_bytes,
         now),
    )  # fmt: skip
    return "coming", entry.payload_bytes


def goes_into(conn: Conn, payload: Payload, place: str, now: str) -> str:
    """Before the payload is put anywhere, its row says where: the row's state, `coming` where it may be put.

    Raises CentralError media.busy (409) where the upload stood still for so long that its row is gone."""
    conn.exclusive(f"edge:{payload.edge_id}")
    at = (payload.edge_id, payload.sha512)
    row = conn.execute("SELECT state FROM media WHERE edge_id=? AND sha512=?", at).fetchone()
    if row is None:
        raise busy(payload)
    if row["state"] == "coming":
        conn.execute("UPDATE media SET place=?, touched_at=? WHERE edge_id=? AND sha512=?", (place, now, *at))
    return str(row["state"])


def settle(conn: Conn, payload: Payload, place: str, now: str) -> bool:
    """The payload lies in the store. False where it must go again: a tombstone came meanwhile.

    Raises CentralError media.busy (409) where a sweep dropped the row meanwhile; what was put is an orphan then."""
    conn.exclusive(f"edge:{payload.edge_id}")
    at = (payload.edge_id, payload.sha512)
    row = conn.execute("SELECT state FROM media WHERE edge_id=? AND sha512=?", at).fetchone()
    if row is None:
        raise busy(payload)
    if row["state"] in ("coming", "stored"):
        conn.execute(
            "UPDATE media SET state='stored', stored_at=?, place=? WHERE edge_id=? AND sha512=?", (now, place, *at)
        )
        return True
    # Removed while it came: it is removed once more, and that is said once more.
    conn.execute(
        "UPDATE media SET attempts=CASE WHEN state='gone' THEN 0 ELSE attempts END, state='leaving', leaving_at=?,"
        " touched_at=?, place=? WHERE edge_id=? AND sha512=?",
        (now, now, place, *at),
    )
    return False


def leave(
    conn: Conn, edge_id: str, recording_id: str, jti: str | None, now: str, segments: list[str] | None = None
) -> list[str]:
    """What central has of a recording (or of these segments of it) has to go; the hashes."""
    rows = conn.execute(
        "SELECT sha512, segment_id FROM media WHERE edge_id=? AND recording_id=? AND state IN ('coming', 'stored')"
        " ORDER BY number",
        (edge_id, recording_id),
    ).fetchall()
    going = [str(row["sha512"]) for row in rows if segments is None or row["segment_id"] in segments]
    conn.executemany(
        "UPDATE media SET state='leaving', leaving_at=?, touched_at=?, jti=? WHERE edge_id=? AND sha512=?",
        [(now, now, jti, edge_id, sha512) for sha512 in going],
    )
    return going


def is_buried(conn: Conn, edge_id: str, recording_id: str) -> bool:
    """Whether a tombstone stands."""
    found = conn.execute(
        "SELECT 1 FROM tombstone WHERE edge_id=? AND recording_id=?", (edge_id, recording_id)
    ).fetchone()
    return found is not None


def _unknown(payload: Payload) -> CentralError:
    return CentralError(
        "media.unknown", "central has no manifest of this recording (yet)", status=409, where=payload.recording_id,
        hint="events go first; try again",
    )  # fmt: skip


def busy(payload: Payload) -> CentralError:
    """What lay here of it is being taken away, or was."""
    return CentralError("media.busy", "what lay here of it is taken away first", status=409, where=payload.sha512)


def _erased(payload: Payload) -> CentralError:
    return CentralError("media.erased", "what was erased is not taken", status=410, where=payload.recording_id)
