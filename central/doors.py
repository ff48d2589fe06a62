"""A door of central's API: where it is, who may pass and what goes in and out. Whoever asks is known before a handler runs.

The declarations are the one place that says who may do what; routing, the published description of the API and the tests of
who may pass are made from them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from central.auth import bearer
from central.roles import ADMIN, ANYONE, EDGE, ROLES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Door:
    """One method of one path.

    path: as aiohttp spells it, with `{names}`. who: `{ANYONE}`, `{EDGE}` (the handler calls `edge_request`), or roles of bearer
    tokens; `admin` may pass wherever a role may. summary: a sentence for readers. query: names of its parameters. body, answer:
    msgspec Structs of the JSON in and out, None where there is none or it is no JSON object of ours. status: of success.
    """

    method: str
    path: str
    handler: Handler
    who: frozenset[str]
    summary: str
    query: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    status: int = 200

    def __post_init__(self) -> None:
        words = self.who & {ANYONE, EDGE}
        if not self.who or (words and len(self.who) > 1) or not self.who <= {ANYONE, EDGE, *ROLES}:
            raise ValueError(f"{self.method} {self.path}: who may pass? {sorted(self.who)}")

    @property
    def roles(self) -> frozenset[str]:
        """The roles of tokens that may pass; empty for a door of edges or of anyone."""
        return frozenset() if self.who & {ANYONE, EDGE} else self.who | {ADMIN}


def door(method: str, path: str, handler: Handler, who: str, summary: str, **more: Any) -> Door:
    """A `Door`; `who` in words: "anyone", "edge", or roles with spaces between."""
    return Door(method, path, handler, frozenset(who.split()), summary, **more)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks with a bearer token: its label and role, and the decompressed body of the request."""

    label: str
    role: str
    body: bytes


ASKER: Final = web.RequestKey("asker", Asker)


def asker(request: web.Request) -> Asker:
    """Who was let in (only at doors of roles)."""
    return request[ASKER]


def routes(doors: Iterable[Door]) -> list[web.RouteDef]:
    """Each door behind its guard."""
    return [web.route(one.method, one.path, _guarded(one)) for one in doors]


def _guarded(one: Door) -> Handler:
    if not one.roles:
        return one.handler

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[ASKER] = Asker(*await bearer(request, one.roles))
        return await one.handler(request)

    return guarded
