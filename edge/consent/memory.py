"""What a number answered before, and what it still counts for. Pure: rows, policy and time in, a verdict out.

A remembered yes only shortens the question; in mode "prior" it is the consent on file, and a reminder takes the
question's place. A remembered no keeps the question away only from a number the dialplan vouched for, now and when it
was answered: else anybody could silence a line by forging its number once. Numbers that are withheld, shared by many or
no numbers at all have no memory. A new major version of the question, or a purpose that was not in it, asks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from edge.consent.policy import Policy
from edge.model.live import AnswerRow

#: An answer from a number that nobody verified fades after this many days, whatever the policy says.
UNVERIFIED_DAYS: Final = 30
#: Outcomes that are worth remembering. A call that was abandoned or failed says nothing.
REMEMBERED: Final = frozenset({"given", "refused", "objected", "notified"})
#: Only an act is consent: "notified" is remembered for the record and shortens nothing.
_YES: Final = frozenset({"given"})
_NO: Final = frozenset({"refused", "objected"})

What = Literal["nothing", "short", "no", "on_file"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as memory goes. `number_class`: as `numbers.class_of` says; `verified`: the dialplan vouches for
    the number (`CALLWARDEN_VERIFIED`)."""

    number_class: str
    verified: bool = False

    @property
    def has_memory(self) -> bool:
        """Whether an answer can belong to this number at all."""
        return self.number_class == "plain"


@dataclass(frozen=True, slots=True)
class Recalled:
    """What memory says. `what`: `nothing` (ask in full), `short` (a shorter question), `no` (do not ask, do not record),
    `on_file` (mode "prior": remind). `outcome`, `event_seq`: of the answer it rests on. `why`: one word, for `why`.
    `purposes`: of `on_file`, everything the consent on file allows, further purposes included."""

    what: What
    outcome: str = ""
    event_seq: int | None = None
    why: str = ""
    purposes: tuple[str, ...] = ()


def recall(rows: Sequence[AnswerRow], policy: Policy, prompt_version: str, caller: Caller, now: datetime) -> Recalled:
    """What the remembered `rows` of one number mean for a call under `policy` that begins `now` (aware UTC).

    `prompt_version`: "major.minor" of the question that would be asked. Every purpose of the policy's own question must
    have its answer; the newest one for a purpose counts.
    """
    if not caller.has_memory:
        return Recalled("nothing", why=caller.number_class)
    if policy.mode in ("never", "obligation") or policy.remember.is_zero:
        return Recalled("nothing", why="policy")
    newest: dict[str, AnswerRow] = {}
    for row in sorted(rows, key=lambda r: (r.answered_at, r.event_seq)):
        if row.policy_id == policy.name and row.revoked_at is None:
            newest[row.purpose] = row
    answers = [newest[purpose] for purpose in policy.purposes if purpose in newest]
    if not answers:
        return Recalled("nothing", why="unknown")
    if len(answers) < len(policy.purposes):
        return Recalled("nothing", why="purposes")
    if any(row.prompt_major != major(prompt_version) for row in answers):
        return Recalled("nothing", why="prompt")
    if any(_faded(row, policy, caller, now) for row in answers):
        return Recalled("nothing", why="expired")
    verdict = _verdict(answers, policy, caller)
    if verdict.what != "on_file":
        return verdict
    held = (p for p in policy.every_purpose if (r := newest.get(p)) and _allows(r, policy, caller, now))
    return replace(verdict, purposes=tuple(held))


def _allows(row: AnswerRow, policy: Policy, caller: Caller, now: datetime) -> bool:
    return row.outcome in _YES and not _faded(row, policy, caller, now)


def _verdict(answers: Sequence[AnswerRow], policy: Policy, caller: Caller) -> Recalled:
    last = max(answers, key=lambda r: r.event_seq)
    no = next((row for row in answers if row.outcome in _NO), None)
    if no is not None:
        if caller.verified and no.verified:
            return Recalled("no", no.outcome, no.event_seq, "verified")
        return Recalled("nothing", no.outcome, no.event_seq, "unverified")
    if any(row.outcome not in _YES for row in answers):
        return Recalled("nothing", last.outcome, last.event_seq, "no_act")
    return Recalled("on_file" if policy.mode == "prior" else "short", last.outcome, last.event_seq, "remembered")


def _faded(row: AnswerRow, policy: Policy, caller: Caller, now: datetime) -> bool:
    """Past its time, by what was stored and by what the policy says today, whichever is the shorter."""
    end = min(
        datetime.fromisoformat(row.valid_until),
        _end(policy, datetime.fromisoformat(row.answered_at), row.verified and caller.verified),
    )
    return now >= end


def valid_until(policy: Policy, answered: datetime, *, verified: bool) -> str:
    """Until when an answer counts, RFC 3339 UTC with milliseconds: the policy's `remember`, and at most 30 days where the
    number was not verified."""
    return _end(policy, answered, verified).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _end(policy: Policy, answered: datetime, verified: bool) -> datetime:
    end = policy.remember.after(answered)
    return end if verified else min(end, answered + timedelta(days=UNVERIFIED_DAYS))


def answers_to_keep(
    policy: Policy,
    caller: Caller,
    *,
    number_hmac: str,
    outcome: str,
    granted: Collection[str],
    refused: Iterable[str] = (),
    prompt_version: str,
    event_seq: int,
    answered: datetime,
) -> tuple[AnswerRow, ...]:
    """The rows to remember of a decision: one for each purpose that was answered; none where there is no memory.

    `granted`: purposes that the answer allows; `refused`: purposes of further questions that were answered with no.
    A yes by reference to a consent on file (`prior`) renews nothing: the caller of this leaves it out.
    """
    if not caller.has_memory or policy.remember.is_zero or outcome not in REMEMBERED or not number_hmac:
        return ()
    ends = valid_until(policy, answered, verified=caller.verified)
    at = answered.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    own = granted if outcome not in _NO else policy.purposes
    words = dict.fromkeys(own, outcome) | dict.fromkeys(refused, "refused")
    return tuple(
        AnswerRow(
            number_hmac=number_hmac,
            purpose=purpose,
            outcome=word,
            prompt_major=major(prompt_version),
            policy_id=policy.name,
            policy_version=policy.version,
            event_seq=event_seq,
            verified=caller.verified,
            answered_at=at,
            valid_until=ends,
        )
        for purpose, word in words.items()
    )


def major(prompt_version: str) -> str:
    """The part of a prompt's version that makes a remembered answer void when it changes."""
    return prompt_version.partition(".")[0]
