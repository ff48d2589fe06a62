"""Every state machine of the edge, as tables: call, recording, segment, order.

This file owns the words. The journal's CHECK constraints, the CLI, the tags and the diagrams in docs use exactly these.
A transition that is not in its table is a bug and raises.
"""

from __future__ import annotations

from typing import Final

Table = dict[tuple[str, str], str]

#: Outcomes of a call: the last word about its consent. `unavailable` is the dialplan's word before the daemon speaks.
OUTCOMES: Final = (
    "given",
    "notified",
    "not_required",
    "refused",
    "objected",
    "withdrawn",
    "abandoned",
    "not_recorded",
    "unavailable",
    "adopted",
)

#: Outcomes after which nobody's number is kept: remembered answers have it as HMAC.
NUMBER_GOES: Final = frozenset({"refused", "objected", "abandoned", "not_recorded", "unavailable"})

#: Kinds of consent events; every outcome is a kind too.
EVENT_KINDS: Final = (*OUTCOMES, "requested", "objection_noted", "recording_failed")

CALL: Final[Table] = {
    ("", "accept"): "offered",
    ("", "adopt"): "ended",
    ("offered", "allow"): "permitted",
    ("offered", "decline"): "declined",
    ("offered", "ask"): "asking",
    ("offered", "fail"): "declined",
    ("offered", "gone"): "ended",
    ("asking", "allow"): "permitted",
    ("asking", "decline"): "declined",
    ("asking", "fail"): "declined",
    ("asking", "gone"): "ended",
    ("permitted", "withdraw"): "permitted",
    ("permitted", "gone"): "ended",
    ("declined", "ask"): "asking",
    ("declined", "allow"): "permitted",
    ("declined", "gone"): "ended",
}

RECORDING: Final[Table] = {
    ("", "permit"): "starting",
    ("starting", "grows"): "recording",
    ("starting", "no_growth"): "no_audio",
    ("starting", "stop"): "closing",
    ("recording", "mute"): "paused",
    ("paused", "unmute"): "recording",
    ("recording", "stop"): "closing",
    ("paused", "stop"): "closing",
    ("closing", "empty"): "no_audio",
    ("closing", "seal"): "sealed",
    ("recording", "spool_lost"): "sealed",
    ("paused", "spool_lost"): "sealed",
    ("starting", "spool_lost"): "no_audio",
    **{
        (s, "disagree"): "quarantined"
        for s in ("starting", "recording", "paused", "closing", "sealed", "no_audio", "erasing")
    },
    ("quarantined", "explained"): "sealed",
    **{
        (s, "erase"): "erasing"
        for s in ("starting", "recording", "paused", "closing", "sealed", "no_audio", "quarantined", "erasing")
    },
    ("erasing", "erased"): "erased",
}

SEGMENT: Final[Table] = {
    ("", "open"): "open",
    ("open", "close"): "closed",
    ("open", "truncate"): "truncated",
    ("closed", "shred"): "shredded",
    ("truncated", "shred"): "shredded",
    ("open", "shred"): "shredded",
}

#: An order in the edge's inbox. `answered` carries its receipt; `acknowledged` means central has it.
ORDER: Final[Table] = {
    ("", "arrive"): "received",
    ("received", "answer"): "answered",
    ("received", "defer"): "deferred",
    ("received", "begin"): "executing",
    ("deferred", "begin"): "executing",
    ("deferred", "answer"): "answered",
    ("executing", "answer"): "answered",
    ("answered", "ack"): "acknowledged",
}

RECORDING_STATES: Final = (
    "starting",
    "recording",
    "paused",
    "closing",
    "sealed",
    "no_audio",
    "quarantined",
    "erasing",
    "erased",
)
#: States in which Asterisk may still be writing.
LIVE: Final = ("starting", "recording", "paused", "closing")
SEGMENT_STATES: Final = ("open", "closed", "truncated", "shredded")
END_REASONS: Final = ("hangup", "pause", "rotate", "party", "withdraw", "power_cut", "resume_refused", "erase")
ENDINGS: Final = ("complete", "truncated")
ORDER_STATES: Final = ("received", "deferred", "executing", "answered", "acknowledged")
#: States in which an order still has something to do.
UNFINISHED: Final = ("received", "deferred", "executing")
MODES: Final = ("opt_in", "opt_out", "notice", "prior", "obligation", "manual", "never")


def step(table: Table, state: str, event: str) -> str:
    """The state after `event`; raises ValueError for a transition the table does not have."""
    try:
        return table[state, event]
    except KeyError:
        raise ValueError(f"no transition from {state or 'nothing'!r} on {event!r}") from None
