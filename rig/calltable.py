"""The table of calls: what is dialled, heard and pressed, and what must come of it. Data only.

One row is one call. `presses` name moments, not seconds, so that a longer prompt does not break a row:

    early    0.6 s into the prompt, before a key counts
    counts   as soon as a key counts
    end      after the prompt, in the answer window
    again    in the repeated question, which a wrong key brings at once
    talking  2 s after the agent is heard

With `started` a supervisor starts the recording by command 1 s after the agent is heard; the presses count from there.

A row whose `person` another row has comes after it, from the same number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MODES = {
    "1001": "opt_in",
    "1002": "opt_out",
    "1003": "notice",
    "1004": "obligation",
    "1005": "never",
    "1006": "prior",
    "1007": "manual",
}


@dataclass(frozen=True)
class Row:
    """One call. `outcome`: the last word; `reason`: why, as evidence has it ("" for any); `recorded`: whether there is
    a recording; `hears`: the prompts that were listened to in order, as evidence names them."""

    what: str
    dial: str
    presses: tuple[tuple[str, str], ...]
    outcome: str
    reason: str
    recorded: bool
    hears: tuple[str, ...] = ()
    person: str = ""
    started: bool = False
    stopped: bool = False  # the recording ended within a second of the last press
    hang_up_in_prompt: bool = False
    dead: bool = False  # the daemon is dead while this call comes in
    reaches_agent: bool = True
    number: str | None = None  # what the caller shows; None: a plain number of his own
    events: tuple[str, ...] = field(default=())  # further kinds of events that must be on file
    agent_presses: tuple[tuple[str, str], ...] = field(default=())  # as presses, by the agent


def _row(what: str, dial: str, presses: str, outcome: str, reason: str, recorded: bool, **more: object) -> Row:
    pairs = tuple((moment, key) for moment, _, key in (word.partition(":") for word in presses.split()))
    return Row(what, dial, pairs, outcome, reason, recorded, **more)  # type: ignore[arg-type]


OPT_IN = (
    _row("agrees", "1001", "counts:1", "given", "key", True, hears=("ask",)),
    _row("agrees after the question", "1001", "end:1", "given", "key", True, hears=("ask",)),
    _row("another key, then yes", "1001", "counts:7 again:1", "given", "key", True, hears=("ask", "ask_again")),
    _row("refuses by other keys", "1001", "counts:2 again:2", "refused", "key", False, hears=("ask", "ask_again")),
    _row("stays silent", "1001", "", "refused", "silence", False, hears=("ask", "ask_again")),
    _row("wrong keys only", "1001", "counts:# again:*", "refused", "key", False, hears=("ask", "ask_again")),
    _row("an early yes is no yes", "1001", "early:1", "refused", "silence", False, hears=("ask", "ask_again")),
    _row("an early yes and a real one", "1001", "early:1 counts:1", "given", "key", True, hears=("ask",)),
    _row("hangs up in the question", "1001", "", "abandoned", "hangup", False, hang_up_in_prompt=True),
    _row("the daemon is dead", "1001", "", "unavailable", "", False, dead=True),
)
OPT_OUT = (
    _row("does not object", "1002", "", "notified", "no_objection", True, hears=("object",)),
    _row("objects", "1002", "counts:2", "objected", "key", False, hears=("object",)),
    _row("objects after the prompt", "1002", "end:2", "objected", "key", False, hears=("object",)),
    _row(
        "another key, then silence",
        "1002",
        "counts:7",
        "notified",
        "no_objection",
        True,
        hears=("object", "object_again"),
    ),
    _row("wrong keys only", "1002", "counts:7 again:8", "objected", "unclear", False, hears=("object", "object_again")),
    _row("an early objection is heard again", "1002", "early:2", "notified", "no_objection", True, hears=("object",)),
    _row("hangs up in the prompt", "1002", "", "abandoned", "hangup", False, hang_up_in_prompt=True),
    _row("the daemon is dead", "1002", "", "unavailable", "", False, dead=True),
)
NOTICE = (
    _row("listens", "1003", "", "notified", "played", True, hears=("notice",)),
    _row("objects", "1003", "counts:2", "objected", "key", False, hears=("notice",)),
    _row("presses something else", "1003", "counts:5", "notified", "played", True, hears=("notice",)),
    _row("an early key", "1003", "early:2", "notified", "played", True, hears=("notice",)),
    _row("hangs up in the notice", "1003", "", "abandoned", "hangup", False, hang_up_in_prompt=True),
    _row("objects by star code", "1003", "talking:*9", "objected", "", True, stopped=True, events=("notified",)),
    _row("the daemon is dead", "1003", "", "unavailable", "", False, dead=True),
)
OBLIGATION = (
    _row("listens", "1004", "", "not_required", "obligation", True),
    _row("presses a key", "1004", "counts:2", "not_required", "obligation", True),
    _row("presses an early key", "1004", "early:1", "not_required", "obligation", True),
    _row("hangs up in the notice", "1004", "", "not_required", "obligation", True, hang_up_in_prompt=True),
    _row("objects in vain", "1004", "talking:*9", "not_required", "obligation", True, events=("objection_noted",)),
    _row("the daemon is dead", "1004", "", "unavailable", "", False, dead=True),
)
NEVER = (
    _row("talks", "1005", "", "not_recorded", "policy", False),
    _row("presses keys", "1005", "talking:1", "not_recorded", "policy", False),
    _row("presses the star code", "1005", "talking:*9", "not_recorded", "policy", False),
    _row("the daemon is dead", "1005", "", "unavailable", "", False, dead=True),
)
PRIOR = (
    _row("agrees the first time", "1006", "counts:1", "given", "key", True, hears=("ask",), person="p1"),
    _row("hears the reminder", "1006", "", "given", "on_file", True, hears=("reminder",), person="p1"),
    _row("objects to the reminder", "1006", "counts:2", "withdrawn", "key", False, hears=("reminder",), person="p1"),
    _row("is asked again", "1006", "counts:1", "given", "key", True, hears=("ask",), person="p1"),
    _row("refuses", "1006", "counts:7 again:7", "refused", "key", False, hears=("ask", "ask_again")),
    _row("stays silent", "1006", "", "refused", "silence", False, hears=("ask", "ask_again")),
    _row("an early yes", "1006", "early:1", "refused", "silence", False, hears=("ask", "ask_again")),
    _row("hangs up in the question", "1006", "", "abandoned", "hangup", False, hang_up_in_prompt=True),
    _row("agrees, verified", "1016", "counts:1", "given", "key", True, hears=("ask",), person="p2"),
    _row("verified: hears nothing", "1016", "", "given", "on_file", True, person="p2"),
    _row("withheld: always asked", "1006", "counts:1", "given", "key", True, hears=("ask",), number="anonymous"),
    _row("the daemon is dead", "1006", "", "unavailable", "", False, dead=True),
)
MANUAL = (
    _row("nobody starts it", "1007", "", "not_recorded", "manual", False),
    _row("a key does nothing", "1007", "talking:1", "not_recorded", "manual", False),
    _row("started, agrees", "1007", "counts:1", "given", "key", True, started=True, hears=("ask",)),
    _row("started, refuses", "1007", "counts:2 again:2", "refused", "key", False, started=True),
    _row("started, stays silent", "1007", "", "refused", "silence", False, started=True),
    _row("started, wrong keys, then yes", "1007", "counts:5 again:1", "given", "key", True, started=True),
    _row("started, an early yes", "1007", "early:1", "refused", "silence", False, started=True),
    _row("started, hangs up", "1007", "", "abandoned", "hangup", False, started=True, hang_up_in_prompt=True),
    _row("the daemon is dead", "1007", "", "unavailable", "", False, dead=True),
)
SPECIAL = (
    _row("an emergency number", "112", "", "not_recorded", "emergency", False),
    _row("an emergency number with a prefix", "9112", "", "not_recorded", "emergency", False),
    _row("an emergency number, the daemon is dead", "112", "", "unavailable", "", False, dead=True),
    _row("into a queue", "1010", "counts:1", "given", "key", True, hears=("ask",)),
    _row("into a queue, refuses", "1010", "counts:3 again:3", "refused", "key", False),
    _row("into a queue, the daemon is dead", "1010", "", "unavailable", "", False, dead=True),
    _row("a regulated line", "1011", "counts:1", "given", "key", True),
    _row("a regulated line, the daemon is dead", "1011", "", "unavailable", "", False, dead=True, reaches_agent=False),
    _row(
        "withdraws by star code", "1001", "counts:1 talking:*9", "withdrawn", "", True, stopped=True, events=("given",)
    ),
    _row("objects by star code", "1002", "talking:*9", "objected", "", True, stopped=True, events=("notified",)),
)

ROWS = (*OPT_IN, *OPT_OUT, *NOTICE, *OBLIGATION, *NEVER, *PRIOR, *MANUAL, *SPECIAL)


def name_of(row: Row) -> str:
    """What the report and the test call it."""
    return f"{row.dial} {MODES.get(row.dial, '')}: {row.what}".replace(" :", ":")
