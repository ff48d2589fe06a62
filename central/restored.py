"""A central that was put back from a backup: it gives no edge's recordings out before that edge has said what it erased.

`restored_edge:<edge>` in `meta` holds the restore's id while the edge has not; an edge is asked in the answer to its next poll.
`restored_poll:<edge>` does until it has polled: numbers that it was given meanwhile it may have had from the database that is lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from aiohttp import web

from central.anonymous import told
from central.auth import edge_request, json_answer
from central.cases.sealed import forget_shredded
from central.conn import Conn, Row
from central.doors import Door, door
from central.errors import CentralError
from central.keeper import shred
from central.log import OwnLog
from central.minimise.numbers import forget_for_good, forget_lost
from central.openapi import bodies, edge_answers
from central.problems import Handler, field, object_body
from central.revocations import UNNOTED, Again, revoke_again
from central.slotfile import SlotFile
from central.state import CENTRAL, Central
from formats.errors import FormatError
from formats.ids import is_id
from formats.orders import Person
from formats.shred import unseal_header

_EDGE: Final = "restored_edge:"
_POLL: Final = "restored_poll:"
#: What tells of recordings and calls.
_READS: Final = ("/v1/recordings", "/v1/calls", "/v1/media", "/v1/cases/")
#: The same to whoever reads them: an order is shown with its receipts, those of a search with what it found. Receipts that
#: somebody carries here are taken.
_GETS: Final = ("/v1/receipts", "/v1/orders/")
#: Below those: an order as it is carried by hand says what is ordered and nothing that was answered.
_CARRIED: Final = "/file"
#: Tombstones in one request; rows looked at between two statements.
PAGE: Final = 1000


def doors() -> list[Door]:
    """What an edge erased, told to a restored central."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/tombstones",
            post_tombstones,
            "edge",
            "Tell a restored central what was erased.",
            body=bodies.TombstonesBody,
            answer=edge_answers.Buried,
        )
    ]


def mark(
    conn: Conn, log: OwnLog, now: str, restore_id: str, backup_id: str, made_at: str, keeper: Path
) -> tuple[list[str], Again]:
    """Job on a copy before it becomes the database: every edge is to be asked, their names; what was revoked since, by the
    list beside the keeper's slot file, is so again. Raises OSError."""
    again = revoke_again(conn, keeper)
    if not again.listed:
        message = f"no list of revocations lay beside the keeper: revoke again what was revoked since {made_at}"
        conn.execute("INSERT INTO alarm(at, edge_id, code, message) VALUES (?,'',?,?)", (now, UNNOTED, message))
        log.append(conn, now, "alarm.raised", {"edge_id": "", "code": UNNOTED})
    edges = [str(row[0]) for row in conn.execute("SELECT edge_id FROM edge ORDER BY edge_id").fetchall()]
    for key in (kind + edge_id for edge_id in edges for kind in (_EDGE, _POLL)):
        conn.execute(
            "INSERT INTO meta VALUES (?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", (key, restore_id)
        )
    said = {"backup_id": backup_id, "made_at": made_at, "edges": edges}
    log.append(conn, now, "central.restored", {**said, "revoked": again.edges, "tokens": again.tokens})
    return edges, again


def forget_lost_keys(conn: Conn, keeper: SlotFile) -> int:
    """Job: headers whose slot does not open them any more: destroyed after the backup, or the slot file is another one.

    The keeper was in no backup, so it is right. Returns how many headers went.
    """
    query = (
        "SELECT segment_id, version, recording_id, sealed_header, keeper_slot FROM header WHERE keeper_slot IS NOT NULL"
        " AND (segment_id, version)>(?,?) ORDER BY segment_id, version LIMIT ?"
    )
    emptied = "UPDATE header SET keeper_slot=NULL, sealed_header=NULL WHERE segment_id=? AND version=?"
    count, last = 0, ("", -1)
    # A page at a time: a transaction that reads keys for long and asks nothing is ended by PostgreSQL (central.postgres.STATEMENT_S).
    while rows := conn.execute(query, (*last, PAGE)).fetchall():
        gone = [(row["segment_id"], row["version"]) for row in rows if not _opens(row, keeper)]
        conn.executemany(emptied, gone)
        count += len(gone)
        last = (rows[-1]["segment_id"], rows[-1]["version"])
    _forget_openings(conn, keeper)
    forget_shredded(conn, keeper)
    forget_lost(conn, keeper)
    return count


def _opens(row: Row, keeper: SlotFile) -> bool:
    """Whether a header's slot still opens it."""
    sealed = bytes(row["sealed_header"] or b"")
    try:
        key = keeper.read(int(row["keeper_slot"]))
        unseal_header(sealed, key, row["recording_id"], row["segment_id"], int(row["version"]))
    except (CentralError, FormatError):
        return False
    return True


