"""A call as a vCon 0.4.0 (draft-ietf-vcon-vcon-core-03) with lawful basis (draft-howe-vcon-lawful-basis). Pure.

Dialog 0 is the question: who was asked, in which prompts, which keys were pressed, as text. Behind it stands, for each recording, a
`recording-set` and one `recording` a segment, in time order; without content unless `with_audio` puts it in. Each asked
party has one `lawful_basis` attachment (docs/spec/vcon.md).
"""

from __future__ import annotations

import copy
import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from formats import callrows
from formats.callrows import Row
from formats.errors import FormatError
from formats.ids import format_time, parse_time
from formats.keys import b64url

VERSION: Final = "0.4.0"
#: `typ` of a vCon signed as General JWS.
TYP: Final = "callwarden-vcon+json"
#: The lawful bases that the draft knows; the policy's words are the same.
BASES: Final = frozenset(
    {"consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"}
)
MEDIATYPE: Final = "audio/x-wav"
_URL = re.compile(r"https://[!-~]+", re.ASCII)
_NO = frozenset({"refused", "objected", "withdrawn", "abandoned"})


def vcon(row: Row, *, edge_id: str, at: str) -> dict[str, Any]:
    """row: a call as the local door's `why` answers it; at: when the vCon is made (formats.ids)."""
    call = row["call"]
    parties = callrows.parties(row)
    dialog = [_question(row, parties)]
    for recording in callrows.kept(row):
        if recording["state"] == "erased":
            continue
        _add_recording(dialog, recording, parties)
    attachments = [
        attachment
        for index, party in enumerate(parties)
        if (attachment := _lawful_basis(row, party, index, edge_id)) is not None
    ]
    if row.get("pauses"):
        attachments.append(
            {
                "purpose": "callwarden_pauses",
                "start": call["started_at"],
                "party": 0,
                "dialog": 0,
                "mediatype": "application/json",
                "encoding": "json",
                "body": [dict(one) for one in row["pauses"]],
            }
        )
    return {
        "vcon": VERSION,
        "uuid": _uuid(edge_id, call["call_id"], call["started_at"]),
        "extensions": ["CC", "lawful_basis"],
        "created_at": at,
        "subject": f"telephone call {call['call_id']}",
        "parties": [_party(p) for p in parties],
        "dialog": dialog,
        "analysis": [],
        "attachments": attachments,
    }


def _uuid(edge_id: str, call_id: str, started_at: str) -> str:
    """The same for the same call: version 8, 48 bits of time (ms of its start), then SHA-256 of edge and call."""
    digest = hashlib.sha256(f"callwarden/vcon/{edge_id}/{call_id}".encode()).digest()
    value = bytearray(int(parse_time(started_at).timestamp() * 1000).to_bytes(6, "big") + digest[:10])
    value[6] = 0x80 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    return str(uuid.UUID(bytes=bytes(value)))


def _party(party: Row) -> dict[str, Any]:
    found = {"uuid": str(uuid.UUID(party["party_id"])), "role": party["role"]}
    number = callrows.telephone(party.get("number"))
    return found | {"tel": f"tel:{number}"} if number else found


def _question(row: Row, parties: list[Row]) -> dict[str, Any]:
    call = row["call"]
    found: dict[str, Any] = {
        "start": call["started_at"],
        "parties": list(range(len(parties))),
        "originator": 0,
        "application": "callwarden consent question",
        "party_history": sorted(_history(row, parties), key=lambda one: str(one["time"])),
    }
    if call.get("ended_at"):
        found["duration"] = _seconds(call["started_at"], call["ended_at"])
    if call["outcome"] == "abandoned":
        return {"type": "incomplete", "disposition": "hung-up"} | found
    return {"type": "text", "mediatype": "text/plain", "encoding": "none", "body": _told(row)} | found


def _told(row: Row) -> str:
    """What was said to whom and which keys came back, a line each."""
    lines = []
    for event in row["events"]:
        if event["kind"] == "requested":
            continue
        body = callrows.evidence(event)
        for prompt in body.get("heard") or ([body["prompt"]] if body.get("prompt") else []):
            digest = f" sha256 {prompt['audio_sha256']}" if prompt.get("audio_sha256") else ""
            lines.append(f"prompt {prompt.get('prompt_id')} {prompt.get('version')} {prompt.get('language')}{digest}")
        keys = body.get("keys_pressed") or body.get("key")
        lines.append(f"keys {keys or 'none'}: {event['kind']}")
    return "\n".join(lines) or "nothing was asked"


