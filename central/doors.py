"""A door of central's API: where it is, who may pass and what goes in and out. Whoever asks is known before a handler runs.

The declarations are the one place that says who may do what; routing, the published description of the API and the tests of
who may pass are made from them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web

from central.auth import bearer
from central.errors import CentralError
from central.problems import converted, object_body
from central.roles import ADMIN, ANYONE, EDGE, ROLES

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the query string, or a header. `schema`: its JSON Schema; None: what `central/openapi/params.py` says of
    that name, or else a text. `required`: at a door of roles, one of the query that is not said is refused before the handler runs."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """One method of one path.

    path: as aiohttp spells it, with `{names}`. who: `{ANYONE}`, `{EDGE}` (the handler calls `edge_request`), or roles of bearer
    tokens; `admin` may pass wherever a role may. summary: a sentence for readers. query: its parameters, by name alone where the
    name says it all. headers: those beside Authorization. status: of success; further: other statuses of success, with the same
    answer (200 where 201 said "made" and it was there already).

    body, answer: types (msgspec Structs, or lists of them) of the JSON in and out, None where there is none. At a door of
    roles a body was found to be of its type before the handler runs, which takes it from `taken`; a door of edges decodes its own,
    because what was signed are bytes. takes, gives: media types where it is no JSON; then `body` and `answer` are None.

    problems: statuses of refusals beside those that `refusals` knows from the rest.
    """

    method: str
    path: str
    handler: Handler
    who: frozenset[str]
    summary: str
    query: tuple[str | Param, ...] = ()
    headers: tuple[Param, ...] = ()
    body: Any = None
    answer: Any = None
    takes: str = JSON
    gives: str = JSON
    status: int = 200
    further: tuple[int, ...] = ()
    problems: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        words = self.who & {ANYONE, EDGE}
        if not self.who or (words and len(self.who) > 1) or not self.who <= {ANYONE, EDGE, *ROLES}:
            raise ValueError(f"{self.method} {self.path}: who may pass? {sorted(self.who)}")

    @property
    def roles(self) -> frozenset[str]:
        """The roles of tokens that may pass; empty for a door of edges or of anyone."""
        return frozenset() if self.who & {ANYONE, EDGE} else self.who | {ADMIN}

    @property
    def takes_body(self) -> bool:
        """Whether there is a body to be sent."""
        return self.body is not None or self.takes != JSON

    @property
    def refusals(self) -> frozenset[int]:
        """Statuses of every problem it may answer with: any door 503 (the database is away, or is a backup put back); one that
        takes anything 400, a body also 413 and 415; an authenticated one 401 and 403, by token also 429; one that names a thing
        in its path 404; one that changes something by token 409."""
        found = {503, *self.problems}
        named = "{" in self.path.replace("{edge_id}", "" if EDGE in self.who else "{edge_id}")
        if self.query or self.headers or self.takes_body or "{" in self.path:
            found.add(400)
        if self.takes_body:
            found |= {413, 415}
        if EDGE in self.who:
            found |= {400, 401, 403}
        if self.roles:
            found |= {401, 403, 429}
            if self.method != "GET":
                found.add(409)
        if named:
            found.add(404)
        return frozenset(found)


def door(method: str, path: str, handler: Handler, who: str, summary: str, **more: Any) -> Door:
    """A `Door`; `who` in words: "anyone", "edge", or roles with spaces between."""
    return Door(method, path, handler, frozenset(who.split()), summary, **more)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks with a bearer token: its label and role, the decompressed body of the request, and the token's id."""

    label: str
    role: str
    body: bytes
    token_id: str = ""


ASKER: Final = web.RequestKey("asker", Asker)
_BODY: Final = web.RequestKey("body", object)


def asker(request: web.Request) -> Asker:
    """Who was let in (only at doors of roles)."""
    return request[ASKER]


def taken(request: web.Request, kind: type[T]) -> T:
    """The body, of the type that its door declares as `body` (only at doors of roles)."""
    value = request[_BODY]
    assert isinstance(value, kind)
    return value


def routes(doors: Iterable[Door]) -> list[web.RouteDef]:
    """Each door behind its guard. HEAD is no door: it would do all the work of GET, and answer nothing."""
    plain = {"GET": {"allow_head": False}}
    return [web.route(one.method, one.path, _guarded(one), **plain.get(one.method, {})) for one in doors]


def _guarded(one: Door) -> Handler:
    if not one.roles:
        return one.handler

    demanded = tuple(param.name for param in one.query if isinstance(param, Param) and param.required)

    async def guarded(request: web.Request) -> web.StreamResponse:
        who = request[ASKER] = Asker(*await bearer(request, one.roles))
        for name in demanded:
            if not request.query.get(name):
                raise CentralError("usage.query", f"say ?{name}=", where=name)
        if one.body is not None:
            request[_BODY] = converted(object_body(who.body or b"{}"), one.body)
        return await one.handler(request)

    return guarded
