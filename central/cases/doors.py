"""Doors of cases: a supervisor may open one, a DPO works on it, an auditor reads. Whoever reads one leaves an entry."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from central.auth import json_answer
from central.cases import book, machine, orders, view
from central.cases.model import Case, Choices, Lines, NewCase, NewPackage, Opened, Person, Step, Words
from central.conn import Conn
from central.doors import Door, asker, door, taken
from central.errors import CentralError
from central.problems import query_int
from central.state import CENTRAL, Central

PAGE = 200


def doors() -> list[Door]:
    """All of them."""
    one = "/v1/cases/{ref}"
    return [
        door(
            "POST", "/v1/cases", post_case, "dpo supervisor", "File a request of a data subject.",
            body=NewCase, answer=Opened, status=201,
        ),
        door(
            "GET", "/v1/cases", get_cases, "dpo auditor", "Cases, oldest first, without whom they are about.",
            query=("after", "limit"), answer=Lines,
        ),
        door("GET", one, get_case, "dpo auditor", "A case with its steps, finds, orders and packages.", answer=Case),
        door(
            "POST", one + "/person", post_person, "dpo", "The numbers a case is about; that they were read is noted.",
            body=Words, answer=Person,
        ),
        door("POST", one + "/notes", post_note, "dpo", "Add a note to a case.", body=Words, answer=Case),
        door("POST", one + "/steps", post_step, "dpo", "Take a step of a case.", body=Step, answer=Case),
        door("POST", one + "/extension", post_extension, "dpo", "Extend a case by two months, once.", body=Words, answer=Case),
        door("POST", one + "/choices", post_choices, "dpo", "Include or exclude calls that were found.", body=Choices, answer=Case),
        door(
            "POST", one + "/packages", post_package, "dpo", "Note a package that is given out.", body=NewPackage, answer=Case,
            status=201,
        ),
    ]  # fmt: skip


def _case(central: Central, conn: Conn, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(view.whole(central, conn, book.found(conn, ref)))
    return found


async def post_case(request: web.Request) -> web.Response:
    """201 with the case's name and its day."""
    central, new, by = request.app[CENTRAL], taken(request, NewCase), asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        row = book.opened(central, conn, new, by)
        return {name: row[name] for name in Opened.__struct_fields__}

    return json_answer(await central.db.run(job), 201)


async def get_cases(request: web.Request) -> web.Response:
    """A page."""
    central = request.app[CENTRAL]
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=1000)
    found = await central.db.run(lambda conn: view.lines(conn, after, limit, central.now()))
    return json_answer({"cases": msgspec.to_builtins(found)})


async def get_case(request: web.Request) -> web.Response:
    """The whole case; the entry `case.read` is in central's log before it is out."""
    central, ref, by = request.app[CENTRAL], request.match_info["ref"], asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        found = _case(central, conn, ref)
        central.log.append(conn, central.now(), "case.read", {"case": ref, "by": by.token_id, "role": by.role})
        return found

    return json_answer(await central.db.run(job))


async def post_person(request: web.Request) -> web.Response:
    """Whom it is about, with why somebody wants to know."""
    central, ref, why = request.app[CENTRAL], request.match_info["ref"], taken(request, Words)
    by = asker(request)
    found = await central.db.run(lambda conn: book.person(central, conn, book.held(conn, ref), by, why.text))
    return json_answer(found)


async def post_note(request: web.Request) -> web.Response:
    """A note."""
    central, ref, note = request.app[CENTRAL], request.match_info["ref"], taken(request, Words)
    by = asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        book.add(central, conn, book.held(conn, ref), by, "note", {"note": note.text})
        return _case(central, conn, ref)

    return json_answer(await central.db.run(job))


async def post_step(request: web.Request) -> web.Response:
    """A step; 409 where the case has not come that far."""
    central, ref, asked = request.app[CENTRAL], request.match_info["ref"], taken(request, Step)
    by = asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        row = book.held(conn, ref)
        book.step(
            central, conn, row, by, asked.act, asked.method, asked.note,
            lambda one: orders.missing(conn, one, asked.act, central.now()),
        )  # fmt: skip
        return _case(central, conn, ref)

    return json_answer(await central.db.run(job))


async def post_extension(request: web.Request) -> web.Response:
    """Two months more; the person is told why before the first month is over."""
    central, ref, why = request.app[CENTRAL], request.match_info["ref"], taken(request, Words)
    by = asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        book.extend(central, conn, book.held(conn, ref), by, why.text)
        return _case(central, conn, ref)

    return json_answer(await central.db.run(job))


async def post_choices(request: web.Request) -> web.Response:
    """What the review decides about calls that were found; nothing else can be chosen."""
    central, ref, asked = request.app[CENTRAL], request.match_info["ref"], taken(request, Choices)
    by = asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        row = book.held(conn, ref)
        if row["state"] != "searched":
            raise CentralError(
                "case.state", f"a case that is {row['state']} is not under review", status=409, where=ref,
                hint="a review follows a search, and another search begins it anew",
            )  # fmt: skip
        view.choose(central, conn, row, by, asked.choices)
        return _case(central, conn, ref)

    return json_answer(await central.db.run(job))


async def post_package(request: web.Request) -> web.Response:
    """A copy that is about to be given out: noted before the file has its name."""
    central, ref, made = request.app[CENTRAL], request.match_info["ref"], taken(request, NewPackage)
    by = asker(request)

    def job(conn: Conn) -> dict[str, Any]:
        row = book.held(conn, ref)
        if row["state"] not in machine.EFFECTIVE:
            raise CentralError(
                "case.state", f"nothing may be given out for a case that is {row['state']}", status=409, where=ref,
                hint="the person is identified and every find reviewed first",
            )  # fmt: skip
        view.note_package(central, conn, row, by, made)
        return _case(central, conn, ref)

    return json_answer(await central.db.run(job), 201)
