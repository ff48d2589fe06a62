"""Something was recorded that must not be kept: what was open in the last seconds is shredded, the recording goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from edge.calls.followed import answer, not_found, text_of
from edge.calls.world import World


async def shred_open(world: World, call_id: str, seconds: float) -> Mapping[str, Any]:
    """See `edge.ports.LiveCalls.incident`. Raises calls.not_found, and as `RecorderPort.shred_segment`."""
    call = await world.journal.call(call_id)
    if call is None:
        raise not_found(call_id)
    since = text_of(world.clock.wall() - timedelta(seconds=seconds))
    count = 0
    for recording_id in call.recordings:
        count += await world.recorder.shred_segment(recording_id, since=since)
    says = f"{count} segments that were open since {since} are shredded."
    return {**answer(call, "shredded", says), "segments": count}
