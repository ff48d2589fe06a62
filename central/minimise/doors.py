"""Doors: the fleet's search key for an edge, and the calls of a number for people."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from central.auth import edge_request, json_answer
from central.conn import Conn
from central.doors import Door, asker, door, taken
from central.errors import CentralError
from central.minimise import numbers
from central.minimise.loggable import loggable
from central.minimise.numbers import Span
from central.minimise.purposes import judge, reading_of
from central.openapi.words import Count, EdgeId, Jws, Sha256, Time
from central.problems import field, object_body
from central.state import CENTRAL
from formats import canonical, search
from formats.errors import FormatError
from formats.ids import format_time, parse_time
from formats.jws import sign_compact
from formats.keys import unb64url
from formats.numbers import digits, e164
from formats.orders import Person

#: Calls in one answer; who has more narrows the span.
MOST_CALLS: Final = 500


#: As edges name policies; "" for any.
PolicyName = Annotated[str, Meta(pattern="^([A-Za-z0-9][A-Za-z0-9_-]{0,62})?$")]


class SearchKeyBody(Struct, frozen=True):
    """`public`: an X25519 public key made for this one answer, base64url."""

    public: Annotated[str, Meta(max_length=64)]


class SearchKeyAnswer(Struct, frozen=True):
    """A compact JWS by the store: the newest key, sealed to `public`."""

    jws: Jws


class SearchBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose calls are looked for, for what and why. `number`: in any spelling, a national one at home in `country` (default:
    central's own). `purpose`: one that the answers cover, or "data_subject_request" of who answers those. `reason`, `case`: for
    the log, without a number. `since`, `until`, `edge`: where to look; calls that began then or later, and before. `policy`: only
    calls under one of these; `direction`: only calls that came in, or went out."""

    number: Annotated[str, Meta(min_length=1, max_length=64)]
    purpose: Annotated[str, Meta(min_length=1, max_length=80)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    country: Annotated[str, Meta(pattern="^([A-Z]{2})?$")] = ""
    since: Time | None = None
    until: Time | None = None
    edge: Annotated[str, Meta(max_length=200)] = ""
    case: Annotated[str, Meta(max_length=80)] = ""
    policy: PolicyName | Annotated[list[PolicyName], Meta(min_length=1, max_length=50)] = ""
    direction: Literal["", "inbound", "outbound"] = ""


class FoundCall(Struct, frozen=True):
    """A call of the number, and the purpose it was found for."""

    call_id: str
    edge_id: EdgeId
    party_id: str
    outcome: str | None
    opened: dict[str, Any] | None
    closed: dict[str, Any] | None
    recordings: list[str]
    purpose: str


class Refused(Struct, frozen=True):
    """Calls of the number of which nothing is said."""

    purpose: Count
    restricted: Count


class NotSearched(Struct, frozen=True):
    """Calls whose number is not here: none came; it was forgotten; it was hashed under a key that is gone. `not_opened`: calls of
    the number of which nothing says yet whether they are of the policy and direction that were asked for."""

    no_number: Count
    gone: Count
    other_key: Count
    not_opened: Count


class SearchAnswer(Struct, frozen=True):
    """`more`: calls beyond those listed. `searched_as`: the number in central's log, a commitment that `salt` opens."""

    calls: list[FoundCall]
    more: Count
    refused: Refused
    not_searched: NotSearched
    searched_as: Sha256
    salt: str
    hint: str


def doors() -> list[Door]:
    """The search key, and search."""
    return [
        door(
            "POST",
            "/v1/edges/{edge_id}/search-key",
            post_search_key,
            "edge",
            "The fleet's newest search key, sealed to a key of the question.",
            body=SearchKeyBody,
            answer=SearchKeyAnswer,
            problems=(404,),
        ),
        # Not GET: a number in an address is written down by every proxy on the way.
        door(
            "POST",
            "/v1/calls/search",
            post_search,
            "dpo supervisor",
            "The calls of a number, in any spelling, across edges.",
            body=SearchBody,
            answer=SearchAnswer,
        ),
    ]


async def post_search_key(request: web.Request) -> web.Response:
    """Edge: `{public}` → `{jws}`; 404 `not_found.search_key` where this central has none."""
    central = request.app[CENTRAL]
    asked = await edge_request(request)
    public = field(object_body(asked.body), "public", longest=64)
    ring = central.search.now()
    if ring is None:
        raise CentralError("not_found.search_key", "this central has no search key", status=404, hint=_NO_KEY)
    try:
        claims = search.key_claims(ring.newest, central.config.fleet, asked.edge_id, unb64url(public))
    except FormatError as error:
        raise CentralError("usage.field", error.message, where="public") from error
    facts = {"edge_id": asked.edge_id, "key_id": ring.newest.id}
    await central.db.run(lambda conn: central.log.append(conn, central.now(), "search_key.given", facts))
    return json_answer({"jws": sign_compact(claims, central.store, central.store.kid, search.TYP)})


_NO_KEY: Final = "callwarden central search-key new"


async def post_search(request: web.Request) -> web.Response:
    """Whoever may read calls: a `SearchBody` → a `SearchAnswer`. The entry `calls.searched` is in central's log before; of the number
    it has a commitment, which only who has the answer can open."""
    central, by = request.app[CENTRAL], asker(request)
    asked = taken(request, SearchBody)
    country = asked.country or central.config.country
    number = e164(asked.number, country)
    if number is None:
        raise CentralError(
            "usage.number",
            "this is no telephone number",
            where="number",
            hint="write it with its country (+420…), or name the country its spelling is at home in",
        )
    if digits(number)[-6:] in digits(asked.reason) or digits(number)[-6:] in digits(asked.case):
        raise CentralError("usage.reason", "the log cannot forget: no number in reason or case", where="reason")
    policies = tuple(filter(None, [asked.policy] if isinstance(asked.policy, str) else asked.policy))
    span = Span(asked.edge, _time(asked.since, "since"), _time(asked.until, "until"), policies, asked.direction)
    person = Person(os.urandom(16), number)
    wanted = reading_of(by, asked.purpose, asked.case)
    facts = {**wanted.said(), "reason": loggable(asked.reason, "reason"), "number": person.id, "edge_id": asked.edge}
    facts |= {"policy": " ".join(loggable(one, "policy") for one in policies)} if policies else {}
    facts |= {"direction": asked.direction} if asked.direction else {}

    def job(conn: Conn) -> dict[str, Any]:
        found, not_opened = numbers.find(central, conn, number, span)
        calls, refused = [], {"purpose": 0, "restricted": 0}
        for call_id, party_id in found:
            verdict = judge(conn, wanted, call_id)
            if verdict.refused:
                refused[verdict.refused] += 1
            else:
                calls.append((call_id, party_id, verdict.purpose))
        shown = calls[:MOST_CALLS]
        counts = {"found": len(calls), **{f"refused_{why}": count for why, count in refused.items() if count}}
        central.log.append(conn, central.now(), "calls.searched", {**facts, **counts})
        missed = {**numbers.not_searched(central, conn, span), "not_opened": not_opened}
        return {
            "calls": [_found(conn, *one) for one in shown],
            "more": len(calls) - len(shown),
            "refused": refused,
            "not_searched": missed,
            "searched_as": person.id,
            "salt": person.salt.hex(),
            "hint": _LOCATE if any(missed.values()) else "",
        }

    return json_answer(await central.db.run(job))


_LOCATE: Final = "of calls that were not searched the edges know: callwarden central locate NUMBER"


def _time(text: str | None, where: str) -> str:
    try:
        return "" if text is None else format_time(parse_time(text))
    except FormatError as error:
        raise CentralError("usage.time", error.message, where=where) from error


def _found(conn: Conn, call_id: str, party_id: str, purpose: str) -> dict[str, Any]:
    row = conn.execute("SELECT edge_id, outcome, opened, closed FROM call WHERE call_id=?", (call_id,)).fetchone()
    recordings = conn.execute("SELECT recording_id FROM recording WHERE call_id=? ORDER BY seq", (call_id,))
    return {
        "call_id": call_id,
        "edge_id": row["edge_id"],
        "party_id": party_id,
        "outcome": row["outcome"],
        "opened": None if row["opened"] is None else canonical.loads(row["opened"]),
        "closed": None if row["closed"] is None else canonical.loads(row["closed"]),
        "recordings": [one[0] for one in recordings],
        "purpose": purpose,
    }
