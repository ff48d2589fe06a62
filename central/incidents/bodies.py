"""What the doors of incidents take and answer."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from central.incidents.clock import STEPS
from central.incidents.kinds import KINDS, SEVERITIES
from central.openapi.words import Count, EdgeId, Id, Page, Time

_LONGEST = 4000
Text = Annotated[
    str,
    Meta(max_length=_LONGEST, pattern=r"\S", description="some words; kept, and shown to whoever may read incidents"),
]
Fact = Annotated[str, Meta(max_length=_LONGEST)]
Kind = Annotated[str, Meta(pattern=f"^({'|'.join(KINDS)})$", description="docs/incidents.md")]
Severity = Annotated[str, Meta(pattern=f"^({'|'.join(SEVERITIES)})$")]
State = Annotated[str, Meta(pattern=f"^(open|{'|'.join(end for _, end in STEPS.values())})$")]
Clock = Annotated[str, Meta(pattern="^(none|stopped|running|due|overdue)$", description="of Art. 33's 72 hours")]


class Facts(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a notification says (GDPR Art. 33(3)) that central cannot know."""

    nature: Fact = ""
    categories: Fact = ""
    subjects: Fact = ""
    records: Fact = ""
    consequences: Fact = ""
    measures: Fact = ""
    contact: Fact = ""


class OpeningBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An incident that no alarm saw. `aware_at`: since when somebody knows; now where it is not said."""

    kind: Kind
    text: Text
    edge_id: EdgeId | None = None
    aware_at: Time | None = None


class TextBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why, or what is to be remembered."""

    text: Text


class AssessmentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the authority must be told, and why or why not. `aware_at`: where it was not when the incident was opened. A fact
    that is not given, or is empty, stays as it was."""

    notifiable: bool
    text: Text
    aware_at: Time | None = None
    facts: Facts = Facts()


class Incident(Struct, frozen=True):
    """An incident. `edge_id` is empty where it concerns the fleet; `deadline`: the end of the 72 hours."""

    seq: Page
    incident_id: Id
    kind: Kind
    severity: Severity
    edge_id: str
    state: State
    opened_at: Time
    last_at: Time
    aware_at: Time
    alarms: Count
    clock: Clock
    deadline: Time | None
    notifiable: bool | None
    reason: str
    facts: Facts
    notified_at: Time | None
    closed_at: Time | None


class Entry(Struct, frozen=True):
    """What was said of an incident: by an alarm (`who` is empty) or a person. `subject`: a recording or call it names."""

    at: Time
    who: str
    step: str
    text: str
    subject: str


class IncidentList(Struct, frozen=True):
    """A page of incidents, oldest first."""

    incidents: list[Incident]


class WholeIncident(Incident, frozen=True):
    """With what was said of it: all by people, of alarms the first and the last hundred; `left_out`: how many alarms between."""

    entries: list[Entry]
    left_out: Count


class Report(Struct, frozen=True):
    """A text to print, complete and sign."""

    text: str
