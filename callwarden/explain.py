"""One sentence and a list of facts about a call, from its stored rows alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

_REASONS = {
    "key": "another key than the yes key was pressed",
    "silence": "no key was pressed",
    "mode": "the policy never records",
}

_NUMBERS = {"plain": "(removed)", "withheld": "(withheld)", "invalid": "(not a number)"}


def sentence(row: Row) -> str:
    """Why the call was recorded, or why not. `row`: as the desk answers `why`."""
    call, evidence = row["call"], _deciding(row)
    policy = f'policy "{call["policy"]}"'
    outcome = call["outcome"]
    reason = str(evidence.get("reason") or "")
    if outcome is None:
        state = {"offered": "has just entered", "asking": "is being asked"}.get(call["state"], f"is {call['state']}")
        return f"Not recorded so far: the call {state} under {policy}."
    key = evidence.get("key") or ""
    texts = {
        "given": f"the caller pressed {key or 'the yes key'} after the question of {policy}",
        "notified": f"the caller was told, as {policy} demands",
        "not_required": f"{policy} needs no question",
        "refused": _refusal(reason, key, policy),
        "objected": f"the caller objected under {policy}",
        "withdrawn": "the caller withdrew the yes",
        "abandoned": "the caller hung up before answering",
        "not_recorded": f"{policy} is of mode {call['mode']}",
        "unavailable": "recording was not possible" + (f" ({_REASONS.get(reason, reason)})" if reason else ""),
        "adopted": "it was taken over from an older archive",
    }
    recorded = [r for r in row["recordings"] if r["state"] not in ("no_audio",)]
    erased = [r for r in recorded if r["state"] == "erased"]
    if erased and len(erased) == len(recorded):
        head, tail = "Recorded, then erased", f"; {_erasure(erased[-1])}"
    elif recorded:
        head, tail = "Recorded", ""
    elif row["recordings"]:
        head, tail = "Allowed but without audio", "; nothing was heard before the call ended"
    else:
        head, tail = "Not recorded", ""
    return f"{head}: {texts.get(outcome, outcome)}{tail}."


def _refusal(reason: str, key: str, policy: str) -> str:
    if reason == "key" and key:
        return f"the caller pressed {key}, which is not the yes key of {policy}"
    if reason in _REASONS:
        return f"{_REASONS[reason]} after the question of {policy}"
    return f"the caller did not agree to the question of {policy}" + (f" ({reason})" if reason else "")


def _erasure(recording: Row) -> str:
    stone = recording.get("tombstone") or {}
    return f"erased at {stone.get('erased_at', 'an unknown time')}, cause: {stone.get('cause', 'unknown')}"


def _deciding(row: Row) -> Row:
    """Evidence of the event that made the outcome; empty when there is none."""
    for event in reversed(row["events"]):
        if event["kind"] == row["call"]["outcome"]:
            evidence: Row = event["evidence"]
            return evidence
    return {}


def facts(row: Row) -> list[tuple[str, str]]:
    """(what, value) in the order in which things happened; values as stored."""
    call, evidence = row["call"], _deciding(row)
    lines = [
        ("call", call["call_id"]),
        ("linked id", call["linked_id"]),
        ("caller", call["caller"] or _NUMBERS.get(call["number_class"], "(none)")),
        ("entered", call["started_at"]),
        ("policy", f"{call['policy']} ({call['mode']}), version {call['policy_version']}"),
        ("basis", " ".join(str(evidence.get(k) or "") for k in ("basis", "basis_reference")).strip()),
        ("purposes", ", ".join(call["purposes"])),
    ]
    for event in row["events"]:
        lines.append((event["kind"], event["at"] + _told(event)))
    for name, value in (
        ("reason", evidence.get("reason")),
        ("key", evidence.get("key")),
        ("tries", evidence.get("tries")),
    ):
        lines.append((name, str(value) if value else ""))
    if permit := row["permit"]:
        revoked = f", revoked {permit['revoked_at']}" if permit["revoked_at"] else ""
        lines.append(("permit", f"{permit['permit_id']} for {', '.join(permit['purposes'])}{revoked}"))
    for recording in row["recordings"]:
        text = f"{recording['recording_id']} {recording['state']}, {recording['seconds']:.1f} s"
        if recording.get("tombstone"):
            text += f", {_erasure(recording)}"
        lines.append(("recording", text))
    lines += [("outcome", call["outcome"] or ""), ("ended", call["ended_at"] or "(the call still runs)")]
    return [(name, value) for name, value in lines if value]


def _told(event: Row) -> str:
    """What was heard before an event: prompt, version, language, how much of it."""
    prompt = event["evidence"].get("prompt")
    if not prompt:
        return ""
    heard = f"prompt {prompt['prompt_id']} {prompt['version']} in {prompt['language']}"
    if event["kind"] == "requested":
        return f", {heard} begins"
    if not prompt["played_ms"]:  # a caller who hung up took the position along
        return f", during {heard}"
    return f", {heard}, {prompt['played_ms'] / 1000:.1f} of {prompt['prompt_ms'] / 1000:.1f} s heard"
