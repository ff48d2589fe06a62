"""A call that goes on, as the stage of live calls knows it, and what it needs of Asterisk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import structlog

from edge.calls.world import World
from edge.consent.policy import Policy, from_document
from edge.errors import CallwardenError
from edge.model.entities import CallRow
from edge.ports import Asterisk

log = structlog.get_logger("calls")


class Exchange(Asterisk, Protocol):
    """The AMI link with what only live calls need."""

    def in_bridge(self, channel_uid: str) -> bool:
        """Whether the channel is in some bridge."""
        ...

    def kept_apart(self, channel_uid: str) -> bool:
        """Whether it is in a bridge whose members do not hear each other: parked, or in a waiting room."""
        ...

    async def get_global(self, name: str) -> str:
        """A global variable; "" when unset. Raises ami.*."""
        ...

    async def set_global(self, name: str, value: str) -> None:
        """Raises ami.*."""
        ...

    async def hang_up(self, channel_name: str) -> None:
        """End this channel. Raises ami.*."""
        ...


@dataclass(slots=True)
class Followed:
    """One call whose channel exists.

    lock: one change of its recordings at a time. dirty: something happened since it was looked at. timer: ends an asked
    pause. asked: further parties, by channel, and the company they were asked in. again: its recording was ended only
    because it could not be muted; another may begin when the pause is over. mended: channels it was with when its silent
    side was repaired last.
    """

    call_id: str
    channel_uid: str
    policy: Policy
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    dirty: bool = False
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    asked: dict[str, frozenset[str]] = field(default_factory=dict)
    again: bool = False
    mended: frozenset[str] | None = None


class Policies:
    """The policies that calls began under, whatever the configuration says now."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[tuple[str, str], Policy] = {}

    async def of(self, call: CallRow) -> Policy | None:
        """None for a call without one (adopted, or of a version that cannot be read)."""
        key = (call.policy_id, call.policy_version)
        if key not in self._known:
            document = await self._world.journal.policy_document(*key)
            if document is None or not call.policy_version:
                return None
            try:
                self._known[key] = from_document(document)
            except ValueError as error:
                log.error("the policy of a call cannot be read", call=call.call_id, why=str(error))
                return None
        return self._known[key]


def text_of(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds and Z."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def answer(call: CallRow, did: str, says: str) -> dict[str, Any]:
    """What API and CLI say of a wish: `did` is one word, `says` a sentence."""
    newest = {"recording": call.recordings[-1]} if call.recordings else {}
    return {"call": call.call_id, "did": did, "says": says, **newest}


def not_found(call_id: str) -> CallwardenError:
    """No such call."""
    return CallwardenError("calls.not_found", "there is no such call", where=call_id)


def not_live(call_id: str, why: str) -> CallwardenError:
    """Too late for that."""
    return CallwardenError("calls.not_live", why, where=call_id)


def refused(call_id: str, why: str, hint: str = "") -> CallwardenError:
    """The rules say no."""
    return CallwardenError("calls.refused", why, where=call_id, hint=hint)