def _history(row: Row, parties: list[Row]) -> list[dict[str, Any]]:
    history = []
    for index, party in enumerate(parties):
        for leg in party.get("legs") or ():
            history += [
                {"party": index, "time": leg[name], "event": event}
                for name, event in (("joined_at", "join"), ("left_at", "drop"))
                if leg.get(name)
            ]
        for event in callrows.events_of(row, party, index == 0):
            body = callrows.evidence(event) if event["kind"] != "requested" else {}
            keys = str(body.get("keys_pressed") or body.get("key") or "")
            history += [{"party": index, "time": event["at"], "event": "keydown", "button": key} for key in keys]
    return history


def _add_recording(dialog: list[dict[str, Any]], recording: Row, parties: list[Row]) -> None:
    everyone = list(range(len(parties)))
    whole = len(dialog)
    segments = callrows.segments(recording)
    dialog.append(
        {
            "type": "recording-set",
            "start": recording["started_at"],
            "parties": everyone,
            "duration": callrows.seconds(recording),
            "recordings": [whole + 1 + n for n in range(len(segments))],
        }
    )
    for segment in segments:
        dialog.append(
            {
                "type": "recording",
                "start": _later(recording["started_at"], segment.get("start_s") or 0.0),
                "duration": segment["seconds"],
                "parties": everyone,
                "recording_set": whole,
                "mediatype": MEDIATYPE,
                "filename": f"{recording['recording_id']}.{segment['number']}.wav",
            }
        )


def with_audio(document: Mapping[str, Any], bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """A copy whose `recording` dialogs carry their audio; bodies: by `filename`, whole WAV files.

    Raises FormatError usage.vcon for a body that no dialog asks for.
    """
    full = copy.deepcopy(dict(document))
    by_name = {one["filename"]: one for one in full["dialog"] if "filename" in one}
    for name, body in bodies.items():
        if name not in by_name:
            raise FormatError("usage.vcon", f"no dialog of this vCon is {name}")
        digest = "sha512-" + b64url(hashlib.sha512(body).digest())
        by_name[name] |= {"encoding": "base64url", "body": b64url(body), "content_hash": digest}
    return full


def _lawful_basis(row: Row, party: Row, index: int, edge_id: str) -> dict[str, Any] | None:
    """None for a party that was never asked or told anything."""
    events = [e for e in callrows.events_of(row, party, index == 0) if e["kind"] != "requested"]
    last = next((e for e in reversed(events) if e["kind"] in callrows.PERMITTING | _NO), None)
    if last is None:
        return None
    body = callrows.evidence(last)
    policy = callrows.policy(row)
    basis = body.get("basis") or policy.get("basis")
    if basis not in BASES:
        return None
    granted = callrows.granted(row) if last["kind"] in callrows.PERMITTING else {}
    ended = last["at"] if last["kind"] in callrows.ENDING else None
    reference = str(body.get("basis_reference") or "")
    found: dict[str, Any] = {
        "lawful_basis": basis,
        "expiration": ended,
        "purpose_grants": [
            {"purpose": p, "granted": p in granted, "granted_at": granted.get(p, last["at"])}
            for p in callrows.purposes(row)
        ],
        "proof_mechanisms": [_proof(event, edge_id) for event in events],
        "metadata": {
            "outcome": last["kind"],
            "reason": body.get("reason") or None,
            "mode": row["call"]["mode"],
            "policy_id": row["call"]["policy"],
            "policy_version": row["call"]["policy_version"],
            "basis_reference": reference or None,
            "standing": callrows.standing(row, party, index == 0),
            "number_hmac": party.get("number_hmac"),
            "minimal": callrows.minimal(row),
        },
    }
    if _URL.fullmatch(reference):
        found["terms_of_service"] = reference
    return {
        "purpose": "lawful_basis",
        "start": last["at"],
        "party": index,
        "dialog": 0,
        "mediatype": "application/json",
        "encoding": "json",
        "body": found,
    }


def _proof(event: Row, edge_id: str) -> dict[str, Any]:
    body = callrows.evidence(event)
    names = ("key", "keys_pressed", "tries", "reason", "prompt", "software", "by", "on_file", "granted", "further")
    return {
        "proof_type": "external_system",
        "timestamp": event["at"],
        "proof_data": {
            "system": "callwarden",
            "edge_id": edge_id,
            "event": event["seq"],
            "kind": event["kind"],
            **{name: body[name] for name in names if body.get(name)},
        },
    }


def _seconds(start: str, end: str) -> float:
    return max(0.0, round((parse_time(end) - parse_time(start)).total_seconds(), 3))


def _later(at: str, seconds: float) -> str:
    return format_time(parse_time(at) + timedelta(seconds=seconds))
