"""What a recording begins with: its keys and names, and what Asterisk is told."""

from __future__ import annotations

from dataclasses import dataclass

from edge.consent.permit import Permit
from edge.consent.policy import Policy
from edge.model.entities import MonitorOrder, NewRecording, NewSegment
from edge.recorder.keys import SegmentKeys
from edge.recorder.spool import Spool, files_of


@dataclass(frozen=True, slots=True)
class Prepared:
    """Keys for a recording that may come to be; `discard` them when it does not."""

    recording_id: str
    capture_id: str
    spool_name: str
    keys: SegmentKeys


def rows_of(
    prepared: Prepared, permit: Permit, policy: Policy, channel_uid: str, channel_name: str, started_at: str
) -> NewRecording:
    """The rows that `grant` commits together with the permit, before anything is told to Asterisk."""
    keys, recording_id = prepared.keys, prepared.recording_id
    return NewRecording(
        recording_id=recording_id,
        call_id=permit.call_id,
        permit_id=permit.permit_id,
        channel_uid=channel_uid,
        channel_name=channel_name,
        suite=prepared.keys.header.suite,
        capture_id=prepared.capture_id,
        spool_name=prepared.spool_name,
        codec=policy.capture.codec,
        rate=policy.capture.hertz,
        channels=policy.capture.channels,
        segment=NewSegment(keys.segment_id, recording_id, 0, prepared.capture_id, 0, keys.header),
        started_at=started_at,
    )


def order(spool: Spool, name: str, policy: Policy) -> MonitorOrder:
    """MixMonitor's options: only while bridged, two channels in one file or two, a periodic beep."""
    options = "" if policy.wait == "record" else "b"
    files = files_of(name)
    path = spool.path(name)
    if len(files) == 2:  # r: what the caller says, t: what the caller hears; no file in which both are mixed
        path, options = "", f"{options}Sr({spool.path(files[0])})t({spool.path(files[1])})"
    elif policy.capture.channels == 2:
        options += "D"
    return MonitorOrder(path, options + (f"B({round(policy.beep)})" if policy.beep else ""))
