"""What goes in and out at the doors of cases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from central.cases.machine import Act, Kind, State

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: How a person was identified; the words stay when what names the person is destroyed.
Method = Literal["document", "signature", "callback", "account", "in_person", "known_channel", "representative"]


class NewCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """numbers: the person's, in any spelling; country: where national spellings are at home ("CZ"); received_at: when the
    request reached the operator (RFC 3339 UTC, now where it is left out); note: how it came, what exactly is asked."""

    kind: Kind
    numbers: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(min_length=1, max_length=10)
    ]
    country: Annotated[str, msgspec.Meta(pattern="^([A-Z]{2})?$")] = ""
    received_at: str | None = None
    note: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever opened a case is told: its name and until when it must be answered."""

    ref: str
    kind: Kind
    state: State
    received_at: str
    due_at: str


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """act: see docs/cases.md. method: of `identify`, how. note: of `identify` what was seen; of `answer` how the person was
    answered; of `refuse` and `withdraw` why; of `search` and `execute` why it goes on although an edge has not answered; of `close`
    what else there is to say."""

    act: Act
    method: Method | None = None
    note: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A note, or why something is done."""

    text: Text


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A call that was found, in or out, and why."""

    edge_id: Short
    call_id: Id
    include: bool
    reason: Text


class Choices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Choices of a review; one about the same call replaces what was chosen before."""

    choices: Annotated[list[Choice], msgspec.Meta(min_length=1, max_length=1000)]


class NewPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A package that was made: SHA-256 and bytes of the age file, what is in it, how much was left out, and where it goes."""

    sha256: Sha256
    size: Count
    calls: Count
    recordings: Annotated[list[Id], msgspec.Meta(max_length=10_000)]
    missing: Count
    to: Text


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a case is about, as it was written down."""

    numbers: list[str]
    country: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What was done; `words` is null where nothing was said, or once the case's key is destroyed."""

    n: int
    at: str
    by: str
    act: str
    state: State
    words: dict[str, Any] | None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A call that a search found, with the edge's own words about it. included: null until somebody chose."""

    edge_id: str
    call_id: str
    started_at: str
    seconds: int | None
    queue: str
    direction: str
    outcome: str | None
    recordings: int
    held: bool
    included: bool | None
    reason: str | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """An order of the case. edges: how many it went to; answered: how many gave their last word; results: of the newest
    receipts, by word; receipts: their ids."""

    jti: str
    cmd: str
    target: str
    at: str
    edges: int
    answered: int
    results: dict[str, int]
    receipts: list[str]
    complete: bool


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that was given out."""

    n: int
    at: str
    by: str
    sha256: str
    size: int
    calls: int
    recordings: list[str]
    missing: int
    to: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A case in a list. due: "due" within 7 days of `due_at`, "overdue" behind it, "" else and once it is answered."""

    seq: int
    ref: str
    kind: Kind
    state: State
    received_at: str
    due_at: str
    extended_at: str | None
    due: str


class Lines(msgspec.Struct, frozen=True):
    """Cases, oldest first."""

    cases: list[Line]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All of a case but the numbers. shredded: what names the person was destroyed; more: calls that a search found and did
    not list; rectified: included calls whose correction the edge reported; allowed: the acts that come next."""

    seq: int
    ref: str
    kind: Kind
    state: State
    received_at: str
    due_at: str
    extended_at: str | None
    due: str
    opened_at: str
    opened_by: str
    identified_at: str | None
    identified_by: str | None
    identified_how: str | None
    closed_at: str | None
    shred_at: str | None
    shredded: bool
    allowed: list[str]
    entries: list[Entry]
    matches: list[Match]
    more: int
    orders: list[Progress]
    rectified: list[str]
    packages: list[Package]
