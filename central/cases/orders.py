"""Orders of a case: let through only where the case has come that far and about what was reviewed, and how far they are."""

from __future__ import annotations

from collections import Counter
from typing import Any

from central.cases import book, machine
from central.cases.machine import Lack
from central.cases.model import Match, Progress
from central.conn import Conn, Row
from central.doors import Asker
from central.errors import CentralError
from central.people import complete
from central.state import Central
from formats.certificate_facts import is_last_word
from formats.ids import is_id
from formats.orders import OrderClaims, ReceiptClaims, read_receipt

#: What each kind of request may have ordered, beside a search.
_EFFECTS = {
    "access": frozenset[str](),
    "portability": frozenset[str](),
    "erasure": frozenset({"erase", "restrict"}),
    "restriction": frozenset({"restrict"}),
    "rectification": frozenset({"restrict"}),
    "objection": frozenset({"withdraw", "restrict", "erase"}),
}
#: Who signed it is in the order itself.
_ORDER = Asker("order", "", b"")
#: What undoes or postpones an effect may always be ordered.
_ALWAYS = frozenset({"cancel", "hold", "release"})


def admit(conn: Conn, claims: OrderClaims) -> Row | None:
    """Job, before an order is stored: one that names a case of ours must fit it. The case, for `note`.

    Raises CentralError case.state, case.kind, case.review (409).
    """
    ref = claims.case_ref
    if ref is None or conn.execute("SELECT 1 FROM subject_case WHERE ref=?", (ref,)).fetchone() is None:
        return None
    row = book.held(conn, ref)
    if claims.cmd == "locate":
        if row["state"] not in ("identified", "searched", "reviewed"):
            raise CentralError(
                "case.state", f"a case that is {row['state']} is not searched for", status=409, where=ref,
                hint="note how the person was identified first: callwarden central case step … identify",
            )  # fmt: skip
    elif claims.cmd not in _ALWAYS:
        _fits(conn, row, claims)
    return row


def note(central: Central, conn: Conn, row: Row, claims: OrderClaims) -> None:
    """Job, once the order is queued: it is listed in its case. Not before: this takes the log's name, and queueing takes edges'."""
    conn.execute(
        "INSERT INTO case_order(ref, jti, cmd, at) VALUES (?,?,?,?)",
        (row["ref"], claims.jti, claims.cmd, central.now()),
    )
    book.add(central, conn, row, _ORDER, "ordered", {}, said={"jti": claims.jti, "cmd": claims.cmd})


def _fits(conn: Conn, row: Row, claims: OrderClaims) -> None:
    """What was reviewed, and nothing else, may have an effect."""
    ref = row["ref"]
    if row["state"] not in machine.EFFECTIVE:
        raise CentralError(
            "case.state", f"nothing may be done for a case that is {row['state']}", status=409, where=ref,
            hint="the person is identified and every find reviewed first",
        )  # fmt: skip
    if claims.cmd not in _EFFECTS[row["kind"]]:
        raise CentralError("case.kind", f"a request for {row['kind']} does not {claims.cmd}", status=409, where=ref)
    chosen = {(r["edge_id"], r["call_id"]): bool(r["included"]) for r in _choices(conn, ref)}
    if claims.target.kind == "person" and _open(conn, ref)[0]:
        raise CentralError(
            "case.review", "calls were found that nobody has looked at since the review", status=409, where=ref,
            hint="the order would reach them: callwarden central case search, and review them",
        )  # fmt: skip
    out = {call_id for (_, call_id), included in chosen.items() if not included}
    target = claims.target
    if target.kind == "person":
        wrong = set(claims.exclude) != out if claims.cmd == "erase" else bool(out)
        what = "the calls that the order leaves out are not those that the review left out"
    else:
        call_id = target.id
        if target.kind == "recording":
            known = conn.execute("SELECT call_id FROM recording WHERE recording_id=?", (target.id,)).fetchone()
            call_id = str(known["call_id"]) if known is not None else ""
        wrong = target.kind not in ("call", "recording") or not any(
            included and one == call_id for (_, one), included in chosen.items()
        )
        what = f"the {target.kind} is not among the calls that the review included"
    if wrong:
        raise CentralError("case.review", what, status=409, where=ref, hint=f"callwarden central case show {ref}")


def _choices(conn: Conn, ref: str) -> list[Row]:
    """Of calls that were found, in the order of their finding."""
    return conn.execute(
        "SELECT edge_id, call_id, included, sealed FROM case_choice WHERE ref=? ORDER BY edge_id, call_id", (ref,)
    ).fetchall()


def newest(conn: Conn, jti: str) -> list[ReceiptClaims]:
    """The newest receipt of each edge that answered an order."""
    rows = conn.execute("SELECT edge_id, jws FROM receipt WHERE jti=? ORDER BY edge_id, n", (jti,)).fetchall()
    return list({row["edge_id"]: read_receipt(row["jws"]) for row in rows}.values())


def of_case(conn: Conn, ref: str) -> list[Row]:
    """Its orders, oldest first: jti cmd at."""
    return conn.execute("SELECT jti, cmd, at FROM case_order WHERE ref=? ORDER BY at, jti", (ref,)).fetchall()


def progress(conn: Conn, ref: str, now: str) -> list[Progress]:
    """How far each order of the case is."""
    return [_progress(conn, row, now) for row in of_case(conn, ref)]


