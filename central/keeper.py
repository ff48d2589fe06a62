"""The keeper's door: an edge that erases asks central to destroy its recovery copies, and gets a signed statement."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from central.auth import edge_request, json_answer
from central.conn import Conn, Row
from central.doors import Door, Param, door
from central.errors import CentralError
from central.media.ledger import leave
from central.openapi import bodies, edge_answers
from central.problems import field, object_body, query_int
from central.state import CENTRAL, Central
from formats import canonical
from formats.ids import is_id
from formats.jws import sign_compact

TYP = "callwarden-keeper+json"
#: Tombstones in one answer.
PAGE = 1000


def doors() -> list[Door]:
    """Shred, and the list of what was shredded."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/keeper/shred",
            post_shred,
            "edge",
            "Destroy the keeper's keys of a recording.",
            body=bodies.ShredBody,
            answer=edge_answers.KeeperStatement,
            problems=(404,),
        ),
        door(
            "GET",
            "/v1/edges/{edge_id}/tombstones",
            get_tombstones,
            "edge",
            "What of this edge was erased.",
            query=(Param("after", "The `last` of the page before.", {"type": "string"}), "limit"),
            answer=edge_answers.ErasedList,
        ),
    ]


def shred(central: Central, conn: Conn, edge_id: str, recording_id: str, jti: str | None) -> str:
    """Job: overwrite the recording's slots, then row and tombstone; the statement as compact JWS. Repeats give the first one.

    The slots go first: a crash in between leaves rows whose slots read as destroyed, and the repeat goes on. Raises
    CentralError keeper.* and not_found.recording when the recording is another edge's.
    """
    _own(conn, edge_id, recording_id)
    before = conn.execute(
        "SELECT statement FROM tombstone WHERE edge_id=? AND recording_id=?", (edge_id, recording_id)
    ).fetchone()
    if before is not None:
        return str(before["statement"])
    rows = _held(conn, recording_id)
    going = leave(conn, edge_id, recording_id, jti, central.now())
    statement, at = _destroy(central, edge_id, recording_id, jti, rows, going)
    conn.execute("UPDATE header SET keeper_slot=NULL, sealed_header=NULL WHERE recording_id=?", (recording_id,))
    conn.execute("INSERT INTO tombstone VALUES (?,?,?,?,?)", (edge_id, recording_id, jti, at, statement))
    _note(central, conn, edge_id, recording_id, jti, len(rows), at)
    return statement


def shred_keys(central: Central, conn: Conn, edge_id: str, recording_id: str, key_ids: list[str]) -> str:
    """Job: as `shred`, but of these keys only: a part of the recording goes after an incident, and no tombstone stands.

    A key that is not held (any more) is no error: the statement lists what was.
    """
    _own(conn, edge_id, recording_id)
    rows = [row for row in _held(conn, recording_id) if row["key_id"] in key_ids]
    segments = [str(row["segment_id"]) for row in rows]
    going = leave(conn, edge_id, recording_id, None, central.now(), segments)
    statement, at = _destroy(central, edge_id, recording_id, None, rows, going)
    for row in rows:
        conn.execute(
            "UPDATE header SET keeper_slot=NULL, sealed_header=NULL WHERE segment_id=? AND version=?",
            (row["segment_id"], row["version"]),
        )
    _note(central, conn, edge_id, recording_id, None, len(rows), at)
    return statement


def _own(conn: Conn, edge_id: str, recording_id: str) -> None:
    conn.exclusive(f"edge:{edge_id}")
    known = conn.execute("SELECT edge_id FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
    if known is not None and known["edge_id"] != edge_id:
        raise CentralError("not_found.recording", "this edge has no such recording", status=404, where=recording_id)


def _held(conn: Conn, recording_id: str) -> list[Row]:
    """Headers of the recording whose keys are kept here."""
    return conn.execute(
        "SELECT segment_id, version, keeper_slot, key_id FROM header WHERE recording_id=? AND keeper_slot IS NOT NULL"
        " ORDER BY segment_id, version",
        (recording_id,),
    ).fetchall()


def _destroy(
    central: Central, edge_id: str, recording_id: str, jti: str | None, rows: list[Row], media: list[str]
) -> tuple[str, str]:
    """Overwrite the slots of `rows`; the signed statement of it, and its time. `media`: hashes of payloads that lie here and
    have to go, which a statement of its own says of each."""
    slots = [int(row["keeper_slot"]) for row in rows]
    central.keeper.shred(slots)
    at = central.now()
    claims: dict[str, Any] = {
        "iss": central.config.fleet,
        "edge_id": edge_id,
        "recording_id": recording_id,
        "jti": jti,
        "slots": slots,
        "key_ids": [row["key_id"] for row in rows],
        "at": at,
        "result": "destroyed" if slots else "nothing_held",
    } | ({"media": media} if media else {})
    return sign_compact(canonical.dumps(claims), central.store, central.store.kid, TYP), at


def _note(central: Central, conn: Conn, edge_id: str, recording_id: str, jti: str | None, slots: int, at: str) -> None:
    body = {"edge_id": edge_id, "recording_id": recording_id, "slots": slots, "jti": jti}
    central.log.append(conn, at, "keeper.shredded", body)


async def post_shred(request: web.Request) -> web.Response:
    """Edge: `{recording_id, key_ids, jti}` → `{claims, jws}`; claims list what was held and is gone. With `only: true`
    nothing but `key_ids` goes."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    body = object_body(asked.body)
    recording_id, jti = field(body, "recording_id"), field(body, "jti", optional=True)
    if not is_id(recording_id) or not (jti is None or is_id(jti)):
        raise CentralError("usage.id", "recording_id and jti are 32 lower-case hex digits", where="recording_id")
    if body.get("only") is True:
        key_ids = body.get("key_ids")
        if not isinstance(key_ids, list) or not all(isinstance(one, str) for one in key_ids):
            raise CentralError("usage.key_ids", "key_ids is a list of texts", where="key_ids")
        part = await central.db.run(lambda conn: shred_keys(central, conn, asked.edge_id, recording_id, key_ids))
        return json_answer(statement_answer(part))
    statement = await central.db.run(lambda conn: shred(central, conn, asked.edge_id, recording_id, jti))
    return json_answer(statement_answer(statement))


def statement_answer(statement: str) -> dict[str, Any]:
    """A stored statement with its claims beside, for readers without a JOSE library."""
    from formats.keys import unb64url

    return {"claims": canonical.loads(unb64url(statement.split(".")[1])), "jws": statement}


async def get_tombstones(request: web.Request) -> web.Response:
    """Edge: everything of it that was erased, for a journal restored from a backup. `?after=` what an answer's `last` was;
    an answer without items is the end. `receipt_id`: the edge's own receipt that says it is done, where it is here."""
    central = request.app[CENTRAL]
    edge_id = (await edge_request(request)).edge_id
    after, limit = request.query.get("after", ""), query_int(request, "limit", PAGE, low=1, high=PAGE)

    def job(conn: Conn) -> list[dict[str, Any]]:
        rows = conn.execute(
            "SELECT t.recording_id, t.jti, t.at, (SELECT r.receipt_id FROM receipt r WHERE"
            " r.edge_id=t.edge_id AND r.recording_id=t.recording_id AND r.result='done' LIMIT 1) AS receipt_id"
            " FROM tombstone t WHERE t.edge_id=? AND t.recording_id>? ORDER BY t.recording_id LIMIT ?",
            (edge_id, after, limit),
        )
        return [dict(row) for row in rows]

    found = await central.db.run(job)
    return json_answer({"tombstones": found, "last": found[-1]["recording_id"] if found else after})
