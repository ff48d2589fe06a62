"""The life of a case as one table. Pure."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

Kind = Literal["access", "erasure", "restriction", "rectification", "objection", "portability"]
State = Literal[
    "received", "identified", "searched", "reviewed", "executed", "answered", "closed", "refused", "withdrawn"
]
Act = Literal["identify", "search", "review", "execute", "answer", "refuse", "withdraw", "close"]

KINDS: Final[tuple[str, ...]] = get_args(Kind)
STATES: Final[tuple[str, ...]] = get_args(State)
ACTS: Final[tuple[str, ...]] = get_args(Act)
#: Kinds whose answer is a package.
PACKAGED: Final = frozenset({"access", "portability"})
#: The person may have what is theirs disclosed or changed: they are identified, and what was found was looked at.
EFFECTIVE: Final = frozenset({"reviewed", "executed"})
#: The clock has stopped: the person was answered, or asks no more.
ANSWERED: Final = frozenset({"answered", "closed", "withdrawn"})

_NEXT: Final[dict[str, dict[str, str]]] = {
    "received": {"identify": "identified", "refuse": "refused", "withdraw": "withdrawn"},
    "identified": {"search": "searched", "refuse": "refused", "withdraw": "withdrawn"},
    "searched": {"search": "searched", "review": "reviewed", "refuse": "refused", "withdraw": "withdrawn"},
    # A later search finds more: then it is looked at anew.
    "reviewed": {"search": "searched", "execute": "executed", "refuse": "refused", "withdraw": "withdrawn"},
    "executed": {"answer": "answered", "withdraw": "withdrawn"},
    "answered": {"close": "closed"},
    # Art. 12(4): a refusal is told, with its reasons and where to complain. That is what its closing records.
    "refused": {"close": "closed"},
    "withdrawn": {"close": "closed"},
    "closed": {},
}
#: Acts that say why.
REASONED: Final = frozenset({"refuse", "withdraw"})


class Lack(NamedTuple):
    """What a step still lacks, in words, "" for nothing. excused: a note may go past it: somebody else has not answered, or not in
    full. What nobody began is not excused."""

    words: str = ""
    excused: bool = False


def step(state: str, act: str) -> str | None:
    """The state after `act`; None where that state does not allow it."""
    return _NEXT[state].get(act)


def allowed(state: str) -> tuple[str, ...]:
    """The acts that a state allows."""
    return tuple(_NEXT[state])
