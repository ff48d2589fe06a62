"""The witness: mirrors every edge's audit log, checks that it only grows, and cosigns its checkpoints.

Because central holds every entry it recomputes the root itself; no consistency proof has to be believed. What differs
from what was mirrored is a fork, what ends before what was cosigned is a rollback; both are alarms and are not cosigned.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import EdgeRequest, edge_request, json_answer
from central.conn import Conn
from central.doors import Door, door
from central.errors import CentralError
from central.openapi import bodies, edge_answers
from central.problems import field, object_body
from central.state import CENTRAL, Central
from formats import merkle
from formats.checkpoint import Checkpoint, open_checkpoint
from formats.errors import FormatError
from formats.note import ED25519, Note, NoteKey

MAX_ENTRIES = 5000
MAX_ENTRY = 65536
FORK = "audit.fork"
ROLLBACK = "audit.rollback"


def doors() -> list[Door]:
    """Mirror and witness."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/audit",
            post_audit,
            "edge",
            "Entries and checkpoints of the audit log.",
            body=bodies.AuditBody,
            answer=edge_answers.AuditAnswer,
            problems=(409,),
        ),
        door(
            "GET",
            "/v1/edges/{edge_id}/audit",
            get_audit,
            "edge",
            "How far the audit log is mirrored.",
            answer=edge_answers.MirroredLogs,
        ),
    ]


