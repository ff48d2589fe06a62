"""`callwarden central case …`."""

from __future__ import annotations

import click

from callwarden.lazy import LazyGroup

_AT = "callwarden.commands."
_COMMANDS = {
    "execute": (_AT + "case_work:execute", "Do what was asked, to the calls that the review included."),
    "extend": (_AT + "case_steps:extend", "Extend a case by two months, once, before the first is over."),
    "identify": (_AT + "case_steps:identify", "Note how the person was identified; nothing happens before."),
    "list": (_AT + "case_lists:list_", "List the cases, with the day each must be answered by."),
    "new": (_AT + "case_steps:new", "File a request; prints the case's name and its day."),
    "note": (_AT + "case_steps:note_", "Add a note to a case."),
    "package": (
        _AT + "case_package:package",
        "Make a person's access package of the recordings that this host's edge has, as one age file under a passphrase.",
    ),
    "person": (_AT + "case_lists:person", "Print the numbers a case is about; that somebody looked is noted."),
    "review": (_AT + "case_work:review", "Include or exclude calls that were found."),
    "search": (_AT + "case_work:search", "Find the person's calls at every edge."),
    "show": (_AT + "case_lists:show", "Print a case: its steps, what was found, its orders and how far they are."),
    "step": (_AT + "case_steps:step", "Take a step that says what somebody did: answer, refuse, withdraw, close."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def case() -> None:
    """Work on requests of data subjects."""
