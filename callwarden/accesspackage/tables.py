"""What is stored about a person's calls, as rows: the calls, the history of consent, who listened. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from callwarden.accesspackage.csvtable import Cell
from callwarden.gaps import gaps
from formats import callrows
from formats.callrows import Row

CALLS: Final = (
    "call", "edge", "began_utc", "ended_utc", "direction", "queue", "your_number", "outcome", "mode", "language",
    "purposes", "basis", "basis_reference", "kept_for", "recording", "recorded_seconds", "state", "audio_files", "notes",
)  # fmt: skip
CONSENT: Final = ("call", "at_utc", "event", "party", "key", "reason", "prompt", "prompt_version", "language", "basis")
LISTENED: Final = ("recording", "at_utc", "what", "reader", "purpose", "case", "as")
_DEEDS: Final = {
    "recording.read": "key read",
    "recording.read_payload": "payload read",
    "recording.exported": "copy made",
    "recording.read_refused": "refused",
}


@dataclass
class Tables:
    """Rows of the three tables, as they are collected."""

    own: Callable[[Row], bool]
    ref: str = ""
    named: bool = False
    calls: list[Sequence[Cell]] = field(default_factory=list)
    consent: list[Sequence[Cell]] = field(default_factory=list)
    listened: list[Sequence[Cell]] = field(default_factory=list)
    _readers: dict[str, str] = field(default_factory=dict)

    def add_call(self, edge_id: str, row: Row, recording: Row | None, files: Sequence[str], why_not: str) -> None:
        """A line for each recording, one for a call without any. `why_not`: in words, why its audio is not in the package."""
        call, body = row["call"], callrows.evidence(callrows.deciding(row))
        policy, number = callrows.policy(row), next((p for p in callrows.parties(row) if self.own(p)), {})
        about: list[Cell] = [None, None, None, None, why_not]
        if recording is not None:
            told = [*(_gaps(row, recording) if recording["state"] != "erased" else ()), *([why_not] if why_not else [])]
            about = [
                recording["recording_id"], callrows.seconds(recording), recording["state"], " ".join(files), "; ".join(told),
            ]  # fmt: skip
        self.calls.append(
            [
                call["call_id"], edge_id, call["started_at"], call["ended_at"], call["direction"], call["policy"],
                _text(number.get("number")), call["outcome"], call["mode"], call["language"],
                ", ".join(callrows.granted(row) or callrows.purposes(row)), _text(body.get("basis") or policy.get("basis")),
                _text(body.get("basis_reference") or policy.get("basis_reference")), callrows.retention(row), *about,
            ]
        )  # fmt: skip

    def add_elsewhere(
        self, edge_id: str, call_id: str, recording_id: str, seconds: float, files: Sequence[str], why_not: str
    ) -> None:
        """A line for a recording of a call whose facts lie at another edge: what is not known here stays empty."""
        known: dict[str, Cell] = {
            "call": call_id, "edge": edge_id, "recording": recording_id, "recorded_seconds": seconds,
            "audio_files": " ".join(files), "notes": why_not,
        }  # fmt: skip
        self.calls.append([known.get(name) for name in CALLS])

    def add_consent(self, row: Row) -> None:
        """A line for each event. Of other parties only that it was somebody else: their keys and words are theirs."""
        parties = callrows.parties(row)
        owners = {e["seq"]: p for n, p in enumerate(parties) for e in callrows.events_of(row, p, n == 0)}
        for event in row["events"]:
            party = owners.get(event["seq"], parties[0])
            body, own = callrows.evidence(event), self.own(party) or len(parties) == 1
            prompt = body.get("prompt") if isinstance(body.get("prompt"), dict) else {}
            assert isinstance(prompt, dict)
            mine: list[Cell] = [
                _text(body.get("keys_pressed") or body.get("key")), _text(body.get("reason")),
                _text(prompt.get("prompt_id")), _text(prompt.get("version")), _text(prompt.get("language")),
                _text(body.get("basis")),
            ]  # fmt: skip
            self.consent.append(
                [row["call"]["call_id"], event["at"], event["kind"], "you" if own else "another party"]
                + (mine if own else [None] * len(mine))
            )

    def add_listened(self, recording_id: str, reads: Sequence[Row]) -> None:
        """A line for each reading. A reader is told apart, and named only where `named` says so: when and what for is the
        person's to know, who of the staff it was is not, as a rule (CJEU, C-579/21, Pankki S). Of cases only the package's
        own is named: another may be another person's."""
        for read in reads:
            case, form = (_text(read.get(name)) for name in ("case", "form"))
            if case != self.ref:
                case, form = "", form.partition("/")[0]
            uid = str(read.get("uid", ""))
            reader = self._readers.setdefault(uid, f"reader {len(self._readers) + 1}")
            self.listened.append(
                [
                    recording_id, read["at"], _DEEDS.get(read["kind"], read["kind"]), f"user {uid}" if self.named else reader,
                    _text(read.get("purpose")), case, form,
                ]
            )  # fmt: skip


def _gaps(row: Row, recording: Row) -> list[str]:
    bundle = {
        "started_at": recording["started_at"] or "", "ended_at": recording.get("ended_at") or row["call"]["ended_at"],
        "pauses": row.get("pauses") or [], "segments": recording["segments"],
    }  # fmt: skip
    return [
        f"paused {one['from']} to {one['to'] or 'the end'}"
        if one["kind"] == "pause"
        else f"part {one['segment']} was removed"
        for one in gaps(bundle)
    ]


def _text(value: Any) -> str:
    return "" if value is None else str(value)
