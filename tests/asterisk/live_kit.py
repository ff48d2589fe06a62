"""Calls that go on, on a whole stack: a caller who agreed, an agent who answered, and what is known of them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from edge.ami.connection import connect
from rig.calltable_run import marks
from rig.desk_phone import DeskPhone, Leg
from rig.phone import Phone
from rig.stack import Stack
from rig.tones import AGENT, CALLER, tone
from tests.asterisk.stacks import whole_stack

#: The machine is shared: what takes a tenth of a second alone may take much longer.
PATIENCE_S = 30.0


@contextmanager
def live_stack(name: str, extra: str = "") -> Iterator[Stack]:
    """A stack of its own, gone afterwards."""
    with whole_stack(name, extra=extra) as running:
        yield running


def rows(stack: Stack, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """From the edge's journal, read-only."""
    conn = sqlite3.connect(f"file:{stack.journal}?mode=ro", uri=True, timeout=10)
    try:
        return conn.execute(query, values).fetchall()
    finally:
        conn.close()


async def until(what: str, condition: Callable[[], Any], within: float = PATIENCE_S) -> Any:
    """The first true value of `condition`. Raises TimeoutError naming `what`."""
    end = time.monotonic() + within
    while True:
        found = await asyncio.to_thread(condition)
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {within} s")
        await asyncio.sleep(0.05)


@dataclass
class Talk:
    """A call in conversation."""

    stack: Stack
    caller: Phone
    agent: Leg
    number: str

    @property
    def call_id(self) -> str:
        """The newest call of this number."""
        query = "SELECT c.call_id FROM call c JOIN party p USING(party_id) WHERE p.number_heard=? ORDER BY c.started_at DESC"
        found = rows(self.stack, query, self.number)
        return str(found[0][0]) if found else ""

    def outcome(self) -> str:
        """As it is filed now."""
        return str(rows(self.stack, "SELECT ifnull(outcome, '') FROM call WHERE call_id=?", self.call_id)[0][0])

    def states(self) -> list[str]:
        """Of its recordings, oldest first."""
        query = "SELECT state FROM recording WHERE call_id=? ORDER BY started_at, rowid"
        return [state for (state,) in rows(self.stack, query, self.call_id)]

    def parties(self) -> list[tuple[str, str, bool]]:
        """(role, standing, present) of everybody but the caller."""
        query = (
            "SELECT p.role, p.standing, max(l.left_at IS NULL) FROM party p JOIN leg l USING(party_id)"
            " WHERE p.call_id=? AND p.role NOT IN ('caller', 'callee') GROUP BY p.party_id ORDER BY min(l.joined_at)"
        )
        return [(role, standing, bool(there)) for role, standing, there in rows(self.stack, query, self.call_id)]

    def pauses(self) -> list[tuple[str, bool]]:
        """(reason, open), oldest first."""
        query = "SELECT reason, ended_at IS NULL FROM pause WHERE call_id=? ORDER BY began_at"
        return [(reason, bool(open_)) for reason, open_ in rows(self.stack, query, self.call_id)]

    def flags(self) -> list[str]:
        """Marks of its recordings."""
        query = "SELECT flag FROM recording_flag JOIN recording USING(recording_id) WHERE call_id=? ORDER BY at"
        return [flag for (flag,) in rows(self.stack, query, self.call_id)]

    def events(self) -> list[str]:
        """Kinds of its consent events, oldest first."""
        return [
            k for (k,) in rows(self.stack, "SELECT kind FROM consent_event WHERE call_id=? ORDER BY seq", self.call_id)
        ]

    async def recording(self) -> None:
        """Until Asterisk is seen to write."""
        await until("a recording that grows", lambda: "recording" in self.states())

    async def press(self, phone: Phone, code: str) -> None:
        """A feature code."""
        for key in code:
            await phone.press(key)
            await asyncio.sleep(0.08)


@asynccontextmanager
async def desk(stack: Stack, name: str, *, seed: int = 900) -> AsyncIterator[DeskPhone]:
    """The phone of an agent (agent1, agent2) or the far end of `trunk2`."""
    pbx = stack.pbx()
    band = CALLER if name.startswith("trunk") else AGENT
    async with DeskPhone(pbx.sip_port, name, pbx.peers[name], tone(seed, band)) as phone:
        yield phone


@asynccontextmanager
async def talking(
    stack: Stack, agent: DeskPhone, *, dial: str = "1041", number: str = "+420608000001", seed: int = 1, key: str = "1",
    prompt: str = "ask",
) -> AsyncIterator[Talk]:  # fmt: skip
    """A caller who answers the question of `dial` with `key` and talks with the agent; hung up at the end."""
    dialling = asyncio.create_task(
        Phone.dial(stack.pbx(), dial, number=number, voice=tone(seed), within=PATIENCE_S)
    )  # a call that is asked nothing is answered by the agent
    leg = None if key else await agent.pick_up(PATIENCE_S)
    caller = await dialling
    try:
        if key:
            await caller.hear(20)
            await asyncio.sleep(marks()[prompt].counts + 0.5)
            await caller.press(key)
        leg = leg or await agent.pick_up(PATIENCE_S)
        talk = Talk(stack, caller, leg, number)
        await until("the call's row", lambda: talk.call_id)
        yield talk
    finally:
        await caller.hang_up()


async def act(stack: Stack, call_id: str, what: str, *, role: str = "supervisor", **query: str) -> dict[str, Any]:
    """POST /v1/calls/CALL/WHAT over the daemon's socket; the answer, with `status`."""
    words = "&".join(f"{name}={value}" for name, value in {"as": role, **query}.items())
    reader, writer = await asyncio.open_unix_connection(str(stack.memory / "edge.sock"))
    request = f"POST /v1/calls/{call_id}/{what}?{words} HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    found: dict[str, Any] = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
    return found | {"status": int(head.split()[1])}


def channel(stack: Stack, part: str) -> str:
    """The name of the one channel that begins so. Raises LookupError."""
    lines = stack.pbx().cli("core show channels concise").splitlines()
    found = [line.partition("!")[0] for line in lines if line.startswith(part)]
    if len(found) != 1:
        raise LookupError(f"{part}: {found}")
    return found[0]


async def redirect(stack: Stack, name: str, exten: str, context: str = "from-callers") -> None:
    """AMI Redirect by the rig's own account: a blind transfer of this channel alone."""
    pbx = stack.pbx()
    link = await connect("127.0.0.1", pbx.ami_port, lambda message: None)
    try:
        await link.action("Login", {"Username": "rig", "Secret": pbx.ami_secret})
        fields = {"Channel": name, "Exten": exten, "Context": context, "Priority": "1"}
        done = await link.action("Redirect", fields)
        assert done.get("Response") == "Success", done
    finally:
        link.end("done")
