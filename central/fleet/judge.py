"""What a heartbeat says about its edge, compared with the one before. Pure: values in, findings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from central.fleet.settings import EdgeAlarms
from formats.heartbeat import Heartbeat
from formats.ids import parse_time

CLONED = "edge.cloned"
LAGGING = "edge.lagging"
UNSEALED = "edge.unsealed"
CLOCK = "edge.clock"
#: Two causes of one alarm, `edge.diverging`: each begins and ends by itself.
AUDIT = "edge.diverging/audit"
POLICY = "edge.diverging/policy"
SILENT = "edge.silent"
MUTE = "edge.mute"
#: Sessions of an edge that are remembered, the newest first.
SESSIONS = 8
#: A session that is over may be heard a moment later than its successor began: heartbeats overtake each other.
_LATE = timedelta(seconds=5)
#: A start that is later than a heartbeat of its session by more was told by a clock that was ahead; twice what a request may be off.
_AHEAD = timedelta(seconds=600)


@dataclass(frozen=True, slots=True)
class Session:
    """One start of a daemon: as in the heartbeat; `n` and `at` of its newest heartbeat."""

    session: str
    started: str
    instance: str
    n: int
    at: str


def sessions_after(known: Sequence[Session], beat: Heartbeat) -> tuple[tuple[Session, ...], str | None]:
    """The sessions after a heartbeat, newest first, and why two daemons must be running with one key (None: they need not).

    A daemon that starts anew begins a session, and the one before it never speaks again, because one journal has one
    daemon. So two are running when one that was succeeded speaks once more, or when one session counts backwards: that is
    a machine that was copied while it ran.
    """
    now = Session(beat.session, beat.started, beat.instance, beat.n, beat.at)
    at = parse_time(beat.at)
    old = next((one for one in known if one.session == beat.session), None)
    if old is None:
        return (now, *known)[:SESSIONS], None
    late = at <= parse_time(old.at)
    rest = tuple(one for one in known if one.session != beat.session)
    if old == known[0]:
        if beat.n > old.n:
            return (now, *rest), None
        return tuple(
            known
        ), None if late else "one start of the daemon counts its heartbeats twice: a running machine was copied"
    began, newest = parse_time(known[0].started), parse_time(known[0].at)
    if began - newest > _AHEAD:
        began = newest
    if late or at - began < _LATE:  # a sum may lie beyond what a time can name
        return tuple(known), None
    where = "with one journal" if old.instance == known[0].instance else "with two journals"
    return (now, *rest), f"two daemons speak in turn, {where}, started {old.started} and {known[0].started}"


def findings(beat: Heartbeat, heard: datetime, limits: EdgeAlarms) -> dict[str, str | None]:
    """What one heartbeat says by itself: code to message, None where all is well. heard: central's clock."""
    off = (parse_time(beat.at) - heard).total_seconds()
    return {
        LAGGING: f"{beat.outbox} events wait, the oldest for {beat.oldest:.0f} s"
        if beat.oldest > limits.lag_s
        else None,
        UNSEALED: f"speech is unsealed for {beat.unsealed:.0f} s" if beat.unsealed > limits.unsealed_s else None,
        CLOCK: f"its clock is {off:+.0f} s off central's" if abs(off) > limits.clock_s else None,
    }