def _progress(conn: Conn, row: Row, now: str) -> Progress:
    order = conn.execute("SELECT target_kind, target FROM orders WHERE jti=?", (row["jti"],)).fetchone()
    edges = int(conn.execute("SELECT count(DISTINCT edge_id) FROM delivery WHERE jti=?", (row["jti"],)).fetchone()[0])
    said = newest(conn, row["jti"])
    kind = order["target_kind"] if row["cmd"] == "erase" else ""
    target = str(order["target_kind"]) + ("" if order["target_kind"] == "person" else f" {order['target']}")
    return Progress(
        jti=row["jti"], cmd=row["cmd"], target=target, at=row["at"], edges=edges,
        answered=sum(is_last_word(one, kind) for one in said), results=dict(Counter(one.result for one in said)),
        receipts=[one.receipt_id for one in said], complete=complete(conn, row["jti"], now),
    )  # fmt: skip


def matches(conn: Conn, ref: str, reasons: dict[tuple[str, str], str | None]) -> tuple[list[Match], int]:
    """What the case's searches found, oldest call first, each call once; and how many calls no list had room for."""
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    more = 0
    for row in of_case(conn, ref):
        if row["cmd"] != "locate":
            continue
        for said in newest(conn, row["jti"]):
            listed = said.evidence.get("matches", [])
            facts |= {(said.edge_id, one["call_id"]): one for one in listed if is_id(one.get("call_id"))}
            more += int(said.evidence.get("more", 0))
    chosen = {(r["edge_id"], r["call_id"]): bool(r["included"]) for r in _choices(conn, ref)}
    made = [
        Match(
            edge_id=key[0], call_id=key[1], started_at=str(one["started_at"]), seconds=one.get("seconds"),
            queue=str(one.get("policy_id")), direction=str(one.get("direction")), outcome=one.get("outcome"),
            recordings=int(one.get("recordings", 0)), held=bool(one.get("held")), included=chosen.get(key),
            reason=reasons.get(key),
        )
        for key, one in facts.items()
    ]  # fmt: skip
    return sorted(made, key=lambda one: (one.started_at, one.edge_id, one.call_id)), more


def rectified(conn: Conn, row: Row) -> list[str]:
    """Included calls of which an edge reported a correction since the case was opened."""
    found = conn.execute(
        "SELECT DISTINCT c.call_id FROM case_choice c JOIN event e ON e.edge_id=c.edge_id AND e.subject=c.call_id"
        " WHERE c.ref=? AND c.included=1 AND e.type='call.rectified' AND e.received_at>=? ORDER BY c.call_id",
        (row["ref"], row["opened_at"]),
    )
    return [str(one["call_id"]) for one in found]


def _open(conn: Conn, ref: str) -> tuple[int, int]:
    """How many calls that were found are neither in nor out, and how many were found."""
    found = matches(conn, ref, {})[0]
    return sum(one.included is None for one in found), len(found)


def missing(conn: Conn, row: Row, act: str, now: str) -> Lack:
    """What an act still lacks, and whether a note may go past it."""
    ref = row["ref"]
    if act == "search":
        return _unsearched(conn, ref, now)
    if act == "review":
        open_, found = _open(conn, ref)
        return Lack(f"{open_} of {found} calls are neither in nor out" if open_ else "")
    if act != "execute":
        return Lack()
    if undone := _undone(conn, row):
        return Lack(undone)
    waiting = [one.jti for one in progress(conn, ref, now) if one.cmd != "locate" and not one.complete]
    if waiting:
        words = f"{len(waiting)} order(s) have not been answered by every edge: {' '.join(waiting[:3])}"
        return Lack(words, excused=True)
    left = _uncorrected(conn, row)
    return Lack(f"{left} call(s) are not corrected yet" if left else "", excused=True)


def _unsearched(conn: Conn, ref: str, now: str) -> Lack:
    searches = [one for one in progress(conn, ref, now) if one.cmd == "locate"]
    if not searches:
        return Lack("nobody has searched yet")
    if any(not one.complete for one in searches):
        return Lack("an edge has not answered a search", excused=True)
    if any(one.answered < one.edges or any(word.startswith("refused") for word in one.results) for one in searches):
        return Lack("an edge gave no answer to a search, or refused it", excused=True)
    more = matches(conn, ref, {})[1]
    return Lack(f"{more} further calls were found and not listed" if more else "", excused=True)


def _included(conn: Conn, ref: str) -> set[str]:
    return {r["call_id"] for r in _choices(conn, ref) if r["included"]}


def _undone(conn: Conn, row: Row) -> str:
    """What nobody began although there are calls to do it to, in words."""
    if not _included(conn, row["ref"]):
        return ""
    if row["kind"] in machine.PACKAGED:
        made = conn.execute("SELECT count(*) FROM case_package WHERE ref=?", (row["ref"],)).fetchone()[0]
        return "" if made else "no package was made"
    effects = [one for one in of_case(conn, row["ref"]) if one["cmd"] in _EFFECTS[row["kind"]]]
    return "" if effects or row["kind"] == "rectification" else "nothing was ordered"


def _uncorrected(conn: Conn, row: Row) -> int:
    return len(_included(conn, row["ref"]) - set(rectified(conn, row))) if row["kind"] == "rectification" else 0