def _forget_openings(conn: Conn, keeper: SlotFile) -> None:
    """The same of persons: an order that was complete since the backup is about nobody any more."""
    rows = conn.execute("SELECT jti, target, opening_slot FROM orders WHERE opening_slot IS NOT NULL").fetchall()
    for row in rows:
        try:
            holds = Person.unpacked(keeper.read(int(row["opening_slot"]))).id == row["target"]
        except (CentralError, FormatError):
            holds = False
        if not holds:
            conn.execute("UPDATE orders SET opening_slot=NULL WHERE jti=?", (row["jti"],))


def waiting(conn: Conn) -> list[str]:
    """Edges that have not said what they erased."""
    rows = conn.execute("SELECT key FROM meta WHERE key LIKE ? ORDER BY key", (_EDGE + "%",)).fetchall()
    return [str(row[0]).removeprefix(_EDGE) for row in rows]


def marks(edge_id: str) -> tuple[str, str]:
    """Keys in `meta`, of which an edge that a restore does not concern has none."""
    return _EDGE + edge_id, _POLL + edge_id


def asked_of(conn: Conn, edge_id: str) -> str | None:
    """The restore about which this edge is still to be heard."""
    row = conn.execute("SELECT value FROM meta WHERE key=?", (_EDGE + edge_id,)).fetchone()
    return None if row is None else str(row[0])


def first_poll(conn: Conn, edge_id: str) -> bool:
    """Job: whether this may be the edge's first poll since the restore. Any is while the edge is still to be heard, since one that
    was on its way then may come late; where somebody accepted that it is not heard, the first that comes."""
    key = (_POLL + edge_id,)
    if asked_of(conn, edge_id) is None:
        return bool(conn.execute("DELETE FROM meta WHERE key=?", key).rowcount)
    return conn.execute("SELECT 1 FROM meta WHERE key=?", key).fetchone() is not None


def heard(conn: Conn, log: OwnLog, now: str, edge_id: str, facts: dict[str, Any]) -> bool:
    """Job: the edge need not be waited for any more; false when it was not."""
    if asked_of(conn, edge_id) is None:
        return False
    conn.execute("DELETE FROM meta WHERE key=?", (_EDGE + edge_id,))
    log.append(conn, now, "restore.heard", {"edge_id": edge_id, **facts})
    return True


async def post_tombstones(request: web.Request) -> web.Response:
    """Edge: `{restore, tombstones: [recording_id], anonymous: [what call.anonymised says], last}` → `{buried}`. Keys that came
    back go, and calls are anonymous again, before it is answered."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    body = object_body(asked.body)
    restore, names, last = field(body, "restore"), field(body, "tombstones", list), field(body, "last", bool)
    if len(names) > PAGE or not all(isinstance(one, str) and is_id(one) for one in names):
        raise CentralError("usage.field", f"at most {PAGE} ids of recordings", where="tombstones")
    calls = field(body, "anonymous", list, optional=True) or []
    if len(calls) > PAGE or not all(isinstance(one, dict) and is_id(str(one.get("call_id"))) for one in calls):
        raise CentralError("usage.field", f"at most {PAGE} anonymous calls", where="anonymous")

    def job(conn: Conn) -> int:
        if asked_of(conn, asked.edge_id) != restore:
            return 0
        buried = sum(_bury(central, conn, asked.edge_id, one) for one in names)
        for one in calls:
            if told(conn, asked.edge_id, one):
                forget_for_good(central, conn, str(one["call_id"]))
        if last:
            heard(conn, central.log, central.now(), asked.edge_id, {"accepted": False})
            conn.execute("DELETE FROM meta WHERE key=?", (_POLL + asked.edge_id,))  # it polled, or it would not know
        return buried

    return json_answer({"buried": await central.db.run(job)})


def _bury(central: Central, conn: Conn, edge_id: str, recording_id: str) -> bool:
    # The event that said so may be one of those that were lost.
    conn.execute("UPDATE recording SET state='erased' WHERE recording_id=? AND edge_id=?", (recording_id, edge_id))
    known = conn.execute(
        "SELECT 1 FROM tombstone WHERE edge_id=? AND recording_id=?", (edge_id, recording_id)
    ).fetchone()
    if known is not None:
        return False
    try:
        shred(central, conn, edge_id, recording_id, None)
    except CentralError as error:
        if error.code != "not_found.recording":  # another edge's: nothing of this one's
            raise
        return False
    return True


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What tells of recordings and calls, or gives their keys out, waits until every edge was heard, or somebody accepted."""
    reads = _READS + (_GETS if request.method == "GET" and not request.path.endswith(_CARRIED) else ())
    if request.path.startswith(reads):  # the headers of a recovery too
        edges = await request.app[CENTRAL].db.run(waiting)
        if edges:
            raise CentralError(
                "central.restored",
                f"central was restored from a backup and has not heard what was erased at: {', '.join(edges[:10])}",
                status=503,
                hint="it opens when they poll; callwarden central restore --accept-edge EDGE --reason TEXT",
            )
    return await handler(request)
