"""Doors at which tokens are made, listed and revoked: for administrators alone."""

from __future__ import annotations

from aiohttp import web

from central import tokens
from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, asker, door, taken
from central.openapi import answers, bodies
from central.revocations import UNNOTED
from central.roles import ADMIN
from central.state import CENTRAL


def doors() -> list[Door]:
    """Make, look, revoke."""
    return [
        door(
            "POST",
            "/v1/tokens",
            post_token,
            ADMIN,
            "Make a bearer token; it is shown this once.",
            body=bodies.TokenBody,
            answer=answers.NewToken,
            status=201,
        ),
        door("GET", "/v1/tokens", get_tokens, ADMIN, "Every token, without what it is.", answer=answers.TokenList),
        door(
            "DELETE",
            "/v1/tokens/{token_id}",
            delete_token,
            ADMIN,
            "Revoke a token: it opens nothing from now on.",
            answer=answers.Token,
        ),
    ]


async def post_token(request: web.Request) -> web.Response:
    """A token of one role."""
    central, who, body = request.app[CENTRAL], asker(request), taken(request, bodies.TokenBody)

    def job(conn: Conn) -> tuple[str, tokens.TokenRow]:
        now = central.now()
        return tokens.make(conn, central.log, now, body.role, body.label, body.expires_days, who.token_id)

    token, row = await central.db.run(job)
    return json_answer(row.answer() | {"token": token}, 201)


async def get_tokens(request: web.Request) -> web.Response:
    """Every token."""
    rows = await request.app[CENTRAL].db.run(tokens.listed)
    return json_answer({"tokens": [row.answer() for row in rows]})


async def delete_token(request: web.Request) -> web.Response:
    """Revoke one; a repeat is answered the same. Also the one that asks, and the last: `callwarden central token new
    --central-config` makes another on central's host."""
    central, who, token_id = request.app[CENTRAL], asker(request), request.match_info["token_id"]

    def job(conn: Conn) -> tokens.TokenRow:
        def unnoted(why: str) -> None:
            central.alarm(conn, "", UNNOTED, f"token {token_id} is revoked, but a restore would not know: {why}")

        now, keeper = central.now(), central.config.keeper
        return tokens.revoke(conn, central.log, now, token_id, who.token_id, keeper, unnoted)

    return json_answer((await central.db.run(job)).answer())
