"""One sentence and a list of facts about a call, from its stored rows alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callwarden import explain_words as words
from formats import callrows

Row = Mapping[str, Any]
Facts = Iterator[tuple[str, str]]

_OUTSIDE = frozenset({"caller", "callee", "third"})
_RUNNING = frozenset({"starting", "recording", "closing"})


def sentence(row: Row) -> str:
    """Why the call was recorded, or why not. `row`: as the desk answers `why`."""
    call = row["call"]
    if call is None:
        return _away(row)
    if call["outcome"] is None:
        state = words.STATES.get(call["state"], f"is {call['state']}")
        return f'Not recorded so far: the call {state} under policy "{call["policy"]}".'
    head, tails = _recorded(row)
    tails += _afterwards(row)
    return f"{head}: {'; '.join([_clause(row), *tails])}."


def _away(row: Row) -> str:
    """The call has no row because no daemon was there."""
    since, until = row["away"]["from"], row["away"]["to"]
    span = f"between {since} and {until}" if until else f"since {since}"
    return (
        f"Not recorded: no daemon was there {span}, and this call began in that time; it went on unrecorded and is in"
        " Asterisk's CDR as cw=unavailable."
    )


def _clause(row: Row) -> str:
    call, event = row["call"], _deciding(row)
    evidence = event.get("evidence") or {}
    outcome, reason = call["outcome"], str(evidence.get("reason") or "")
    if evidence.get("by"):  # taken back in mid-call: its reason is a word of whoever asked
        reason = "withdraw"
    if reason == "silence" and evidence.get("keys_pressed"):
        reason = "key_then_silence"
    template = words.CLAUSES.get((outcome, reason)) or words.CLAUSES.get((outcome, "")) or outcome
    known = (outcome, reason) in words.CLAUSES or outcome in ("abandoned", "unavailable")
    if outcome == "refused" and reason == "key" and not evidence.get("key"):
        template = words.CLAUSES["refused", ""]
    basis = " ".join(str(evidence.get(k) or "") for k in ("basis", "basis_reference")).strip()
    text = template.format(
        who=_who(row, event),
        key=evidence.get("key") or "the yes key",
        keys=" ".join(str(evidence.get("keys_pressed") or "")),
        policy=f'policy "{call["policy"]}"',
        mode=call["mode"],
        basis=basis or "no basis is on file",
        reference=_reference(evidence) or "on file",
    )
    if outcome == "unavailable" and reason:
        what, _ = words.cause(reason)
        return f"{text} ({what or reason})"
    return text if known or not reason else f"{text} ({reason})"


def _who(row: Row, event: Row) -> str:
    """Who made the event: whom the evidence names, else the party it is of."""
    kind = (event.get("evidence") or {}).get("by")
    if kind and kind not in _OUTSIDE:
        return f"{words.ROLES.get(str(kind), str(kind))}, for {_party_of(row, event)},"
    return words.ROLES.get(str(kind), str(kind)) if kind else _party_of(row, event)


def _party_of(row: Row, event: Row) -> str:
    mine = [p["role"] for p in row.get("parties") or () if p["party_id"] == event.get("party_id")]
    role = mine[0] if mine else "caller"
    return words.ROLES.get(role, role)


def _reference(evidence: Row) -> str:
    """The event that a remembered answer rests on."""
    seq = evidence.get("on_file")
    return f"event {seq}" if seq else ""


def _recorded(row: Row) -> tuple[str, list[str]]:
    heard = [r for r in row["recordings"] if r["state"] != "no_audio"]
    erased = [r for r in heard if r["state"] == "erased"]
    if not row["recordings"]:
        return "Not recorded", []
    if not heard:
        return "Allowed but without audio", ["nothing was heard before the call ended"]
    if len(erased) == len(heard):
        return "Recorded, then erased", [_erasure(erased[-1])]
    some = [f"{len(erased)} of its {len(heard)} recordings erased"] if erased else []
    if any(r["state"] == "paused" for r in heard):
        return "Recorded, paused at the moment", some
    if any(r["state"] in _RUNNING for r in heard) and row["call"]["ended_at"] is None:
        return "Being recorded", some
    if any(r["state"] == "quarantined" for r in heard):
        some.append("a recording is quarantined: its rows and files disagree")
    until = row["call"]["outcome"] in ("withdrawn", "objected", "refused", "not_recorded")
    return "Recorded until then" if until else "Recorded", some


def _afterwards(row: Row) -> list[str]:
    """What else changed what was kept."""
    told = []
    kinds = [e["kind"] for e in row["events"]]
    if "objection_noted" in kinds:
        event = next(e for e in reversed(row["events"]) if e["kind"] == "objection_noted")
        told.append(f"{_who(row, event)} objected, was told why, and the recording went on")
    if row["call"]["outcome"] in callrows.PERMITTING:
        no = [p for p in row.get("parties") or () if p["standing"] == "refused"]
        told += [
            f"{words.ROLES.get(p['role'], p['role'])} did not agree, and the recording stopped for that" for p in no
        ]
    if "recording_failed" in kinds and row["call"]["outcome"] != "unavailable":
        told.append("a part that was permitted was not recorded")
    flags = {flag["flag"] for r in row["recordings"] for flag in r.get("flags") or ()}
    told += [
        f"{words.FLAGS[flag]}" for flag in ("agent_stopped", "incident", "one_sided", "gap", "adopted") if flag in flags
    ]
    left = {r["recording_id"] for r in row["recordings"] if r["state"] != "erased"}
    if row["call"].get("evidence") == "expired":
        told.append("the evidence of it has expired and was removed")
    due = [one for one in row.get("due") or () if one["recording_id"] in left]
    if due and row["call"]["outcome"] in ("withdrawn", "objected"):
        told.append(f"what was recorded before will be erased at {due[-1]['due_at']}")
    return told


def _erasure(recording: Row) -> str:
    stone = recording.get("tombstone") or {}
    return f"erased at {stone.get('erased_at', 'an unknown time')}, cause: {stone.get('cause', 'unknown')}"


def _deciding(row: Row) -> Row:
    """The event that made the outcome; empty when there is none."""
    for event in reversed(row["events"]):
        if event["kind"] == row["call"]["outcome"]:
            found: Row = event
            return found
    return {}


def facts(row: Row) -> list[tuple[str, str]]:
    """(what, value) in the order in which things happened; values as stored, words explained."""
    if row["call"] is None:
        found = [("asked", row["asked"]), ("began", row["at"]), ("daemon away from", row["away"]["from"])]
        found += [("daemon away to", row["away"]["to"] or "(it is not running now)")]
        hint = "its tag is in Asterisk's CDR (cw=unavailable); start the daemon with `callwarden run`"
        return [*found, ("what to do", hint)]
    came = [fact for event in row["events"] for fact in _adopted(event)]
    lines = [
        *_call(row),
        *_events(row),
        *_decision(row),
        *came,
        *_parties(row),
        *_pauses(row),
        *_recordings(row),
        *_end(row),
    ]
    return [(name, value) for name, value in lines if value]


def _call(row: Row) -> Facts:
    call, evidence = row["call"], _deciding(row).get("evidence") or {}
    yield "call", call["call_id"]
    yield "linked id", call["linked_id"]
    yield "direction", call.get("direction") or ""
    yield (
        "caller",
        call["caller"] or callrows.hmac(callrows.parties(row)[0]) or words.NUMBERS.get(call["number_class"], "(none)"),
    )
    yield "entered", call["started_at"]
    yield "policy", f"{call['policy']} ({call['mode']}), version {call['policy_version']}"
    yield "basis", " ".join(str(evidence.get(k) or "") for k in ("basis", "basis_reference")).strip()
    yield "purposes", ", ".join(call["purposes"])
    yield "language", call.get("language") or ""


def _events(row: Row) -> Facts:
    several = len(row.get("parties") or ()) > 1
    for event in row["events"]:
        yield event["kind"], event["at"] + (f", {_who(row, event)}" if several else "") + _told(event)


def _decision(row: Row) -> Facts:
    evidence = _deciding(row).get("evidence") or {}
    reason = str(evidence.get("reason") or "")
    yield "reason", reason
    if row["call"]["outcome"] == "unavailable":
        yield from zip(("cause", "what to do"), words.cause(reason), strict=True)
    yield "key", str(evidence.get("key") or "")
    yield "by", _who(row, _deciding(row)).rstrip(",") if evidence.get("by") else ""
    yield "keys pressed", str(evidence.get("keys_pressed") or "")
    yield "tries", str(evidence.get("tries") or "")
    yield "on file", _reference(evidence)
    told = [e["evidence"]["notice"] for e in row["events"] if (e.get("evidence") or {}).get("notice")]
    yield "notice", words.NOTICES.get(told[-1], str(told[-1])) if told else ""
    for one in evidence.get("further") or ():
        answer = "granted" if one.get("granted") else f"not granted ({one.get('reason') or 'no answer'})"
        yield "further question", f"{', '.join(one.get('purposes') or ())}: {answer}"
    for permit in row.get("permits") or ([row["permit"]] if row.get("permit") else []):
        revoked = f", revoked {permit['revoked_at']}" if permit["revoked_at"] else ""
        yield "permit", f"{permit['permit_id']} for {', '.join(permit['purposes'])}{revoked}"


def _parties(row: Row) -> Facts:
    for index, party in enumerate(row.get("parties") or ()):
        number = party["number"] or callrows.hmac(party) or words.NUMBERS.get(party["number_class"], "(none)")
        legs = party.get("legs") or ()
        span = f", from {legs[0]['joined_at']}" if legs and legs[0]["joined_at"] else ""
        if legs and all(leg["left_at"] for leg in legs):
            span += f" to {max(leg['left_at'] for leg in legs)}"
        standing = callrows.standing(row, party, index == 0)
        standing = words.STANDINGS.get(standing, standing)
        yield "party", f"{party['role']} {number}, {standing}{span}"


def _pauses(row: Row) -> Facts:
    for pause in row.get("pauses") or ():
        reason = words.PAUSES.get(pause["reason"], pause["reason"])
        if pause["reason"] == "party" and pause["by"]["name"]:
            reason = words.PAUSE_WHYS.get(pause["by"]["name"], pause["by"]["name"])
        by = words.ROLES.get(pause["by"]["kind"], pause["by"]["kind"])
        until = f" to {pause['ended_at']}" if pause["ended_at"] else ", still open"
        ended = pause.get("ended_by")
        if pause["ended_at"] and ended and ended["kind"] != pause["by"]["kind"]:
            until += f" (ended by {words.ROLES.get(ended['kind'], ended['kind'])})"
        yield "pause", f"{pause['began_at']}{until}, {reason}, by {by}"


def _adopted(event: Row) -> Facts:
    """Where a file came from that was taken over, and who answers for it."""
    said, evidence = event["evidence"].get("adopted"), event["evidence"]
    if not said:
        return
    yield "taken over", f"by {said['by']} ({said['source']}), basis {evidence.get('basis', '')}"
    yield "documented", said["documented"]
    repaired = ", ".join(said["file"]["repaired"])
    came = f"known from its {words.STARTED.get(said['file']['started_from'], 'file')}"
    yield "file", f"{said['file']['identity']}, {came}" + (f", its header repaired: {repaired}" if repaired else "")


def _original(original: Row) -> str:
    """What became of the file that a recording was."""
    name = f"{original['name']}, " if original.get("name") else ""
    if original["kept"]:
        return f"{name}still outside in the clear: it was to be kept"
    if original["removed_at"]:
        return f"{name}removed at {original['removed_at']}"
    return f"{name}not known to be removed yet"


def _recordings(row: Row) -> Facts:
    due = {one["recording_id"]: one for one in row.get("due") or ()}
    for recording in row["recordings"]:
        text = f"{recording['recording_id']} {recording['state']}, {callrows.seconds(recording):.1f} s"
        if recording.get("tombstone"):
            text += f", {_erasure(recording)}"
        elif one := due.get(recording["recording_id"]):
            text += f", to be erased at {one['due_at']} ({one['cause']})"
        yield "recording", text
        if original := recording.get("original"):
            yield "original", _original(original)
        for flag in recording.get("flags") or ():
            detail = f" ({flag['detail']})" if flag["detail"] else ""
            yield "marked", f"{flag['flag']} at {flag['at']}: {words.FLAGS.get(flag['flag'], flag['flag'])}{detail}"
        for segment in recording.get("segments") or ():
            if segment["state"] == "shredded" and recording["state"] != "erased":
                yield "removed", f"segment {segment['number']}: its key is destroyed"


def _end(row: Row) -> Facts:
    for notice in row.get("notices") or ():
        sent = f" at {notice['sent_at']}" if notice["sent_at"] else ""
        why = f" ({notice['why']})" if notice["why"] else ""
        yield "text notice", f"{notice['when']} of the call, {notice['state']}{sent}{why}"
    yield "evidence", words.EVIDENCE.get(str(row["call"].get("evidence") or ""), "")
    yield "outcome", row["call"]["outcome"] or ""
    yield "ended", row["call"]["ended_at"] or "(the call still runs)"


def _told(event: Row) -> str:
    """What was heard before an event: prompt, version, language, how much of it."""
    prompt = event["evidence"].get("prompt")
    if not prompt:
        return ""
    heard = f"prompt {prompt['prompt_id']} {prompt['version']} in {prompt['language']}"
    if event["kind"] == "requested":
        return f", {heard} begins"
    if "played_ms" not in prompt:  # the minimal record, after an erasure
        return f", {heard}"
    if not prompt["played_ms"]:  # a caller who hung up took the position along
        return f", during {heard}"
    return f", {heard}, {prompt['played_ms'] / 1000:.1f} of {prompt['prompt_ms'] / 1000:.1f} s heard"