async def post_audit(request: web.Request) -> web.Response:
    """Edge: `{origin, start, entries, checkpoint?}` → `{size, cosigned?}`. 409 audit.gap, audit.fork, audit.rollback."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    body = object_body(asked.body)
    origin, start = field(body, "origin", longest=200), field(body, "start", int)
    entries, note = field(body, "entries", list), field(body, "checkpoint", optional=True, longest=MAX_ENTRY)
    if len(entries) > MAX_ENTRIES or not all(isinstance(one, str) and len(one) <= MAX_ENTRY for one in entries):
        raise CentralError("usage.field", f"at most {MAX_ENTRIES} texts of {MAX_ENTRY} characters", where="entries")
    if start < 0 or not origin.startswith(f"callwarden/{asked.edge_id}/"):
        raise CentralError("usage.field", "origin and start must be those of this edge's log", where="origin")
    head = _head(asked, origin, note) if note is not None else None

    def job(conn: Conn) -> dict[str, Any] | CentralError:
        conn.exclusive(f"edge:{asked.edge_id}")
        conn.execute("SAVEPOINT mirror")
        try:
            return _mirror(central, conn, asked.edge_id, origin, start, entries, head, note)
        except CentralError as error:
            if error.code in (FORK, ROLLBACK):  # nothing of such a request is kept but the alarm
                conn.execute("ROLLBACK TO mirror")
                _alarm(central, conn, asked.edge_id, error)
            return error  # as a value, so that the alarm is committed

    answer = await central.db.run(job)
    if isinstance(answer, CentralError):
        raise answer
    return json_answer(answer)


def _head(asked: EdgeRequest, origin: str, note: str) -> Checkpoint:
    found: FormatError | None = None
    for one in asked.keys.entries:  # a checkpoint may be older than the edge's present key
        try:
            return open_checkpoint(note, NoteKey(origin, ED25519, one.key)).checkpoint
        except FormatError as error:
            found = found or error
    assert found is not None
    raise CentralError(found.code, found.message, where="checkpoint") from found


def _mirror(
    central: Central,
    conn: Conn,
    edge_id: str,
    origin: str,
    start: int,
    entries: list[str],
    head: Checkpoint | None,
    note: str | None,
) -> dict[str, Any]:
    """Job: append what is new, compare what is old, cosign. Raises CentralError 409 after storing its alarm."""
    (size,) = conn.execute(
        "SELECT coalesce(max(idx) + 1, 0) FROM mirror WHERE edge_id=? AND origin=?", (edge_id, origin)
    ).fetchone()
    if start > size:
        raise CentralError(
            "audit.gap", f"entries from {size} on are missing", status=409, where=origin, extra={"size": size}
        )
    if size == 0:
        _note_incarnation(central, conn, edge_id, origin)
    read = _reader(conn, edge_id, origin)
    for index, entry in enumerate(entries, start):
        if index < size:
            old = conn.execute(
                "SELECT entry FROM mirror WHERE edge_id=? AND origin=? AND idx=?", (edge_id, origin, index)
            ).fetchone()
            if old["entry"] != entry:
                raise _refuse(origin, FORK, f"entry {index} differs from the one mirrored")
            continue
        nodes = merkle.append(index, merkle.leaf_hash(entry.encode()), read)
        conn.execute("INSERT INTO mirror VALUES (?,?,?,?)", (edge_id, origin, index, entry))
        conn.executemany("INSERT INTO mirror_node VALUES (?,?,?,?,?)", [(edge_id, origin, *node) for node in nodes])
        size = index + 1
    if head is None or note is None:
        return {"size": size, "cosigned": None}
    return {"size": size, "cosigned": _witness(central, conn, edge_id, size, head, note)}


def _witness(central: Central, conn: Conn, edge_id: str, size: int, head: Checkpoint, note: str) -> str:
    origin = head.origin
    last = conn.execute(
        "SELECT size, root, cosigned FROM witnessed WHERE edge_id=? AND origin=? ORDER BY size DESC LIMIT 1",
        (edge_id, origin),
    ).fetchone()
    if head.size > size:
        raise CentralError(
            "audit.gap", f"entries from {size} on are missing", status=409, where=origin, extra={"size": size}
        )
    if merkle.root(head.size, _reader(conn, edge_id, origin)) != head.root:
        raise _refuse(origin, FORK, f"the root at size {head.size} is not that of the entries")
    if last is not None and head.size < last["size"]:
        raise _refuse(
            origin,
            ROLLBACK,
            f"size {head.size}, but {last['size']} was witnessed",
            latest=last["cosigned"],
        )
    if last is not None and head.size == last["size"]:
        return str(last["cosigned"])
    now = central.wall()
    cosigned = str(Note.parse(note).cosign(central.config.witness_name, central.witness, int(now.timestamp())))
    conn.execute(
        "INSERT INTO witnessed VALUES (?,?,?,?,?,?,?)",
        (edge_id, origin, head.size, head.root, note, cosigned, central.now()),
    )
    return cosigned


def _refuse(origin: str, code: str, message: str, **extra: Any) -> CentralError:
    hint = "the log on this edge was rewritten or restored; investigate"
    return CentralError(code, message, status=409, where=origin, hint=hint, extra=extra)


def _alarm(central: Central, conn: Conn, edge_id: str, error: CentralError) -> None:
    """Once for each finding: the edge asks again and again."""
    found = (edge_id, error.code, f"{error.where}: {error.message}")
    if not conn.execute("SELECT 1 FROM alarm WHERE edge_id=? AND code=? AND message=?", found).fetchone():
        central.alarm(conn, *found)


def _note_incarnation(central: Central, conn: Conn, edge_id: str, origin: str) -> None:
    other = conn.execute(
        "SELECT origin FROM witnessed WHERE edge_id=? AND origin<>? LIMIT 1", (edge_id, origin)
    ).fetchone()
    if other is not None:
        central.alarm(conn, edge_id, "audit.incarnation", f"{origin} begins although {other['origin']} was witnessed")


def _reader(conn: Conn, edge_id: str, origin: str) -> merkle.ReadNode:
    def read(level: int, index: int) -> bytes:
        row = conn.execute(
            "SELECT hash FROM mirror_node WHERE edge_id=? AND origin=? AND level=? AND idx=?",
            (edge_id, origin, level, index),
        ).fetchone()
        return bytes(row[0])

    return read


async def get_audit(request: web.Request) -> web.Response:
    """Edge: for each of its incarnations how much is mirrored and the newest cosigned checkpoint."""
    central = request.app[CENTRAL]
    edge_id = (await edge_request(request)).edge_id

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute(
            "SELECT origin, max(idx) + 1 AS size, (SELECT cosigned FROM witnessed w WHERE w.edge_id=m.edge_id AND"
            " w.origin=m.origin ORDER BY size DESC LIMIT 1) AS cosigned FROM mirror m WHERE edge_id=? GROUP BY m.edge_id, origin",
            (edge_id,),
        )
        return [dict(row) for row in rows]

    return json_answer({"logs": await central.db.run(job)})
