"""May this call be recorded at this moment? From who is on it, what they answered, and what was asked for. Pure.

The strictest wins: stop before pause, pause before record. The answer to the question is always the whole state, never
a change, so that it can be compared with what is and made so again after a restart.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from edge.consent.permit import PERMITTING
from edge.consent.withdrawal import MANDATED
from edge.model.live import OUTSIDE, PAUSE_REASONS

#: Standings with which a party may be heard in a recording.
SATISFIED: Final = frozenset({*PERMITTING, "standing"})


@dataclass(frozen=True, slots=True)
class Present:
    """One party on the call besides the one whose answer is the call's. role: `caller` `callee` `third` `agent`;
    standing: of `edge.model.live.NewParty`; never: the number is one that is never recorded."""

    role: str
    standing: str
    never: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the recording should be. state: `record` `pause` `stop`; reasons: of a pause, in the order of
    live.PAUSE_REASONS; why: one word for the record (`answered_no`, `party_refused`, `never_number`, `party_unasked`,
    `agent_unasked`, `agent_revoked`, ...), "" for `record`."""

    state: str
    reasons: tuple[str, ...] = ()
    why: str = ""


def judge(
    *,
    outcome: str | None,
    basis: str,
    hold: str,
    standing_agents: bool,
    present: Collection[Present],
    asked: bool,
    held: bool,
) -> Wanted:
    """The wanted state.

    outcome: the call's. basis, hold, standing_agents: of its policy. present: who is on it besides its own party. asked:
    somebody asked for a pause that is still open. held: somebody is on hold.

    A recording on a mandated basis is not stopped or paused by what another party did not answer; a number that is never
    recorded pauses it all the same.
    """
    if outcome not in PERMITTING:
        return Wanted("stop", why="answered_no")
    mandated = basis in MANDATED
    if not mandated and any(p.role in OUTSIDE and p.standing == "refused" for p in present):
        return Wanted("stop", why="party_refused")
    whys = {
        "asked": "asked" if asked else "",
        "hold": "hold" if held and hold == "pause" else "",
        "party": _party(present, mandated=mandated, standing_agents=standing_agents),
    }
    reasons = tuple(reason for reason in PAUSE_REASONS if whys[reason])
    if not reasons:
        return Wanted("record")
    return Wanted("pause", reasons, whys[reasons[-1]])


def _party(present: Collection[Present], *, mandated: bool, standing_agents: bool) -> str:
    if any(p.never for p in present):
        return "never_number"
    if mandated:
        return ""
    if any(p.role in OUTSIDE and p.standing not in SATISFIED for p in present):
        return "party_unasked"
    agents = [p.standing for p in present if p.role == "agent"]
    if "refused" in agents:
        return "agent_revoked"
    if standing_agents and any(standing not in SATISFIED for standing in agents):
        return "agent_unasked"
    return ""
