"""Reading the stored rows of one call, as the local door's `why` gives them. Pure; nothing here fails on a word or a
member it does not know, because evidence outlives the program that wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

#: Outcomes that let audio be kept.
PERMITTING = frozenset({"given", "notified", "not_required"})
#: Events by which somebody ends what was permitted.
ENDING = frozenset({"withdrawn", "objected"})
_DIGITS = re.compile(r"\+?[0-9]{1,15}", re.ASCII)


def deciding(row: Row) -> Row:
    """The newest event that made the call's outcome; empty where there is none."""
    for event in reversed(row["events"]):
        if event["kind"] == row["call"]["outcome"]:
            found: Row = event
            return found
    return {}


def evidence(event: Row) -> Row:
    """The evidence of an event; empty where there is none."""
    found: Row = event.get("evidence") or {}
    return found


def policy(row: Row) -> Row:
    """The policy the call was under, as its canonical document; empty where it cannot be read."""
    try:
        found = json.loads(row.get("policy_document") or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def retention(row: Row) -> str | None:
    """How long audio is kept from the call's end, ISO 8601."""
    held = policy(row).get("retention")
    period = held.get("recordings") if isinstance(held, dict) else None
    return period if isinstance(period, str) else None


def permits(row: Row) -> Sequence[Row]:
    """All permits of the call, also as older answers spell them (one `permit`)."""
    found: Sequence[Row] = row.get("permits") or ([row["permit"]] if row.get("permit") else [])
    return found


def granted(row: Row) -> dict[str, str]:
    """Purpose -> when it was granted, of permits that were not revoked."""
    return {p: one["granted_at"] for one in permits(row) if not one.get("revoked_at") for p in one["purposes"]}


def purposes(row: Row) -> list[str]:
    """Every purpose the call's policy asks for, further ones last, each once."""
    further = [
        p for one in policy(row).get("further") or () if isinstance(one, dict) for p in one.get("purposes") or ()
    ]
    granted_ones = [p for one in permits(row) for p in one["purposes"]]
    return list(dict.fromkeys([*row["call"]["purposes"], *further, *granted_ones]))


def parties(row: Row) -> list[Row]:
    """The parties in the order they came; of rows that name none, the caller alone."""
    found = list(row.get("parties") or ())
    if found:
        return found
    call = row["call"]
    first = next((e["party_id"] for e in row["events"] if e.get("party_id")), call["call_id"])
    return [
        {
            "party_id": first,
            "role": "caller",
            "number": call.get("caller"),
            "number_class": call.get("number_class", "plain"),
            "standing": "none",
            "legs": [],
        }
    ]


def events_of(row: Row, party: Row, first: bool) -> list[Row]:
    """The events of one party; those that name none are the first party's."""
    return [e for e in row["events"] if e.get("party_id") == party["party_id"] or (first and not e.get("party_id"))]


def telephone(number: object) -> str | None:
    """A number that can be written as one ("+420777123456", "1001"), or None: callers choose what is stored here."""
    text = re.sub(r"[ ()./-]", "", str(number or ""))
    return text if _DIGITS.fullmatch(text) else None


def hmac(party: Row) -> str | None:
    """What is left of a number after an erasure, as text; None where it is not an HMAC."""
    found = party.get("number_hmac")
    return f"HMAC-SHA256 {found}" if found and not party.get("number") else None


def minimal(row: Row) -> bool:
    """Whether the evidence was reduced to the minimal record."""
    return bool(row["call"].get("evidence") == "minimal")


def standing(row: Row, party: Row, first: bool) -> str:
    """What lets this party be heard: its own last answer, else what is on file for it."""
    answers = [e["kind"] for e in events_of(row, party, first) if e["kind"] in PERMITTING | ENDING | {"refused"}]
    return str(answers[-1] if answers else party["standing"])


def kept(row: Row) -> list[Row]:
    """The recordings in which something was heard."""
    return [r for r in row["recordings"] if r["state"] != "no_audio"]


def segments(recording: Row) -> list[Row]:
    """The segments that have audio."""
    return [s for s in recording["segments"] if s["seconds"] and s.get("state") != "shredded"]


def seconds(recording: Row) -> float:
    """Seconds of audio that were kept, without what was removed after an incident; of an erased recording, what it was."""
    if recording["state"] == "erased":
        return float(recording["seconds"])
    gone = sum(s["seconds"] for s in recording["segments"] if s.get("state") == "shredded")
    return round(float(recording["seconds"] - gone), 3)
