"""For what somebody reads: one of the purposes that the answer of the call covers, or it is refused, and both are in the log.

Every door that gives out what is known of a call, a recording or its media asks here (docs/spec/reading.md). The entry is committed
before anything is out, and the refusal before it is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from central.conn import Conn, Row
from central.doors import Asker
from central.errors import CentralError
from central.minimise.loggable import loggable
from central.minimise.restrictions import restricted
from central.roles import ADMIN, DPO
from central.state import Central
from formats import canonical

#: The one purpose for which what is restricted may be read; it needs a case.
LEGAL_CLAIMS: Final = "legal_claims"
#: A data subject's own request is no purpose of the operator's: it covers every call, for those who answer such requests.
ACCESS: Final = "data_subject_request"
#: Who answers them.
_ANSWERS: Final = frozenset({ADMIN, DPO})
#: Longest purpose, and longest case, characters.
_LONGEST: Final = 80


@dataclass(frozen=True, slots=True)
class Reading:
    """Who reads, for what. `purpose` "": the first that is granted, refused where none is; `case`: a number for the log, "" for none."""

    by: Asker
    purpose: str = ""
    case: str = ""

    def said(self) -> dict[str, Any]:
        """For the log: no person but who reads."""
        facts = {"by": self.by.label, "role": self.by.role, "purpose": self.purpose, "case": self.case}
        return {name: text for name, text in facts.items() if text}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`purpose`: what the reading is for; `refused`: why not, "" where it may go on: `purpose` or `restricted`."""

    purpose: str
    refused: str = ""
    granted: tuple[str, ...] = ()


def reading(request: web.Request, by: Asker) -> Reading:
    """The reading that `?purpose=` and `?case=` describe. Raises CentralError usage.field, usage.reason."""
    return reading_of(by, request.query.get("purpose", ""), request.query.get("case", ""))


def reading_of(by: Asker, purpose: str, case: str) -> Reading:
    """The same out of two texts. Raises CentralError usage.field, usage.reason."""
    for name, text in (("purpose", purpose), ("case", case)):
        if len(text) > _LONGEST or not text.isprintable():
            raise CentralError("usage.field", f"a {name} has at most {_LONGEST} printable characters", where=name)
        loggable(text, name)
    return Reading(by, purpose, case)


def granted(conn: Conn, call_id: str | None, recording_id: str = "") -> tuple[str, ...]:
    """What the answer covers: of a recording, or of all recordings of a call; of a call without any, what its policy says. The
    words of an older edge, which did not report what an answer granted, are the policy's."""
    rows: list[Row] = []
    if recording_id:
        rows = conn.execute("SELECT opened FROM recording WHERE recording_id=?", (recording_id,)).fetchall()
    elif call_id:
        rows = conn.execute("SELECT opened FROM recording WHERE call_id=? ORDER BY seq", (call_id,)).fetchall()
    found = [words for row in rows if (words := _purposes(row["opened"])) is not None]
    if not found and call_id:
        row = conn.execute("SELECT opened FROM call WHERE call_id=?", (call_id,)).fetchone()
        found = [_purposes(row["opened"]) or []] if row is not None else []
    return tuple(dict.fromkeys(word for words in found for word in words))


def judge(conn: Conn, wanted: Reading, call_id: str | None, recording_id: str = "") -> Verdict:
    """Job: whether this reading may go on."""
    if call_id and restricted(conn, call_id, recording_id):
        claim = wanted.purpose == LEGAL_CLAIMS and wanted.case
        return Verdict(wanted.purpose, "" if claim else "restricted")
    if wanted.purpose == ACCESS and wanted.by.role in _ANSWERS:
        return Verdict(ACCESS)
    words = granted(conn, call_id, recording_id)
    if not wanted.purpose:
        return Verdict(words[0], granted=words) if words else Verdict("", "purpose")
    return Verdict(wanted.purpose, "" if wanted.purpose in words else "purpose", words)


async def admit(
    central: Central, wanted: Reading, kind: str, *, call_id: str | None = None, recording_id: str = "", **facts: Any
) -> str:
    """The purpose of a reading of one call or recording, once it is in the log as `kind` with `facts`.

    Raises CentralError not_found.*, and command.purpose, command.restricted (403), which are in the log as `read.refused`.
    """

    def job(conn: Conn) -> Verdict:
        return noted(central, conn, wanted, kind, _call_of(conn, call_id, recording_id), recording_id, **facts)

    verdict = await central.db.run(job)
    if verdict.refused:
        raise refusal(verdict, recording_id or call_id or "")
    return verdict.purpose


def noted(
    central: Central, conn: Conn, wanted: Reading, kind: str, call_id: str | None, recording_id: str = "", **facts: Any
) -> Verdict:
    """Job: `judge`, with its entry. Whoever calls it raises `refusal` only once this is committed, or the entry is lost."""
    verdict = judge(conn, wanted, call_id, recording_id)
    body = {**facts, **_named(call_id, recording_id), **wanted.said()}
    if verdict.refused:
        central.log.append(conn, central.now(), "read.refused", {**body, "what": kind, "why": verdict.refused})
    else:
        central.log.append(conn, central.now(), kind, {**body, "purpose": verdict.purpose})
    return verdict


def refusal(verdict: Verdict, where: str) -> CentralError:
    """What is answered to a reading that may not go on."""
    if verdict.refused == "restricted":
        return CentralError(
            "command.restricted",
            "it is restricted: nobody may read it but for legal claims",
            status=403,
            where=where,
            hint=f"for a claim: purpose {LEGAL_CLAIMS} with the number of its case",
        )
    return CentralError(
        "command.purpose",
        f"the answer of this call does not cover the purpose {verdict.purpose!r}"
        if verdict.purpose
        else "central knows of no purpose that the answer of this call covers, and none was named",
        status=403,
        where=where,
        hint=f"granted: {', '.join(verdict.granted) or 'nothing'}",
    )


def _call_of(conn: Conn, call_id: str | None, recording_id: str) -> str | None:
    if recording_id:
        row = conn.execute("SELECT call_id FROM recording WHERE recording_id=?", (recording_id,)).fetchone()
        if row is None:
            raise CentralError(
                "not_found.recording", "no edge reported such a recording", status=404, where=recording_id
            )
        return None if row["call_id"] is None else str(row["call_id"])
    if call_id is None or conn.execute("SELECT 1 FROM call WHERE call_id=?", (call_id,)).fetchone() is None:
        raise CentralError("not_found.call", "no edge reported such a call", status=404, where=call_id or "")
    return call_id


def _named(call_id: str | None, recording_id: str) -> dict[str, str]:
    return {name: one for name, one in (("call_id", call_id), ("recording_id", recording_id)) if one}


def _purposes(text: str | None) -> list[str] | None:
    body = None if text is None else canonical.loads(text)
    words = body.get("purposes") if isinstance(body, dict) else None
    return [str(one) for one in words] if isinstance(words, list) else None
