"""What retention looks at: rows with the facts that decide when they go. Frozen, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptRecording:
    """A recording with audio. call_seq: which call it was, in their order; ended_at: of its call, None while that goes on;
    purposes: of its permit; bytes: of its payloads; due: an erasure that comes by itself is on file already (a withdrawal, an incident)."""

    seq: int
    recording_id: str
    call_id: str
    call_seq: int
    policy_id: str
    policy_version: str
    outcome: str | None
    purposes: tuple[str, ...]
    state: str
    started_at: str
    ended_at: str | None
    bytes: int
    due: bool


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call that is over. evidence: `full` `minimal` `expired`; named: numbers or channel names are in its rows; audio:
    some of it is left; no: it ended as a no and never had a permit; notices: rows about texts; copies: of its audio some
    were given out and are on the list; adopted: its audio came from a file, whose mark keeps a copy of that file from being
    taken over again."""

    seq: int
    call_id: str
    policy_id: str
    policy_version: str
    outcome: str | None
    ended_at: str
    evidence: str
    named: bool
    audio: bool
    no: bool
    notices: int
    copies: bool
    adopted: bool
