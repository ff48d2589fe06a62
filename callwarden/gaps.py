"""What of a call is not in a recording's audio: pauses, removed segments, marks. From the local door's bundle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callwarden.explain_words import FLAGS

Row = Mapping[str, Any]

_WHY = {"asked": "somebody asked for it", "hold": "somebody was on hold", "party": "somebody had not agreed"}


def gaps(bundle: Row) -> list[dict[str, Any]]:
    """In time order: `{"kind": "pause", "from", "to", "reason"}` of each pause that lies in the recording, and
    `{"kind": "removed", "segment", "reason"}` of each segment whose key was destroyed."""
    begin, end = bundle["started_at"], bundle["ended_at"] or "9999"
    found: list[dict[str, Any]] = [
        {"kind": "pause", "from": one["began_at"], "to": one["ended_at"], "reason": one["reason"]}
        for one in bundle["pauses"]
        if one["began_at"] <= end and (one["ended_at"] or "9999") >= begin
    ]
    removed = [s for s in bundle["segments"] if s["state"] == "shredded"]
    return found + [
        {"kind": "removed", "segment": s["number"], "reason": s["end_reason"] or "incident"} for s in removed
    ]


def gap_warnings(bundle: Row) -> list[str]:
    """The same and the marks, each as a sentence for the listener."""
    told = []
    for one in gaps(bundle):
        if one["kind"] == "pause":
            until = one["to"] or "now"
            told.append(f"paused from {one['from']} to {until}: {_WHY.get(one['reason'], one['reason'])}")
        else:
            told.append(f"segment {one['segment']} was removed and its key destroyed; the audio goes on behind it")
    for flag in bundle["flags"]:
        detail = f" ({flag['detail']})" if flag["detail"] else ""
        told.append(f"marked {flag['flag']}: {FLAGS.get(flag['flag'], flag['flag'])}{detail}")
    if bundle["others"]:
        told.append("this call has further recordings: " + " ".join(bundle["others"]))
    return told
