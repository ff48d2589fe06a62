"""What a number answered before: asked of the journal when a call begins, told to it when the call was decided.

Rules are `edge.consent.memory`'s; numbers appear as HMACs only. A memory that fails costs the caller the full question,
never the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from edge.calls.parties import Who
from edge.calls.world import World
from edge.consent import memory
from edge.consent.memory import Caller, Recalled
from edge.consent.numbers import class_of
from edge.consent.policy import Policy
from edge.consent.script import Decide
from edge.errors import CallwardenError
from edge.failpoints import hit
from edge.ports import Dialogue

log = structlog.get_logger("calls")

#: Set by the dialplan, never from what a caller sent: this call's number is who it says (a PIN, a certificate, a trunk
#: that screens numbers).
VERIFIED: Final = "CALLWARDEN_VERIFIED"


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of one call's number under one policy. `version`: of the question that would be asked in full."""

    caller: Caller
    number_e164: str | None
    version: str
    recalled: Recalled


def forgetful(policy: Policy) -> bool:
    """Whether nothing is remembered under this policy."""
    return policy.remember.is_zero or policy.mode in ("never", "obligation")


async def recall(world: World, dialogue: Dialogue, policy: Policy, who: Who, version: str) -> Memory:
    """Raises CallerGone, DialogueLost."""
    telephony = world.telephony()
    verified = await dialogue.get_variable(VERIFIED) == "yes"
    number_class = class_of(who.number_heard or "", telephony.country, telephony.shared_numbers)
    caller = Caller(number_class, verified)
    recalled = Recalled("nothing", why="unknown")
    try:
        if caller.has_memory and who.number_e164 is not None:
            digest = await world.number_key.known(who.number_e164)
            rows = await world.journal.recall(digest, policy.name) if digest else ()
            recalled = memory.recall(rows, policy, version, caller, world.clock.wall())
    except CallwardenError as error:
        await world.journal.alarm(error.code, f"remembered answers cannot be read: {error.message}", where=error.where)
    return Memory(caller, who.number_e164, version, recalled)


async def of_number(world: World, known: Memory | None) -> str | None:
    """The HMAC under which this number's answers are on file, None when nothing can be. Raises CallwardenError vault.*
    journal.*: a withdrawal that could not be remembered must not look like one that was."""
    if known is None or known.number_e164 is None:
        return None
    return await world.number_key.known(known.number_e164)


async def remember(world: World, policy: Policy, known: Memory, decision: Decide, event_seq: int) -> None:
    """After the decision is on file; a kill before it costs the memory, nothing else."""
    if known.number_e164 is None or not known.caller.has_memory or decision.reason == "on_file":
        return
    if decision.outcome not in memory.REMEMBERED:
        return
    try:
        rows = memory.answers_to_keep(
            policy, known.caller, number_hmac=await world.number_key.digest(known.number_e164),
            outcome=decision.outcome, granted=decision.purposes,
            refused=[p for f in decision.further if not f.granted and f.reason in ("key", "silence") for p in f.purposes],
            prompt_version=known.version, event_seq=event_seq, answered=world.clock.wall(),
        )  # fmt: skip
        await world.journal.remember(rows)
        hit("memory.remembered")
    except CallwardenError as error:
        await world.journal.alarm(error.code, f"an answer could not be remembered: {error.message}", where=error.where)
