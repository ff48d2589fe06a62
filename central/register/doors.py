"""Doors of the register: the documents as JSON, as a page and as a table, and the versions they are made from."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, asker, door
from central.errors import CentralError
from central.openapi.words import EdgeId, Sha256, Time
from central.register.facts import read_answers, setting
from central.register.store import history, kept, running
from central.state import CENTRAL, Central
from formats.errors import FormatError
from formats.ids import parse_time
from formats.register import FORMS, KINDS, LANGUAGES, Answers, Document, build, changes, entries

_WHO: Final = "dpo auditor"
_QUERY: Final = (
    Param("policy", "Only of this policy.", {"type": "string", "maxLength": 200}),
    Param("lang", "Language of the words; of notices: the only one.", {"type": "string", "enum": list(LANGUAGES)}),
    Param("since", "Of `changes`: from this moment on.", {"type": "string", "format": "date-time"}),
    Param("until", "As things stood at this moment.", {"type": "string", "format": "date-time"}),
)


class RegisterRow(msgspec.Struct, frozen=True):
    """key: the same in every language."""

    key: str
    label: str
    values: list[str]


class RegisterSection(msgspec.Struct, frozen=True):
    """What is said in general, or of one policy in one version."""

    key: str
    title: str
    rows: list[RegisterRow]


class RegisterDocument(msgspec.Struct, frozen=True):
    """A document of the register."""

    kind: str
    lang: str
    title: str
    sections: list[RegisterSection]


class PolicyVersion(msgspec.Struct, frozen=True):
    """What an edge reported: version null where the policy was gone; report_sha256: of all that was reported."""

    edge_id: EdgeId
    policy: str
    version: str | None
    since: Time
    report_sha256: Sha256


class PolicyVersions(msgspec.Struct, frozen=True):
    """Oldest first."""

    policies: list[PolicyVersion]


def doors() -> list[Door]:
    """Out to those who answer for the processing, and those who look after it."""
    made = "made from the policies that edges report"
    return [
        door("GET", "/v1/policies", get_policies, _WHO, "Every version of every policy that edges reported.",
             answer=PolicyVersions),
        door("GET", "/v1/register/{kind}", get_document, _WHO, f"A document of the register, {made}.",
             query=_QUERY, answer=RegisterDocument, problems=(409,)),
        door("GET", "/v1/register/{kind}/page", get_page, _WHO, f"The same as a page, {made}.",
             query=_QUERY, gives="text/html", problems=(409,)),
        door("GET", "/v1/register/{kind}/table", get_table, _WHO, f"The same as a table, {made}.",
             query=_QUERY, gives="text/csv", problems=(409,)),
    ]  # fmt: skip


async def get_policies(request: web.Request) -> web.Response:
    """Whoever looks after the processing: the versions, without their text."""
    return json_answer({"policies": await request.app[CENTRAL].db.run(history)})


async def get_document(request: web.Request) -> web.Response:
    """As JSON."""
    return json_answer((await _made(request)).plain())


async def get_page(request: web.Request) -> web.Response:
    """As HTML, which may load nothing and run nothing."""
    text = FORMS["html"](await _made(request))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})


async def get_table(request: web.Request) -> web.Response:
    """As CSV."""
    return web.Response(text=FORMS["csv"](await _made(request)), content_type="text/csv")


async def _made(request: web.Request) -> Document:
    central, kind = request.app[CENTRAL], request.match_info["kind"]
    only, lang = request.query.get("policy", ""), request.query.get("lang", "")
    if kind not in KINDS:
        hint = ", ".join(KINDS)
        raise CentralError("not_found.document", "there is no such document", status=404, where=kind[:64], hint=hint)
    if lang and lang not in LANGUAGES:
        raise CentralError("usage.query", "no such language", where="lang", hint=", ".join(LANGUAGES))
    since, until = _moment(request, "since"), _moment(request, "until")
    if (kind == "changes") != bool(since):
        raise CentralError("usage.query", "since goes with changes, and changes with since", where="since")
    by = asker(request).label
    answers = await asyncio.to_thread(read_answers, central.config.register)
    return await central.db.run(
        lambda conn: _document(central, conn, answers, kind, only=only, lang=lang, since=since, until=until, by=by)
    )


def _moment(request: web.Request, name: str) -> str:
    """Raises CentralError usage.query."""
    text = request.query.get(name, "")
    try:
        if text:
            parse_time(text)
    except FormatError as error:
        raise CentralError("usage.query", error.message, where=name) from error
    return text


def _document(
    central: Central, conn: Conn, answers: Answers, kind: str, *, only: str, lang: str, since: str, until: str, by: str
) -> Document:
    """Job: build it, and note who was given it. Raises CentralError not_found.policy."""
    now = running(conn, until)
    if kind in ("register", "dpia", "recipients") and not until:
        now += kept(conn)
    if only and not any(one.report.policy == only for one in now) and kind != "changes":
        raise CentralError(
            "not_found.policy", "no edge reported that it runs such a policy", status=404, where=only[:64]
        )
    detail: dict[str, Any] = {"kind": kind, "policy": only, "by": by}
    central.log.append(conn, central.now(), "register.given", detail)
    if kind == "changes":
        return changes(running(conn, since), now, since, until, lang=lang, only=only)
    return build(kind, entries(now, only), answers, setting(conn, central.config), lang=lang, only=only)
