"""What the authority is told of an incident (GDPR Art. 33(3)), as a text to print, complete and sign. Pure.

Counts are of what central knows; what only people know is left open, and said to be.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

#: By kind: what happened, and what may follow from it. Starting points; an assessment's own words go before them.
_NATURE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "rogue_recording": (
            "A telephone call was recorded beside the recorder, without the consent or permit that it demands.",
            "Speech of callers may exist in the clear, outside retention and erasure.",
        ),
        "audit_fork": (
            "The audit log of a recorder is not the one that was witnessed: entries were changed, or an older state came back.",
            "What was done with recordings since the last witnessed entry cannot be relied upon.",
        ),
        "failed_seal": (
            "Recorded speech could not be sealed, or sealed recordings were found changed or missing.",
            "Recordings may be lost (availability), or have been tampered with (integrity).",
        ),
        "plaintext_found": (
            "Recorded speech was found unencrypted where only ciphertext may be.",
            "Whoever could read that place may have heard callers.",
        ),
        "bulk_deletion": (
            "Far more recordings were ordered erased or restricted than is usual.",
            "Recordings may be lost that people or the law still need.",
        ),
        "lost_edge": (
            "A recorder was lost, or has not been heard of.",
            "Recordings on it may be lost; they are ciphertext to whoever has the disk, unless playback keys were on it.",
        ),
        "cloned_edge": (
            "Two machines speak as one recorder.",
            "Somebody may have a copy of the recorder's disk and of its signing key.",
        ),
        "key_lost": (
            "A key that opens recordings, or that proves things about them, is gone or may be known to others.",
            "Recordings may be unreadable for ever, or readable by somebody who may not.",
        ),
        "other": ("An incident that no alarm describes; see the notes.", "See the notes."),
    }
)
_OPEN: Final = "(to be completed)"
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Counts:
    """What central knows of the recorder concerned. named: recordings and calls that alarms name. calls: reported so far.
    recordings: not erased. left_out: alarms that are not among what was said."""

    named: Sequence[str]
    calls: int
    recordings: int
    left_out: int


def text(fleet: str, shown: Mapping[str, Any], counts: Counts, said: Sequence[Mapping[str, Any]], now: str) -> str:
    """The report. shown: `book.answer`; said: of `book.entries`."""
    facts: Mapping[str, str] = shown["facts"]
    nature, consequences = _NATURE[shown["kind"]]
    where = f"recorder {shown['edge_id']}" if shown["edge_id"] else "central"
    verdict = {None: "not assessed yet", True: "notifiable", False: "not notifiable"}[shown["notifiable"]]
    clock = f"{shown['clock']}, until {shown['deadline']}" if shown["deadline"] else "none"
    numbers = (
        f"{len(counts.named)} recordings or calls are named by alarms. Upper bound: {counts.recordings} recordings that are not"
        f" erased and {counts.calls} calls of this {'recorder' if shown['edge_id'] else 'fleet'}."
    )
    parts = [
        ("", f"INCIDENT {shown['incident_id']}, fleet {fleet}, printed {now}"),
        ("State", f"{shown['state']}, severity {shown['severity']}, {verdict}{_why(shown['reason'])}"),
        (
            "72 hours (Art. 33(1))",
            f"aware {shown['aware_at']}; clock {clock}; notified {shown['notified_at'] or 'not yet'}",
        ),
        ("When and where", f"{shown['opened_at']} to {shown['last_at']} at {where}, {shown['alarms']} time(s)"),
        ("1. Nature of the breach (Art. 33(3)(a))", facts.get("nature") or nature),
        (
            "   Categories of data subjects",
            facts.get("categories") or "callers, called parties and agents of recorded telephone calls",
        ),
        ("   Approximate number of data subjects", facts.get("subjects") or f"{_OPEN} {numbers}"),
        ("   Approximate number of records", facts.get("records") or numbers),
        ("2. Contact, data protection officer (Art. 33(3)(b))", facts.get("contact") or _OPEN),
        ("3. Likely consequences (Art. 33(3)(c))", facts.get("consequences") or consequences),
        ("4. Measures taken or proposed (Art. 33(3)(d))", facts.get("measures") or _OPEN),
    ]
    lines: list[str] = []
    for head, body in parts:
        lines += [_line(head)] if head else []
        lines += [
            *textwrap.wrap(_line(body), _WIDTH, initial_indent="   " if head else "", subsequent_indent="   "),
            "",
        ]
    if counts.named:
        lines += ["Named recordings and calls", *(f"   {one}" for one in counts.named), ""]
    left_out = (
        f" ({counts.left_out} alarms between the first and the last ones are left out)" if counts.left_out else ""
    )
    lines.append(f"What was said{left_out}")
    for one in said:
        head = f"{one['at']} {one['step']} {one['who']}".strip()
        lines += textwrap.wrap(
            _line(f"{head}: {one['text']}"), _WIDTH, initial_indent="   ", subsequent_indent="      "
        )
    return "\n".join(lines) + "\n"


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _line(body: str) -> str:
    """Printable, one line: an alarm's message may quote the world."""
    return "".join(one if one.isprintable() else " " for one in body)
