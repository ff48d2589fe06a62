"""What people ask of a call that goes on, and of the daemon: each is in the audit log, with who asked and in which role,
before it has an effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edge.api.deps import ApiDeps, Json
from edge.api.words import check_word, only, unknown_call
from edge.errors import CallwardenError
from edge.model.live import Actor

#: In whose role somebody may speak here. The outside ones: on that party's word.
ROLES: Final = ("caller", "callee", "third", "agent", "supervisor", "dpo")
ACTS: Final = ("withdraw", "pause", "resume", "start", "incident")
#: Longest span of an incident, seconds: no call lasts longer.
MAX_INCIDENT_S: Final = 86400.0


@dataclass(frozen=True)
class StatedBy:
    """Who asks. uid: told by the kernel; role: as they say, one of ROLES; reason: a word or a case reference, or none."""

    uid: int
    role: str
    reason: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise CallwardenError("usage.role", f"a role is one of: {', '.join(ROLES)}", where="as")
        check_word("reason", self.reason)

    @property
    def actor(self) -> Actor:
        """As the journal keeps it."""
        return Actor(self.role, f"uid:{self.uid}")


class ActDesk:
    """Withdraw, pause, resume, start, incident; reload. Raises CallwardenError."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def act(self, act: str, text: str, by: StatedBy, seconds: float = 0.0) -> Json:
        """`act` is one of ACTS; `text` names the call as in `Desk.why`, and of several that it may mean the one that goes
        on. `seconds`: of an incident, more than 0 and at most a day.

        Answers `call`, `did` (a word), `says` (a sentence), and `recording` where there is one. Raises not_found.call,
        usage.*, calls.*, daemon.stopped.
        """
        live = self._deps.live
        if live is None:
            raise _stopped()
        if act == "incident" and not (math.isfinite(seconds) and 0 < seconds <= MAX_INCIDENT_S):
            raise CallwardenError("usage.seconds", "seconds is a number above 0 and at most 86400", where="seconds")
        call_id = await self._call(text)
        body: dict[str, Any] = {"act": act, "as": by.role, "uid": by.uid, "reason": by.reason}
        if act == "incident":
            body["ms"] = int(seconds * 1000)
        await self._deps.journal.note_audit("call.asked", subject=call_id, body=body)
        match act:
            case "withdraw":
                done: Mapping[str, Any] = await live.withdraw(call_id, by.actor, by.reason)
            case "pause":
                done = await live.pause(call_id, by.actor)
            case "resume":
                done = await live.resume(call_id, by.actor)
            case "start":
                done = await live.start(call_id, by.actor)
            case "incident":
                done = await live.incident(call_id, by.actor, seconds)
            case _:
                raise CallwardenError("usage.act", f"an act is one of: {', '.join(ACTS)}", where="act")
        return {"call": call_id, **done}

    async def _call(self, text: str) -> str:
        ids = await self._deps.reader.find_call(text)
        if len(set(ids)) > 1:
            rows = [await self._deps.journal.call(one) for one in ids]
            ids = [row.call_id for row in rows if row is not None and row.state != "ended"] or ids
        return only(ids, text, unknown_call(text))

    async def reload(self, uid: int) -> Json:
        """Read the policies anew. A reload that fails changes nothing, and raises config.* or policy.*."""
        if self._deps.reload is None:
            raise _stopped()
        await self._deps.journal.note_audit("policy.reload_asked", body={"uid": uid})
        return dict(await self._deps.reload())


def _stopped() -> CallwardenError:
    return CallwardenError(
        "daemon.stopped",
        "the daemon is not running: there is no call to act on",
        hint="start it with `callwarden run`; what is stored is shown by `callwarden why`",
        retryable=True,
    )
