"""The waveform of a recording, opened in the command's own process: an identity never enters the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from callwarden.reading.bundle import Opened
from callwarden.reading.segments import file_key
from edge.errors import CallwardenError
from formats import waveform
from formats.age import Identity
from formats.errors import FormatError

#: From silence to full scale, for a terminal; the levels are 9 dB apart, as hearing goes.
_BARS: Final = " ▁▂▃▄▅▆▇█"


def waveforms(opened: Opened, identities: Sequence[Identity]) -> dict[str, Any]:
    """`recording_id`, `per_second`, `channels`, and `segments`: `number`, `start_ms`, `peaks` by channel (0 to 127), null
    where a segment has none. Each segment's header is read for it, which the daemon audits.

    Raises as a reading does, and vault.waveform where one was altered.
    """
    found, before, rate = [], 0, opened.bundle["rate"]
    for segment in opened.bundle["segments"]:
        if segment["state"] != "shredded" and segment["payload_bytes"]:
            peaks = _peaks(opened, segment, identities)
            found.append({"number": segment["number"], "start_ms": before * 1000 // rate, "peaks": peaks})
        before += segment["frames"]
    return {
        "recording_id": opened.recording_id,
        "per_second": waveform.PER_SECOND,
        "channels": opened.bundle["channels"],
        "segments": found,
    }


def _peaks(opened: Opened, segment: dict[str, Any], identities: Sequence[Identity]) -> list[list[int]] | None:
    try:
        sealed = opened.door.waveform(opened.recording_id, segment["number"], opened.reading)
    except CallwardenError as error:
        if error.code != "not_found.waveform":
            raise
        opened.warnings.append(error.message)
        return None
    key = file_key(opened, segment, identities)
    try:
        shape = waveform.unseal(
            sealed,
            suite=segment["suite"],
            file_key=key,
            recording_id=opened.recording_id,
            segment_id=segment["segment_id"],
        )
    except FormatError as error:
        raise opened.refused(error) from error
    most = -(-segment["frames"] * waveform.PER_SECOND // opened.bundle["rate"])  # what was sealed, and no more
    return [list(shape.side(channel)[:most]) for channel in range(shape.channels)]


def drawn(peaks: Sequence[int], width: int) -> str:
    """One line of a channel: the highest peak of each of `width` parts."""
    step = max(1, -(-len(peaks) // width))
    parts = (max(peaks[at : at + step]) for at in range(0, len(peaks), step))
    return "".join(_BARS[(peak.bit_length() * (len(_BARS) - 1) + 6) // 7] for peak in parts)
