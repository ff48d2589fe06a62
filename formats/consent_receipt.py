"""A receipt that a caller can read: plain text, in the call's language. Pure.

Everything a caller or a network chose is shown with its control characters escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from formats import callrows
from formats.callrows import Row
from formats.receipt_words import WORDS, Words

#: Width of the left column, characters.
_LEFT = 28


def receipt(row: Row, *, edge_id: str, at: str, language: str = "") -> dict[str, str]:
    """`{"language", "text"}`. row: a call as the local door's `why` answers it; language: instead of the call's own;
    at: when the receipt is made."""
    wanted = (language or row["call"].get("language") or "en").replace("-", "_").lower().partition("_")[0]
    spoken = wanted if wanted in WORDS else "en"
    words = WORDS[spoken]
    lines = [words["title"], "=" * len(words["title"]), "", _outcome(row, words), ""]
    lines += [f"{left + ':':<{_LEFT}} {_plain(right)}" for left, right in _facts(row, words, edge_id, at) if right]
    return {"language": spoken, "text": "\n".join(lines) + "\n"}


def _outcome(row: Row, words: Words) -> str:
    outcome = row["call"]["outcome"]
    return words["open"] if outcome is None else words.get(outcome, outcome)


def _facts(row: Row, words: Words, edge_id: str, at: str) -> Iterator[tuple[str, str]]:
    call, event = row["call"], callrows.deciding(row)
    body, policy = callrows.evidence(event), callrows.policy(row)
    yield words["call"], call["call_id"]
    yield words["began"], call["started_at"]
    yield words["ended"], call["ended_at"] or ""
    yield words["line"], call["policy"]
    first = callrows.parties(row)[0]
    yield words["number"], str(first.get("number") or callrows.hmac(first) or "")
    yield from (
        (words["told"], _prompt(p)) for p in body.get("heard") or ([body["prompt"]] if body.get("prompt") else [])
    )
    yield words["keys"], str(body.get("keys_pressed") or body.get("key") or words["none"])
    recordings = callrows.kept(row)
    for recording in recordings:
        yield words["recorded"], _recorded(recording, row, words)
    if not recordings:
        yield words["recorded"], words["nothing"]
    for pause in row.get("pauses") or ():
        yield words["pauses"], f"{pause['began_at']} - {pause['ended_at'] or '…'}"
    granted = callrows.granted(row)
    yield words["purposes"], ", ".join(granted) or words["nothing"]
    basis = [str(body.get(k) or policy.get(k) or "") for k in ("basis", "basis_reference")]
    yield words["basis"], ", ".join(part for part in basis if part)
    if any(one["state"] != "erased" for one in recordings):
        yield words["kept"], callrows.retention(row) or ""
        yield words["withdraw"], words["how"]
    yield words["proof"], _proof(row, event, words, edge_id)
    yield words["made"], at


def _prompt(prompt: dict[str, Any]) -> str:
    heard = f"{prompt.get('prompt_id')} {prompt.get('version')} ({prompt.get('language')})"
    if prompt.get("played_ms") and prompt.get("prompt_ms"):
        heard += f", {prompt['played_ms'] / 1000:.1f} / {prompt['prompt_ms'] / 1000:.1f} s"
    digest = str(prompt.get("audio_sha256") or "")
    return f"{heard}, sha256 {digest}" if digest else heard


def _recorded(recording: Row, row: Row, words: Words) -> str:
    text = f"{callrows.seconds(recording):.1f} s, {recording['recording_id']}"
    if recording["state"] == "erased":
        stone = recording.get("tombstone") or {}
        return f"{text}, {words['erased']} {stone.get('erased_at', '')}".rstrip()
    due = next((d for d in row.get("due") or () if d["recording_id"] == recording["recording_id"]), None)
    return f"{text}, {words['will_erase']} {due['due_at']}" if due else text


def _proof(row: Row, event: Row, words: Words, edge_id: str) -> str:
    seq = f"{words['event']} {event['seq']}, " if event else ""
    return f"{edge_id}, {seq}{words['policy']} {row['call']['policy_version']}"


def _plain(value: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
