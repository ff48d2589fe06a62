"""The doors of webhooks and mail: how receivers are, what waits and what is dead, try one, send again."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from aiohttp import web

from central.auth import json_answer
from central.conn import Conn
from central.doors import Door, Param, asker, door, taken
from central.errors import CentralError
from central.hooks import bodies, queue
from central.hooks.outbox import TEST, put
from central.hooks.settings import MAIL, Outgoing
from central.hooks.signing import GIVE_UP
from central.problems import query_int
from central.state import CENTRAL
from formats import canonical
from formats.ids import format_time

PAGE = 1000
_STATES = {"type": "string", "enum": ["waiting", "sent", "dead"]}


def doors() -> list[Door]:
    """See the module."""
    return [
        door(
            "GET",
            "/v1/webhooks",
            get_hooks,
            "ops auditor",
            "Receivers of webhooks and mail, and how each one is.",
            answer=bodies.ReceiverList,
        ),
        door(
            "GET",
            "/v1/webhooks/messages",
            get_messages,
            "ops auditor",
            "Messages to receivers, oldest first.",
            query=(
                "after",
                "limit",
                Param("hook", "Only to this receiver."),
                Param("state", "Only in this state.", _STATES),
            ),
            answer=bodies.MessageList,
        ),
        door(
            "GET",
            "/v1/webhooks/messages/{message_id}",
            get_message,
            "ops auditor",
            "One message with its body.",
            answer=bodies.WholeMessage,
        ),
        door(
            "POST",
            "/v1/webhooks/{name}/test",
            post_test,
            "ops",
            "Send a receiver a message that says nothing but its type.",
            body=bodies.TestBody,
            answer=bodies.Tested,
            status=202,
        ),
        door(
            "POST",
            "/v1/webhooks/{name}/replay",
            post_replay,
            "ops",
            "Enable a receiver and send its dead letters again.",
            body=bodies.ReplayBody,
            answer=bodies.Replayed,
        ),
    ]


def shown(outgoing: Outgoing) -> list[tuple[str, str, tuple[str, ...]]]:
    """Every receiver: name, where it is without what may be secret in a URL, the types it wants."""
    found = []
    for hook in outgoing.webhooks:
        scheme, _, rest = hook.url.partition("://")
        found.append((hook.name, f"{scheme}://{rest.partition('/')[0].partition('?')[0]}", hook.events))
    if outgoing.mail is not None:
        found.append((MAIL, f"{outgoing.mail.host}:{outgoing.mail.port}", outgoing.mail.events))
    return found


async def get_hooks(request: web.Request) -> web.Response:
    """Receivers that are configured."""
    central = request.app[CENTRAL]

    def job(conn: Conn) -> list[dict[str, Any]]:
        return [
            {"name": name, "receiver": where, "events": list(events), **queue.counts(conn, name)}
            for name, where, events in shown(central.config.outgoing)
        ]

    return json_answer({"webhooks": await central.db.run(job)})


_COLUMNS = "seq, message_id, hook, type, state, made_at, due_at, attempts, why, done_at"


async def get_messages(request: web.Request) -> web.Response:
    """Messages without their bodies."""
    after, limit = query_int(request, "after", 0), query_int(request, "limit", PAGE, low=1, high=PAGE)
    hook, state = request.query.get("hook"), request.query.get("state")
    if state is not None and state not in _STATES["enum"]:
        raise CentralError("usage.query", "state is waiting, sent or dead", where="state")

    def job(conn: Conn) -> list[dict[str, Any]]:
        wanted = [(words, value) for words, value in (("hook=?", hook), ("state=?", state)) if value is not None]
        where = " AND ".join(["seq>?", *(words for words, _ in wanted)])
        query = f"SELECT {_COLUMNS} FROM hook_message WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608 - words of ours
        return [dict(row) for row in conn.execute(query, (after, *(value for _, value in wanted), limit))]

    return json_answer({"messages": await request.app[CENTRAL].db.run(job)})


async def get_message(request: web.Request) -> web.Response:
    """One message."""
    message_id = request.match_info["message_id"]

    def job(conn: Conn) -> dict[str, Any]:
        row = conn.execute(f"SELECT {_COLUMNS}, body FROM hook_message WHERE message_id=?", (message_id,)).fetchone()  # noqa: S608
        if row is None:
            raise CentralError("not_found.message", "there is no such message", status=404, where=message_id[:64])
        return {**dict(row), "body": canonical.loads(row["body"])}

    return json_answer(await request.app[CENTRAL].db.run(job))


async def post_test(request: web.Request) -> web.Response:
    """A test goes before what waits, and also to a receiver that is disabled or paused."""
    central = request.app[CENTRAL]
    name, by = _configured(request), asker(request).label
    message_id = secrets.token_hex(16)

    def job(conn: Conn) -> None:
        now = central.now()
        body = canonical.dumps({"type": TEST, "timestamp": now, "data": {"hook": name}}).decode()
        put(central, conn, name, message_id, TEST, body, now)
        conn.execute("UPDATE hook SET paused='' WHERE name=?", (name,))
        central.log.append(conn, now, "webhook.test", {"hook": name, "by": by})

    await central.db.run(job)
    return json_answer({"message_id": message_id}, 202)


async def post_replay(request: web.Request) -> web.Response:
    """`{message_id?}` → `{replayed}`."""
    central = request.app[CENTRAL]
    name, by = _configured(request), asker(request).label
    message_id = taken(request, bodies.ReplayBody).message_id

    now, give_up = central.now(), format_time(central.wall() + GIVE_UP)

    def one(conn: Conn, message_id: str) -> None:
        queue.enable(conn, name)
        if not queue.replay_one(conn, name, message_id, now, give_up):
            raise CentralError(
                "not_found.message", "it has no such message that is sent or dead", status=404, where=message_id
            )
        central.log.append(conn, now, "webhook.replayed", {"hook": name, "count": 1, "by": by})

    def first(conn: Conn) -> tuple[int, int]:
        count = queue.enable(conn, name)
        central.log.append(conn, now, "webhook.replayed", {"hook": name, "count": count, "by": by})
        return queue.replay(name, now, give_up, 0, conn)

    if message_id is not None:
        await central.db.run(lambda conn: one(conn, message_id))
        return json_answer({"replayed": 1})
    total, last = await central.db.run(first)
    moved = total
    while moved >= queue.MANY:
        moved, last = await central.db.run(partial(queue.replay, name, now, give_up, last))
        total += moved
    return json_answer({"replayed": total})


def _configured(request: web.Request) -> str:
    name = request.match_info["name"]
    if name not in [one for one, _, _ in shown(request.app[CENTRAL].config.outgoing)]:
        raise CentralError("not_found.webhook", "no such receiver is configured", status=404, where=name[:64])
    return name
