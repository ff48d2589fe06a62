"""What people write into a question: purposes and cases, calls by any of their names, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.errors import CallwardenError
from formats.ids import format_time

#: `SECONDS.NUMBER`, perhaps behind a system name.
_LINKED = re.compile(r"(?:[\w.-]+-)?(\d{9,11})\.\d{1,9}", re.ASCII)
#: What a recording is read as. `raw`: as it is stored, sealed; `package`: a data subject's access package; `waveform`: its
#: derived picture; `verify`: opened to be checked, and not kept.
FORMS = ("wav", "flac", "opus", "age", "raw", "vcon", "package", "waveform", "verify")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.:/-]{0,63}")


@dataclass(frozen=True)
class ReadBy:
    """Who reads and what for. uid: of the process at the other end of the socket, told by the kernel.

    purpose: one of those the permit grants; empty: the first of them. case: a word or a case reference, never free text,
    because it goes into the audit log which must not name people. form: one of FORMS, or empty where it is not about
    audio. span: (from, to) in ms of recorded time where only a part is read; a `to` of 0 is the end.
    """

    uid: int
    purpose: str = ""
    case: str = ""
    form: str = ""
    span: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.form and self.form not in FORMS:
            raise CallwardenError("usage.form", f"form is one of: {', '.join(FORMS)}", where="form")
        if self.span is not None and not (self.span[0] >= 0 and (self.span[1] == 0 or self.span[0] < self.span[1])):
            raise CallwardenError("usage.span", "a part of a recording ends after it begins", where="from_ms")
        for name, value in (("purpose", self.purpose), ("case", self.case)):
            check_word(name, value)

    def said(self) -> dict[str, str | int]:
        """What the log keeps of who asked."""
        said: dict[str, str | int] = {"uid": self.uid, "purpose": self.purpose or "unstated"}
        if self.case:
            said["case"] = self.case
        if self.form:
            said["form"] = self.form
        if self.span is not None:
            said |= {"from_ms": self.span[0], "to_ms": self.span[1]}
        return said


def check_word(name: str, value: str) -> None:
    """Raises usage.NAME for what may not go into the audit log; an empty `value` is none."""
    if value and not _WORD.fullmatch(value):
        raise CallwardenError(
            f"usage.{name}",
            f"a {name} is 1 to 64 of a-z 0-9 _ . : / -",
            hint="name the reason or the case, not a person: quality, dispute/2024-17",
            where=name,
        )


def moment(text: str) -> str | None:
    """When a linked id was made (its seconds since 1970), or a time; None for anything else."""
    try:
        if found := _LINKED.fullmatch(text):
            return format_time(datetime.fromtimestamp(int(found[1]), UTC))
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return format_time(at) if at.tzinfo else None


def unknown_call(text: str) -> CallwardenError:
    """No row says anything about `text`."""
    return CallwardenError(
        "not_found.call",
        "no such call",
        hint="callwarden calls lists them; a call that came while the daemon was down is only in Asterisk's CDR",
        where=text,
    )


def only(matches: Sequence[str], text: str, unknown: CallwardenError) -> str:
    """The one id of `matches`. Raises `unknown` where there is none, usage.ambiguous where there are several."""
    if not matches:
        raise unknown
    if len(set(matches)) > 1:
        hint = "give more digits of: " + " ".join(matches[:5])
        raise CallwardenError("usage.ambiguous", f"{len(matches)} ids begin so", hint=hint, where=text)
    return matches[0]
