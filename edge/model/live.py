"""Values of a live call: who is on it, why it is paused, what is remembered, what is owed. Frozen, no behaviour.

Units and spellings as in `edge.model.entities`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Who can act on a call's recording. `caller`, `callee`, `third`: outside parties; `system`: the edge's own rules.
ACTOR_KINDS: Final = ("caller", "callee", "third", "agent", "supervisor", "dpo", "central", "system")
OUTSIDE: Final = frozenset({"caller", "callee", "third"})
#: Why a recording is paused; a call can have several at once, and goes on when none is open.
#: `asked`: by an agent, API or order; `hold`: somebody is on hold; `party`: somebody on the call is not satisfied.
PAUSE_REASONS: Final = ("asked", "hold", "party")
#: Marks on a recording that a reader must know. `one_sided`: one side is silent to the bit; `repaired`: a new capture
#: was started for that; `gap`: permitted time is missing; `mute_failed`: a pause was made by stopping instead;
#: `adopted`: it was a file before, in the clear and outside; `duration`: it is not as long as its caller was bridged.
FLAGS: Final = (
    "one_sided", "repaired", "gap", "rogue_monitor", "agent_stopped", "incident", "mute_failed", "adopted", "duration",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something. `name`: a channel's device, a user, a key's owner; never a text the caller chose."""

    kind: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class NewParty:
    """Somebody who became audible. `role`: `caller` `callee` `agent` `third`; `standing`: what lets this party be heard
    (`given` `notified` `not_required` by own answer, `standing` by a stored basis) or `none` or `refused`."""

    party_id: str
    call_id: str
    role: str
    channel_uid: str
    channel_name: str
    number_heard: str | None
    number_class: str
    standing: str
    joined_at: str
    number_e164: str | None = None


@dataclass(frozen=True, slots=True)
class PartyRow:
    """A party as the journal has it; `legs`: channel uniqueids, present ones and past."""

    party_id: str
    call_id: str
    role: str
    number_heard: str | None
    number_class: str
    standing: str
    legs: tuple[str, ...]
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PauseRow:
    """One pause of a call for one reason. `until_at`: when the policy's timer ends it, None for never."""

    pause_id: str
    call_id: str
    reason: str
    actor: Actor
    began_at: str
    until_at: str | None
    ended_at: str | None = None
    ended_by: Actor | None = None


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A remembered answer. `number_hmac`: hex, under this edge's memory key; `purpose`: one of the policy's;
    `outcome`: `given` `refused` `objected` `notified`; `verified`: the dialplan vouched for the number."""

    number_hmac: str
    purpose: str
    outcome: str
    prompt_major: str
    policy_id: str
    policy_version: str
    event_seq: int
    verified: bool
    answered_at: str
    valid_until: str
    revoked_at: str | None = None


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A text message that is owed. `number_e164` is wiped when it is sent or given up. `state`: `waiting` `sent`
    `dropped`; `why` says why it was dropped; `when_`: `start` or `end`."""

    notice_id: str
    call_id: str
    when_: str
    number_e164: str | None
    number_hmac: str
    country: str
    state: str
    attempts: int
    due_at: str
    made_at: str
    sent_at: str | None
    why: str


@dataclass(frozen=True, slots=True)
class DueErasure:
    """A recording that must go by itself at `due_at`. `cause`: tombstone's word (`withdrawal`, `incident`, `retention`);
    `event_seq`: the consent event that asks for it (set by `withdraw`); `waits_for`: what stood in the way when it was
    tried; `why`: of retention, the setting that says so."""

    recording_id: str
    due_at: str
    cause: str
    event_seq: int | None = None
    waits_for: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class NoticeCall:
    """What decides whether a call gets a text message. Numbers are of the party who was asked."""

    call_id: str
    policy_id: str
    policy_version: str
    language: str | None
    state: str
    outcome: str | None
    started_at: str
    ended_at: str | None
    number_heard: str | None
    number_e164: str | None
    number_class: str
